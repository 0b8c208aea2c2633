"""Rollout: what an author wants to try, on whom, in which steps, and what must not get worse."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from ..request import Sampling
from .metrics import Metric, error_rate

Step: TypeAlias = Literal["shadow"] | float
"""Nobody's answers but a sample beside the baseline's, or the percentage of units, 0-100."""

AssignBy: TypeAlias = Literal["run", "tenant", "item"]
"""What is assigned as a whole: a root flow run, a prompt's tenant, or its item."""

DEFAULT_STEPS: tuple[Step, ...] = (5, 10, 25, 50, 100)


@dataclass(frozen=True, slots=True)
class Variant:
    """What an arm changes; None leaves a part of the step as it is.

    `prompt`: a prompt function with the same parameters, or one of the registry; `prompt_name`: the
    latter by its name. `tier`: the tier that answers first. `model`: the one model of that tier, by
    litellm's name. `sampling`: put over the step's own. `cascade`: a Cascade in place of the step's
    cascade or route, or a mapping of where it escalates `to` and who is its `judge`.
    """

    prompt: Callable[..., Any] | None = None
    tier: str | None = None
    model: str | None = None
    sampling: Sampling | None = None
    prompt_name: str | None = None
    # A mapping has no hash; what is equal has the same one without it.
    cascade: Any = field(default=None, hash=False)

    def __post_init__(self) -> None:
        if self.prompt is not None and self.prompt_name is not None:
            raise ValueError("prompt and prompt_name both say what is asked. Give one of them.")
        if self.model is not None and "/" not in self.model:
            raise ValueError(
                f"{self.model!r} names no provider. Write it first: openai/{self.model}"
            )


@dataclass(frozen=True, slots=True)
class Rollout:
    """A candidate that takes over step by step, as long as nothing gets worse.

    `name`: the seed of the assignment; rollouts of one name move together, in several steps of a
    flow, say. `steps`: "shadow" and rising percentages of units. At 100 a `holdback` of the units
    stays with the baseline, to compare with, until the last step is over. `assign_by`: what is a
    unit.

    `guardrails`: harm in one of them rolls back. `signals`: harm in one of them pauses. A step is
    over when every guardrail is proven not to be harmed, `min_units` candidate units were seen in
    it, and `min_step_s` seconds have passed; after `max_step_s` it pauses. `confidence`: of each
    metric, that harm is no false alarm, however often one looks; and that there is none.

    `horizon_units`: an A/B test of so many units of both arms: `steps` have one percentage, such as
    [50], and when they were seen it pauses for a person to decide. `looks`: so many tests of the
    difference on the way, at equal parts of it and at its end; they need fewer units than the
    always-valid intervals, and are right for just that many looks. 0: none.

    `shadow_share`: of the calls, in the shadow; `shadow_pairs`: how many pairs that takes at least.
    `shadow_rpm`: how many a minute and process at most; `shadow_usd_a_day`: what they may cost.
    """

    name: str
    candidate: Variant
    baseline: Variant = Variant()
    steps: Sequence[Step] = DEFAULT_STEPS
    guardrails: Sequence[Metric] = (error_rate(),)
    signals: Sequence[Metric] = ()
    assign_by: AssignBy = "run"
    min_units: int = 100
    min_step_s: float = 600.0
    max_step_s: float = 7 * 86_400.0
    confidence: float = 0.95
    holdback: float = 0.05
    shadow_share: float = 0.1
    shadow_pairs: int = 100
    shadow_rpm: float = 60.0
    shadow_usd_a_day: float | None = None
    horizon_units: int | None = None
    looks: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "guardrails", "signals"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self._check_steps()
        if not self.name or not self.guardrails:
            raise ValueError("A rollout needs a name, and a guardrail that could stop it.")
        names = [each.name for each in (*self.guardrails, *self.signals)]
        if len(set(names)) < len(names):
            raise ValueError(f"Two metrics of {self.name!r} have one name: {', '.join(names)}.")
        if self.assign_by not in get_args(AssignBy):
            known = ", ".join(map(repr, get_args(AssignBy)))
            raise ValueError(f"assign_by is {self.assign_by!r}. Known: {known}.")
        for name in ("confidence", "holdback"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but lies between 0 and 1.")
        if not 0 < self.shadow_share <= 1:
            raise ValueError(f"shadow_share is {self.shadow_share}. Give a share above 0, up to 1.")

    def _check_steps(self) -> None:
        weights = [step for step in self.steps if step != "shadow"]
        if self.horizon_units is not None and (self.horizon_units < 1 or len(weights) != 1):
            raise ValueError(
                f"horizon_units is {self.horizon_units} with steps {list(self.steps)}: an A/B test "
                "has units, and one percentage, such as [50]."
            )
        if self.looks < 0 or (self.looks and self.horizon_units is None):
            raise ValueError(f"looks is {self.looks}: they are parts of a horizon_units.")
        if "shadow" in self.steps[1:]:
            raise ValueError('"shadow" comes first among the steps, or not at all.')
        if (
            not weights
            or sorted(set(weights)) != weights
            or not 0 < weights[0] <= weights[-1] <= 100
        ):
            raise ValueError(
                f"steps are {list(self.steps)}: give rising percentages up to 100, such as "
                f"{list(DEFAULT_STEPS)}."
            )

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All that is watched."""
        return (*self.guardrails, *self.signals)

    def weight_of(self, step: int) -> float:
        """Return the share of units that the candidate has in a step."""
        at = self.steps[step]
        return 0.0 if at == "shadow" else min(at / 100, 1 - self.holdback)
