"""Scorers of autoevals, put to answers that were given. Their model is a tier of ours.

Left to itself autoevals sends what it asks to its makers' gateway; here it never does.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from ...errors import ConfigError
from ..effects import Foreign
from ..texts import ask_of
from .evaluator import Answered, Evaluator, Found, Sampled
from .foreign import asked_of_tier

_CarryOut = Callable[[Generator[Any, Any, Any]], Any]


@dataclass(frozen=True, slots=True)
class _OfAutoevals(Sampled):
    theirs: Any = None
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def find(self, answered: Answered[Any]) -> Generator[Any, Any, Sequence[Found]]:
        """Run the scorer, in a context where it asks nobody else."""
        found: Sequence[Found] = yield Foreign(
            lambda carry_out: copy_context().run(self._found, answered, carry_out)
        )
        return found

    def _found(self, answered: Answered[Any], carry_out: _CarryOut) -> Sequence[Found]:
        import autoevals  # noqa: PLC0415  # an extra

        client: Any = _Client(self, answered, carry_out).as_openai()
        autoevals.init(client)
        given = {"input": ask_of(answered.request), **self.arguments}
        said: Any = self.theirs.eval(answered.text, given.pop("expected", None), **given)
        if said.score is None:
            return []
        reason: Any = said.metadata.get("rationale")
        return [Found(self.name, said.score, explanation=None if reason is None else str(reason))]


class _Client:
    """What autoevals takes for OpenAI's client: it asks a tier, or refuses."""

    def __init__(self, scorer: _OfAutoevals, answered: Answered[Any], carry_out: _CarryOut) -> None:
        self._scorer, self._answered, self._carry_out = scorer, answered, carry_out

    def as_openai(self) -> SimpleNamespace:
        """Return it in the form of OpenAI's."""
        return SimpleNamespace(
            chat=SimpleNamespace(completions=SimpleNamespace(create=self._chat)),
            responses=SimpleNamespace(create=self._respond),
            embeddings=SimpleNamespace(create=self._refuse),
            moderations=SimpleNamespace(create=self._refuse),
        )

    def _chat(self, *, messages: Any, tools: Any = (), **_: Any) -> dict[str, Any]:
        tool = next((each["function"] for each in tools), None)
        return {"choices": [{"message": self._message(messages, tool)}]}

    def _respond(self, *, input: Any, tools: Any = (), **_: Any) -> dict[str, Any]:  # noqa: A002  # OpenAI's name
        message = self._message(input, next(iter(tools), None))
        if "tool_calls" not in message:
            return {"output": [{"type": "output_text", "content": message["content"]}]}
        called = message["tool_calls"][0]["function"]
        return {"output": [{"type": "function_call", **called}]}

    def _message(self, messages: Any, tool: Any) -> dict[str, Any]:
        if not self._scorer.tiers:
            self._refuse()
        schema = None if tool is None else tool["parameters"]
        plan = asked_of_tier(self._answered, self._scorer.tiers[0], messages, schema)
        text = self._carry_out(plan)
        if tool is None:
            return {"content": text}
        return {"tool_calls": [{"function": {"name": tool["name"], "arguments": text}}]}

    def _refuse(self, **_: Any) -> Any:
        raise ConfigError(
            f"{self._scorer.name!r} asks for what no tier is named for. Give "
            'autoevals_scorer(..., tier="standard"), or a scorer with a client of its own.'
        )


def autoevals_scorer(
    scorer: Any,
    *,
    name: str | None = None,
    tier: str | None = None,
    sample: float = 0.1,
    hits: bool = False,
    arguments: Mapping[str, Any] | None = None,
) -> Evaluator:
    """Put a scorer of autoevals to a sample of answers: `ValidJSON()`, `Factuality()`.

    Its `output` is the reply, its `input` what of the prompt varied; `arguments` are what else it
    takes: `expected`, `criteria`, `context`. `tier`: answers what it asks of a model, within the
    tier's limits and at the evaluation's cost; without one it may ask only through a client that it
    was given itself, past `[policy]` and at a cost that is not known here. It never asks its
    makers' gateway. `sample`, `hits`: see `safety`. Raises ImportError without the extra `evals`,
    TypeError for anything else.
    """
    try:
        from autoevals import Scorer  # noqa: PLC0415  # an extra
    except ImportError as exc:
        raise ImportError(
            'autoevals_scorer needs autoevals: pip install "tierflow[evals]"'
        ) from exc
    if not isinstance(scorer, Scorer):
        raise TypeError(f"{scorer!r:.60} is no scorer of autoevals. Call its class.")
    kind = getattr(scorer, "name", None) or type(scorer).__name__
    asks = tier is not None or hasattr(scorer, "client")
    return _OfAutoevals(
        name or kind,
        " ".join(part for part in ("autoevals", kind, tier) if part)[:128],
        "judge" if asks else "code",
        sample,
        hits,
        () if tier is None else (tier,),
        scorer,
        dict(arguments or {}),
    )
