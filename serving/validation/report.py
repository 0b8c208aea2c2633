"""Validation report: what was adopted for which requests, and why. Markdown and JSON data."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ...markdown import literal
from .agreement import Agreement, Differing
from .comparison import Speedup
from .decision import LEAST_GAIN, Compared, Decision
from .pictures import speedups_picture
from .policy import Policy

_MEASURES = {
    "tokens_per_s": "tokens/s",
    "total_ms": "end to end",
    "ttft_ms": "TTFT",
    "itl_ms": "time per token",
}


def markdown(policy: Policy, decisions: Sequence[Decision]) -> str:
    """Return what to read: the decision per slice, a picture, and all that was measured."""
    adopted = sum(bool(each.rule.steps) for each in decisions)
    share = f"{adopted} of {len(decisions)} slices"
    lines = [
        f"# {literal(policy.pool)}: another way of serving for {share}",
        "",
        f"Adopted is what is proven to be over {LEAST_GAIN:g} times as fast, with equal outputs.",
        "",
        "| requests | served by | why |",
        "| --- | --- | --- |",
        *(
            f"| {literal(each.slice.label)} | {literal(served_by(each, policy.pool))} "
            f"| {literal(each.rule.reason)} |"
            for each in decisions
        ),
        "",
    ]
    shown = [each for each in decisions if any(one.speedup for one in each.compared)]
    if shown:
        picture = speedups_picture(shown)
        lines += [f"![how many times as fast, by requests at once]({picture})", ""]
    lines += [
        "| requests | at once | against | "
        + " | ".join(_MEASURES.values())
        + " | accepted drafts | outputs |",
        "| --- | ---: | --- |" + " ---: |" * (len(_MEASURES) + 1) + " --- |",
        *(_row(each, one) for each in decisions for one in each.compared),
        "",
        "Times as fast as the plain pool, and a lower bound. "
        + ("Lossy ways may say something else. " if any_lossy(decisions) else "")
        + (f"Engines: {literal(policy.setup)}." if policy.setup else ""),
    ]
    return "\n".join(lines)


def served_by(decision: Decision, plain: str) -> str:
    """Say which pool serves a slice: one, or several by how many requests are under way."""
    if not decision.rule.steps:
        return plain
    steps = [f"{step.pool} up to {step.up_to} at once" for step in decision.rule.steps]
    return f"{', '.join(steps)}; then {plain}"


def any_lossy(decisions: Sequence[Decision]) -> bool:
    """Tell whether any way that was compared is lossy."""
    return any(one.lossy for each in decisions for one in each.compared)


def as_json(policy: Policy, decisions: Sequence[Decision]) -> dict[str, Any]:
    """Return all of it as JSON data."""
    return {
        "pool": policy.pool,
        "setup": policy.setup,
        "expires_at": policy.expires_at,
        "slices": [
            {
                "slice": each.slice.label,
                "requests": asdict(each.slice),
                "served_by": [asdict(step) for step in each.rule.steps],
                "reason": each.rule.reason,
                "compared": [_compared_json(one) for one in each.compared],
            }
            for each in decisions
        ],
    }


def _compared_json(one: Compared) -> dict[str, Any]:
    return {
        "concurrency": one.trial.concurrency,
        "against": one.trial.against,
        "adopted": one.adopted,
        "reason": one.reason,
        "lossy": one.lossy,
        "pairs": len(one.trial.pairs),
        "acceptance": one.trial.acceptance,
        "median_gap_ms": one.trial.median_gap_ms,
        "speedups": {name: asdict(found) for name, found in one.speedups.items()},
        "different": asdict(one.agreement.other),
        "different_in_rerun": asdict(one.agreement.rerun),
    }


def _row(decision: Decision, one: Compared) -> str:
    accepted = "-" if one.trial.acceptance is None else f"{one.trial.acceptance:.0%}"
    cells = (
        literal(decision.slice.label),
        str(one.trial.concurrency),
        literal(one.trial.against) + (" (lossy)" if one.lossy else ""),
        *(_times(one.speedups.get(name)) for name in _MEASURES),
        accepted,
        _outputs(one.agreement),
    )
    return f"| {' | '.join(cells)} |"


def _times(found: Speedup | None) -> str:
    return "-" if found is None else f"{found.estimate:.2f} (≥ {found.low:.2f})"


def _outputs(said: Agreement) -> str:
    if said.other.different == 0:
        return f"{said.other.compared} equal"
    own = f"; rerun {_share(said.rerun)}" if said.rerun.compared else ""
    return f"{_share(said.other)} differ{own}"


def _share(found: Differing) -> str:
    return f"{found.different} of {found.compared}"
