"""Policy: which pool serves a request, by slice and by how many are under way. Pure.

Fail closed: what is not in a policy, or is in one that has expired, goes to the plain pool.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from ...errors import StoreError
from .slices import Slice


@dataclass(frozen=True, slots=True)
class Step:
    """`pool` serves while no more than `up_to` requests are under way, this one included."""

    up_to: int
    pool: str


@dataclass(frozen=True, slots=True)
class Rule:
    """What was adopted for a slice, the smallest concurrency first. No step: nothing was."""

    slice: Slice
    steps: tuple[Step, ...]
    reason: str = ""

    def __post_init__(self) -> None:
        limits = [step.up_to for step in self.steps]
        if any(limit < 1 for limit in limits) or any(a >= b for a, b in pairwise(limits)):
            raise ValueError(f"limits {limits} must rise, from 1 or more. Sort them.")


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules for the requests of one pool. Times in Unix seconds.

    `setup`: the models and versions that the engines named when it was measured.
    """

    pool: str
    rules: tuple[Rule, ...]
    decided_at: float
    expires_at: float
    setup: str = ""

    @property
    def others(self) -> set[str]:
        """The pools that were adopted for any slice."""
        return {step.pool for rule in self.rules for step in rule.steps}

    def pool_for(
        self,
        step: str,
        kind: str,
        *,
        input_tokens: int,
        output_tokens: int,
        under_way: int,
        now: float,
    ) -> str:
        """Return the pool that serves a request, the plain one unless another is adopted.

        `under_way`: requests of `pool`, however they are served, this one included.
        """
        if now >= self.expires_at:
            return self.pool
        for rule in self.rules:
            if rule.slice.holds(step, kind, input_tokens, output_tokens):
                found = (each.pool for each in rule.steps if under_way <= each.up_to)
                return next(found, self.pool)
        return self.pool

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Policy":
        """Read what `to_json` wrote. Raises StoreError."""
        try:
            data: dict[str, Any] = json.loads(text)
            rules = tuple(_rule(each) for each in data.pop("rules"))
            return cls(rules=rules, **data)
        except (KeyError, TypeError, ValueError) as exc:
            raise StoreError(
                "A serving policy in the store cannot be read. Drop it with `tierflow serving "
                "policy --drop POOL`, and validate anew."
            ) from exc


def _rule(data: dict[str, Any]) -> Rule:
    steps: Sequence[dict[str, Any]] = data["steps"]
    return Rule(Slice(**data["slice"]), tuple(Step(**each) for each in steps), data["reason"])
