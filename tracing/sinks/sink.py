"""Sink: what another program is told of an evaluation. Values; the courier brings them there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..evaluations import Evaluation


@dataclass(frozen=True, slots=True)
class Post:
    """One request. `path`: below the server's URL. `body`: becomes JSON.

    `passing`: statuses after which another try may help, beside those that always say so: 404
    where a trace may still be on its way.
    """

    path: str
    body: Any = field(repr=False)
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    passing: frozenset[int] = frozenset()


class Sink(Protocol):
    """Writes evaluations as one program's API wants them. No I/O."""

    def post(self, evaluation: Evaluation, trace_id: str, span_id: str) -> Post:
        """Return the request that tells of an evaluation. The ids: hex, of the answer's span."""
        ...


def about(evaluation: Evaluation) -> dict[str, str]:
    """Return what the evaluated answer is known by, as further data; empty fields are left out."""
    known = {
        "ref": evaluation.ref,
        "step": evaluation.step,
        "tier": evaluation.tier,
        "model": evaluation.model,
        "arm": evaluation.arm,
        "source": evaluation.source,
        "evaluator": evaluation.evaluator,
    }
    return {f"tierflow.{name}": value for name, value in known.items() if value}
