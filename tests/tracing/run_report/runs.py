"""Runs: flow runs whose rows and calls a test can work out by hand, and any at all."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from tests.tracing.rows import a_call, a_row
from tierflow.tracing import Call, Row
from tierflow.tracing.run_report import Run, run_of

BEGAN = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
TIERS = ["fast", "standard", "frontier", "specialist.legal"]
ROLES = ["answer", "repair", "judge", "shadow"]
OUTCOMES = ["ok", "ok", "ok", "ProviderDownError"]


def at(seconds: float) -> str:
    """An ISO time so many seconds after the run began."""
    return datetime.fromtimestamp(BEGAN + seconds, UTC).isoformat(timespec="milliseconds")


def row(ref: str, begin_s: float, end_s: float, **fields: Any) -> Row:
    """A step that ran from then to then."""
    return a_row(ref=ref, at=at(begin_s), latency_ms=1000 * (end_s - begin_s), **fields)


def call(ref: str, begin_s: float, end_s: float, **fields: Any) -> Call:
    """A call of that step."""
    return a_call(ref=ref, at=at(begin_s), latency_ms=1000 * (end_s - begin_s), **fields)


def run(rows: list[Row], calls: list[Call] | None = None, **scores: tuple[float, int]) -> Run:
    """A flow run of these."""
    return run_of(rows, calls or [], scores)


@st.composite
def runs(draw: st.DrawFn, most: int = 60) -> Run:
    """Any flow run: steps at the same time, calls at the same time, hits, failures, no prices."""
    times, costs = st.floats(0, 500), st.none() | st.floats(0, 10)
    rows, calls = list[Row](), list[Call]()
    for number in range(draw(st.integers(1, most))):
        begin, lasted = draw(times), draw(st.floats(0, 60))
        mine = [
            call(
                f"{number}",
                begin + lasted * draw(st.floats(0, 1)),
                begin + lasted,
                role=draw(st.sampled_from(ROLES)),
                tier=draw(st.sampled_from(TIERS)),
                outcome=draw(st.sampled_from(OUTCOMES)),
                cost_usd=draw(costs),
            )
            for _ in range(draw(st.integers(0, 3)))
        ]
        paid = [each.cost_usd for each in mine]
        calls += mine
        rows.append(
            row(
                f"{number}",
                begin,
                begin + lasted,
                step=draw(st.sampled_from(["triage", "draft", "digest"])),
                outcome=draw(st.sampled_from(OUTCOMES)),
                cache=draw(st.sampled_from(["miss", "exact", "semantic", "off"])),
                escalations=draw(st.integers(0, 2)),
                failed_attempts=sum(each.outcome != "ok" for each in mine),
                cost_usd=None if None in paid else sum(each or 0.0 for each in paid),
                strongest_usd=draw(costs),
            )
        )
    return run_of(rows, calls, {})
