"""Rollout report: where a rollout stands and why, as Markdown and as JSON. Computes only."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from ..markdown import literal
from ..tracing.report import usd
from .controller import Judgement, Reading
from .metrics import Unit
from .pictures import differences_picture
from .state import RolloutState

_MOST_STEPS = 30
_VERDICTS = {"failed": "**harmed**", "successful": "no harm", "inconclusive": "not decided"}


def markdown(
    state: RolloutState, judgement: Judgement, history: Sequence[RolloutState] = ()
) -> str:
    """Return what to read: why it stands so, what both arms show, and how it came there."""
    return "\n".join(
        (
            f"# {literal(state.rollout)}: {headline(state)}",
            "",
            f"{literal(why(state, judgement))}.",
            "",
            *_how_to_go_on(state),
            *_shown(judgement.readings),
            *_history(history),
        )
    )


def headline(state: RolloutState) -> str:
    """Say where a rollout stands, in a few words."""
    match state.phase:
        case "pending":
            return "not started"
        case "healthy":
            return "taken over, the candidate answers"
        case "degraded":
            return "taken back, the baseline answers"
        case _:
            where = f"step {state.step + 1} of {len(state.terms.steps)}"
            share = "in the shadow" if state.weight == 0 else f"{percent(state.weight)} of units"
            return f"{state.word}, {share} ({where})"


def why(state: RolloutState, judgement: Judgement) -> str:
    """Say why it stands so; of one that is going on, also what it waits for."""
    if state.phase == "progressing" and judgement.kind == "hold":
        return judgement.reason.rstrip(".")
    said = state.reason.rstrip(".") or judgement.reason.rstrip(".")
    if judgement.failing and judgement.failing not in said:
        return f"{said}; {judgement.failing}"
    return said


def measured(reading: Reading) -> tuple[str, str]:
    """Say what both arms showed, the candidate first; "" where that is unknown."""
    if reading.measured is None:
        return "", ""
    ours, theirs = (_amount(each, reading.unit) for each in reading.measured)
    return ours, theirs


def _amount(mean: float, unit: Unit) -> str:
    match unit:
        case "share":
            return f"{mean:.1%}"
        case "score":
            return f"{mean:.3f}"
        case "USD":
            return usd(mean)


def percent(weight: float) -> str:
    """Return a share as a percentage."""
    return f"{100 * weight:.4g} %"


def as_json(
    state: RolloutState, judgement: Judgement, history: Sequence[RolloutState] = ()
) -> dict[str, Any]:
    """Return all of it as JSON data. Bounds that are not there are None."""
    return {
        **state_json(state),
        "why": why(state, judgement),
        "verdict": judgement.kind,
        "shadow": _shadow_json(judgement),
        "readings": [_reading_json(each) for each in judgement.readings],
        "history": [state_json(each) for each in history],
    }


def state_json(state: RolloutState) -> dict[str, Any]:
    """Return where a rollout stands as JSON data."""
    return {
        "rollout": state.rollout,
        "revision": state.revision,
        "phase": state.phase,
        "stands": state.word,
        "step": state.step,
        "steps": list(state.terms.steps),
        "weight": state.weight,
        "reason": state.reason,
        "by": state.by,
        "at": iso(state.at),
    }


def iso(at: float) -> str:
    """Return Unix seconds as a date and time in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _shadow_json(judgement: Judgement) -> dict[str, int] | None:
    if judgement.shadow is None:
        return None
    failed, asked = judgement.shadow
    return {"asked": asked, "failed": failed}


def _reading_json(reading: Reading) -> dict[str, Any]:
    found = reading.difference
    numbers = (None, None, None) if found is None else (found.estimate, found.low, found.high)
    estimate, low, high = (None if n is None or not isfinite(n) else n for n in numbers)
    ours, theirs = reading.measured or (None, None)
    return {
        "metric": reading.metric,
        "role": reading.role,
        "verdict": reading.verdict,
        "difference": estimate,
        "low": low,
        "high": high,
        "margin": reading.margin,
        "harm_by_chance": reading.harm,
        "no_harm_by_chance": reading.no_harm,
        "unit": reading.unit,
        "candidate_measured": ours,
        "baseline_measured": theirs,
        "candidate_units": reading.candidate,
        "baseline_units": reading.baseline,
    }


def _how_to_go_on(state: RolloutState) -> Iterable[str]:
    if state.phase == "paused":
        # Backticks end where the name's own would begin.
        name = state.rollout.replace("`", "'")
        yield (
            f"It waits for a person: run the deployment `approve-rollout` with `rollout={name}` in "
            f"this UI, or one of `tierflow rollout promote|resume|abort {name}`."
        )
        yield ""


def _shown(readings: Sequence[Reading]) -> Iterable[str]:
    if not readings:
        return
    yield from ("## What both arms show", "")
    drawn = [each for each in readings if each.difference is not None and each.candidate]
    if drawn:
        yield f"![Differences with always-valid intervals]({differences_picture(drawn)})"
        yield ""
        yield (
            "The candidate's mean less the baseline's, and bounds that hold however often one "
            "looks. Dashed: from there on it is worse than is allowed; the tinted side is well."
        )
        yield ""
    headings = ("metric", "role", "verdict", "difference", "harm by chance", "no harm by chance")
    arms = ("candidate", "baseline", "candidate units", "baseline units")
    yield f"| {' | '.join((*headings, *arms))} |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for each in readings:
        cells = (
            literal(each.metric),
            each.role,
            _VERDICTS[each.verdict],
            str(each.difference or "unknown"),
            f"{each.harm:.2g}",
            f"{each.no_harm:.2g}",
            *measured(each),
            f"{each.candidate:,}",
            f"{each.baseline:,}",
        )
        yield f"| {' | '.join(cells)} |"
    yield ""


def _history(history: Sequence[RolloutState]) -> Iterable[str]:
    if not history:
        return
    yield from (
        "## How it came there",
        "",
        "| revision | at | stands | step | weight | by | why |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    )
    for each in reversed(history[-_MOST_STEPS:]):
        cells = (
            str(each.revision),
            iso(each.at),
            each.word,
            str(each.step + 1),
            percent(each.weight),
            literal(each.by),
            literal(each.reason),
        )
        yield f"| {' | '.join(cells)} |"
    if len(history) > _MOST_STEPS:
        yield ""
        yield f"The newest {_MOST_STEPS} of {len(history)}: `tierflow rollout history` has all."
