"""Decision: adopt another way of serving for a slice, or not. Pure.

Adopted is what is proven to be faster by more than `LEAST_GAIN` and says the same. With growing
concurrency speculation helps less and then harms, so a slice is walked from the smallest
concurrency up and ends at the first where nothing is adopted: beyond what was measured, and
between what was and was not, the plain way serves.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from .agreement import Agreement, agreement
from .comparison import LEAST_PAIRS, Speedup, speedup
from .measured import Trial, ratios
from .policy import Rule, Step
from .slices import Slice

LEAST_GAIN = 1.05
"""The lower bound of the speed-up must exceed it."""

_LEVEL = 0.05
_MEASURES = ("tokens_per_s", "total_ms", "ttft_ms", "itl_ms")


@dataclass(frozen=True, slots=True)
class Compared:
    """What one trial showed. `speedups`: by measure, of those with enough pairs.

    `lossy`: the other way relaxes what it accepts, so it is never adopted unless told to.
    """

    trial: Trial
    speedups: Mapping[str, Speedup]
    agreement: Agreement
    adopted: bool
    reason: str
    lossy: bool = False

    @property
    def speedup(self) -> Speedup | None:
        """What decides: tokens per second, all requests together."""
        return self.speedups.get("tokens_per_s")


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for a slice: everything compared, and the rule that comes of it."""

    slice: Slice
    compared: tuple[Compared, ...]
    rule: Rule


def compare(
    trial: Trial, *, rivals: int, seed: int, lossy: bool = False, accept_lossy: bool = False
) -> Compared:
    """Judge one trial. `rivals`: how many other ways are compared, of which the best is taken.

    The level of 5 % is shared among them (Bonferroni), so that the best of many is no accident.
    """
    confidence = 1 - _LEVEL / rivals
    found = {
        measure: bounded
        for measure in _MEASURES
        if (bounded := speedup(ratios(trial.pairs, measure), confidence, seed)) is not None
    }
    said = agreement(trial.pairs)
    adopted, reason = _judged(found.get("tokens_per_s"), said, lossy=lossy, accept=accept_lossy)
    return Compared(trial, found, said, adopted, reason, lossy)


def _judged(
    found: Speedup | None, said: Agreement, *, lossy: bool, accept: bool
) -> tuple[bool, str]:
    if found is None:
        return False, f"fewer than {LEAST_PAIRS} pairs were measured"
    faster = f"{found.estimate:.2f} times as fast, {found.low:.2f} or more"
    if found.low <= LEAST_GAIN:
        return False, f"{faster}: not proven to exceed {LEAST_GAIN:g}"
    if lossy and not accept:
        return False, f"{faster}, but lossy: it may say something else"
    if not lossy and not said.agrees:
        return False, f"{faster}, but {said.reason}"
    return True, f"{faster}; {'lossy' if lossy else said.reason}"


def decide(slice_: Slice, compared: Collection[Compared]) -> Decision:
    """Return the decision for a slice out of all that was compared in it."""
    in_order = sorted(compared, key=lambda each: (each.trial.concurrency, each.trial.against))
    steps: list[Step] = []
    reason = "nothing was measured"
    for concurrency in sorted({each.trial.concurrency for each in in_order}):
        here = [each for each in in_order if each.trial.concurrency == concurrency]
        best = _best(here)
        if not best.adopted:
            reason = f"at {concurrency} at once: {best.reason}"
            break
        steps.append(Step(concurrency, best.trial.against))
        reason = f"up to {concurrency} at once, as far as was measured"
    return Decision(slice_, tuple(in_order), Rule(slice_, _merged(steps), reason))


def _best(here: Sequence[Compared]) -> Compared:
    return max(here, key=lambda each: (each.adopted, each.speedup.low if each.speedup else 0.0))


def _merged(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Leave out what the next one says as well."""
    return tuple(
        step
        for at, step in enumerate(steps)
        if at + 1 == len(steps) or steps[at + 1].pool != step.pool
    )
