"""Controller: what the evidence says of a rollout, and what to do now. Decides only.

Harm in a guardrail rolls back at once; harm in a signal, and arms of the wrong size, pause. A step
is over when no harm is proven of every guardrail, never for want of evidence: what cannot be
decided in `max_step_s` pauses, and says why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from statistics import fmean
from typing import Literal, NamedTuple, TypeAlias

from .evidence import Interval, Sample, Stage, mismatch
from .evidence.means import means_of
from .evidence.mismatch import ALARM
from .horizon import until_horizon
from .metrics import Metric, Unit
from .observations import Evidence
from .rollout import Rollout
from .state import RolloutState

Role: TypeAlias = Literal["guardrail", "signal"]
Verdict: TypeAlias = Literal["successful", "failed", "inconclusive"]
Kind: TypeAlias = Literal["hold", "advance", "finish", "pause", "roll back"]

_CONTROLLER = "controller"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one metric shows. `harm`, `no_harm`: how often chance alone would show as much.

    `candidate`, `baseline`: how many units count, or pairs. `measured`: what both arms showed in
    `unit`, the candidate first. `difference`: of their means. `margin`: the difference from which
    on the candidate is worse than is allowed. None where that is unknown.
    """

    metric: str
    role: Role
    verdict: Verdict
    harm: float
    no_harm: float
    candidate: int
    baseline: int
    difference: Interval | None = None
    margin: float | None = None
    measured: tuple[float, float] | None = None
    unit: Unit = "share"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What to do, and why in one sentence. `frozen`: all that is held fast of the baseline.

    `shadow`: of the candidate's calls in the shadow, how many failed, and how many there were;
    None outside of the shadow.
    """

    kind: Kind
    reason: str
    readings: tuple[Reading, ...] = ()
    frozen: tuple[tuple[str, float], ...] = ()
    shadow: tuple[int, int] | None = None

    @property
    def failing(self) -> str:
        """Say how many calls of the candidate failed in the shadow, "" for none."""
        failed, asked = self.shadow or (0, 0)
        return f"{failed:,} of {asked:,} shadow calls failed" if failed else ""


def judge(rollout: Rollout, state: RolloutState, evidence: Evidence, now: float) -> Judgement:
    """Return what to do with a rollout that is progressing; any other is held.

    `now`: Unix seconds.
    """
    if state.phase != "progressing":
        return Judgement("hold", f"It is {state.word}")
    found = _judged(rollout, state, evidence, now)
    if rollout.steps[state.step] != "shadow":
        return found
    pairs = evidence.pairs()
    found = replace(found, shadow=(sum(each.candidate.failed for each in pairs), len(pairs)))
    if found.failing and found.kind not in ("advance", "finish"):
        return replace(found, reason=f"{found.reason}; {found.failing}")
    return found


def _judged(rollout: Rollout, state: RolloutState, evidence: Evidence, now: float) -> Judgement:
    frozen = _frozen(rollout, state, evidence)
    in_shadow = rollout.steps[state.step] == "shadow"
    if in_shadow:
        readings = _of_pairs(rollout, evidence)
        units, wanted, what = len(evidence.pairs()), rollout.shadow_pairs, "pairs"
    else:
        readings = _of_stages(rollout, state, evidence, frozen)
        units, wanted, what = evidence.exposed(state.epoch)[0], rollout.min_units, "units"
    kept = tuple(sorted(frozen.items()))
    if stop := _stopped(state, readings, evidence, in_shadow=in_shadow):
        return Judgement(*stop, readings, kept)
    passed_s = now - state.since
    if rollout.horizon_units is not None and not in_shadow:
        return _tested(rollout, state, evidence, readings, frozen, passed_s=passed_s)
    missing = _missing(rollout, readings, units, wanted, what)
    if not missing and passed_s >= rollout.min_step_s:
        is_last = state.step == len(rollout.steps) - 1
        reason = "No guardrail is harmed: proven"
        return Judgement("finish" if is_last else "advance", reason, readings, kept)
    if missing and passed_s >= rollout.max_step_s:
        reason = f"Undecided after {passed_s / 3600:.0f} hours: {missing}"
        return Judgement("pause", reason, readings, kept)
    waiting = missing or f"{passed_s:.0f} of {rollout.min_step_s:.0f} seconds have passed"
    return Judgement("hold", f"Not decided yet: {waiting}", readings, kept)


def _tested(
    rollout: Rollout,
    state: RolloutState,
    evidence: Evidence,
    readings: tuple[Reading, ...],
    frozen: Mapping[str, float],
    *,
    passed_s: float,
) -> Judgement:
    """Judge an A/B test: it ends in a pause, and never by itself in a promotion."""
    mixed = [epoch for epoch, weight in state.weights.items() if 0 < weight < 1]
    units = sum(sum(evidence.exposed(epoch)) for epoch in mixed)
    differences = {each.metric: each.difference for each in readings if each.difference}
    found = until_horizon(rollout, units, differences, frozen)
    kept = tuple(sorted({**frozen, **found.looks}.items()))
    if found.ended and passed_s >= rollout.min_step_s:
        return Judgement("pause", found.ended, readings, kept)
    waiting = f"{units:,} of {rollout.horizon_units:,} units were seen"
    if passed_s >= rollout.max_step_s:
        said = f"Undecided after {passed_s / 3600:.0f} hours: {waiting}"
        return Judgement("pause", said, readings, kept)
    return Judgement("hold", f"Not decided yet: {waiting}", readings, kept)


def moved(
    rollout: Rollout, state: RolloutState, judgement: Judgement, now: float
) -> RolloutState | None:
    """Return the state that a judgement leads to, None where nothing changes."""
    frozen = dict(judgement.frozen)
    if judgement.kind == "hold":
        if frozen == state.frozen:
            return None
        held = state.becoming(state.phase, state.reason, state.by, now)
        return held.model_copy(update={"frozen": frozen})
    by, reason, step = _CONTROLLER, judgement.reason, state.step
    match judgement.kind:
        case "advance":
            found = state.becoming("progressing", reason, by, now)
            found = found.weighing(rollout.weight_of(step + 1), step + 1, now)
        case "finish":
            found = state.becoming("healthy", reason, by, now).weighing(1.0, step, now)
        case "roll back":
            found = state.becoming("degraded", reason, by, now).weighing(0.0, step, now)
        case "pause":
            found = state.becoming("paused", reason, by, now)
    return found.model_copy(update={"frozen": frozen})


def _frozen(rollout: Rollout, state: RolloutState, evidence: Evidence) -> dict[str, float]:
    found = dict(state.frozen)
    for metric in rollout.metrics:
        if metric.is_held and metric.name not in found:
            held = metric.freeze(evidence.baseline())
            found |= {} if held is None else {metric.name: held}
    return found


def _of_stages(
    rollout: Rollout, state: RolloutState, evidence: Evidence, frozen: dict[str, float]
) -> tuple[Reading, ...]:
    found = list[Reading]()
    for metric in rollout.metrics:
        seen, held = _Seen(), frozen.get(metric.name) if metric.is_held else 0.0
        if held is not None:
            stages = evidence.stages(metric, held, state.weights)
            means = means_of(stages)
            seen = _Seen(
                metric.harm(stages, held),
                metric.no_harm(stages, held),
                sum(each.candidate.units for each in stages),
                sum(each.baseline.units for each in stages),
                metric.difference(stages, held),
                metric.worst(held),
                means and (metric.measured(means[0]), metric.measured(means[1])),
            )
        found.append(_reading(rollout, metric, seen))
    return tuple(found)


def _of_pairs(rollout: Rollout, evidence: Evidence) -> tuple[Reading, ...]:
    found = list[Reading]()
    for metric in rollout.metrics:
        seen = metric.paired()
        if seen is None:
            continue
        scores = list[tuple[float, float]]()
        for each in evidence.pairs():
            ours, theirs = metric.score(each.candidate), metric.score(each.baseline)
            if ours is not None and theirs is not None:
                seen.add(ours, theirs)
                scores.append((ours, theirs))
        means = [metric.measured_in_pairs(fmean(each)) for each in zip(*scores, strict=True)]
        measured = (means[0], means[1]) if means else None
        counted = _Seen(seen.harm, seen.no_harm, seen.count, seen.count, measured=measured)
        found.append(_reading(rollout, metric, counted))
    return tuple(found)


class _Seen(NamedTuple):
    """What a metric has seen: log evidence, and how many of each arm."""

    harm: float = 0.0
    no_harm: float = 0.0
    candidate: int = 0
    baseline: int = 0
    difference: Interval | None = None
    margin: float | None = None
    measured: tuple[float, float] | None = None


def _reading(rollout: Rollout, metric: Metric, seen: _Seen) -> Reading:
    role: Role = "guardrail" if metric in rollout.guardrails else "signal"
    proof = -log(1 - rollout.confidence)
    verdict: Verdict = "inconclusive"
    if seen.harm >= proof:
        verdict = "failed"
    elif seen.no_harm >= proof:
        verdict = "successful"
    harm, no_harm = (exp(-max(evidence, 0.0)) for evidence in seen[:2])
    return Reading(metric.name, role, verdict, harm, no_harm, *seen[2:], unit=metric.unit)


def _stopped(
    state: RolloutState,
    readings: Sequence[Reading],
    evidence: Evidence,
    *,
    in_shadow: bool,
) -> tuple[Kind, str] | None:
    for role, kind in (("guardrail", "roll back"), ("signal", "pause")):
        failed = [each for each in readings if each.role == role and each.verdict == "failed"]
        if failed:
            said = "; ".join(map(_told, failed))
            return ("roll back", said) if kind == "roll back" else ("pause", said)
        if role == "guardrail" and not in_shadow:
            candidate, baseline = evidence.exposed(state.epoch)
            sizes = Stage(state.weight, Sample(candidate), Sample(baseline))
            if 0 < state.weight < 1 and mismatch(sizes) >= ALARM:
                said = (
                    f"{candidate} of {candidate + baseline} units are the candidate's, and not "
                    f"{state.weight:.0%}: the assignment or what is recorded of it is broken"
                )
                return "pause", said
    return None


def _told(reading: Reading) -> str:
    found = reading.difference
    by = "" if found is None else f" by {found}"
    return (
        f"{reading.metric} is harmed{by}, seen in {reading.candidate} units of the candidate and "
        f"{reading.baseline} of the baseline"
    )


def _missing(
    rollout: Rollout, readings: Sequence[Reading], units: int, wanted: int, what: str
) -> str:
    """Say what is still missing to go on, "" for nothing."""
    if units < wanted:
        return f"{units} of {wanted} {what} of the candidate were seen"
    proven = {each.metric for each in readings if each.verdict == "successful"}
    asked = {each.metric for each in readings if each.role == "guardrail"}
    open_ = [each.name for each in rollout.guardrails if each.name in asked - proven]
    return f"nothing is proven of {', '.join(open_)}" if open_ else ""
