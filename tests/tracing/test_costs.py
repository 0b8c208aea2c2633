"""Costs: the ledger's sums, in a file and on a server, against sums made by hand."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tierflow.tracing import By, Costs, FlowRun, Row, Window, share_of, total_of
from tierflow.tracing.sql_ledger import SqlLedger

from .rows import a_call, a_row

ALL = Window()


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | SecretStr:
    if request.param == "postgres":
        return SecretStr(request.getfixturevalue("postgres_url"))
    return tmp_path / "home" / "ledger.db"


@pytest.fixture
def ledger(place: Path | SecretStr) -> Iterator[SqlLedger]:
    opened = SqlLedger(place)
    yield opened
    opened.close()


def shown(costs: Any) -> dict[str, tuple[int, float]]:
    return {each.name: (each.calls, round(each.cost_usd, 6)) for each in costs}


def test_what_steps_took_is_summed_by_what_they_share(ledger: SqlLedger) -> None:
    for row in (
        a_row(step="triage", tenant="acme", arm="v2/candidate", cost_usd=0.03),
        a_row(step="triage", tier="frontier", cost_usd=0.02, at="2026-01-02T00:00:00.000+00:00"),
        a_row(step="digest", flow="nightly", cost_usd=0.01),
        a_row(step="digest", flow=None, flow_run_id=None, cache="exact", cost_usd=0.0),
    ):
        ledger.add(row)

    assert shown(ledger.costs("step", ALL)) == {"triage": (2, 0.05), "digest": (2, 0.01)}
    assert shown(ledger.costs("tier", ALL)) == {"fast": (3, 0.04), "frontier": (1, 0.02)}
    assert shown(ledger.costs("tenant", ALL)) == {"acme": (1, 0.03), "": (3, 0.03)}
    assert shown(ledger.costs("arm", ALL)) == {"v2/candidate": (1, 0.03), "": (3, 0.03)}
    assert shown(ledger.costs("flow", ALL)) == {
        "inbox": (2, 0.05),
        "nightly": (1, 0.01),
        "": (1, 0),
    }
    days = ledger.costs("day", ALL)
    assert [each.name for each in days] == ["2026-01-01", "2026-01-02"]


def test_models_and_roles_are_told_apart_by_their_calls(ledger: SqlLedger) -> None:
    ledger.add(
        a_row(ref="one"),
        [
            a_call(ref="one", model="a", cost_usd=0.01),
            a_call(ref="one", model="b", role="judge", cost_usd=0.04, estimated=True),
            # Refused, and so not billed; the last one broke off, and is.
            a_call(ref="one", model="", outcome="RateLimitedError", cost_usd=0.0),
            a_call(ref="one", model="b", outcome="ProviderDownError", cost_usd=0.02),
        ],
    )
    ledger.add(a_row(ref="two", flow="nightly"), [a_call(ref="two", model="b", cost_usd=None)])

    models = ledger.costs("model", ALL)
    assert shown(models) == {"b": (3, 0.06), "a": (1, 0.01)}
    assert [(each.unpriced, each.guessed) for each in models] == [(1, 1), (0, 0)]
    assert shown(ledger.costs("role", ALL)) == {"judge": (1, 0.04), "answer": (3, 0.03)}
    assert shown(ledger.costs("model", Window(flow="nightly"))) == {"b": (1, 0.0)}


def test_the_share_of_judges_can_be_read_off(ledger: SqlLedger) -> None:
    judged = [a_call(cost_usd=0.03), a_call(role="judge", cost_usd=0.01)]
    ledger.add(a_row(), judged)

    roles = ledger.costs("role", ALL)
    shares = {each.name: share_of(each, total_of(roles)) for each in roles}
    assert shares == {"answer": pytest.approx(0.75), "judge": pytest.approx(0.25)}
    assert share_of(total_of([]), total_of([])) is None


def test_unknown_is_not_zero(ledger: SqlLedger) -> None:
    ledger.add(a_row(step="known"))
    ledger.add(a_row(step="unknown", cost_usd=None, strongest_usd=None))

    known, unknown = ledger.costs("step", ALL)
    assert known.unpriced == 0
    assert known.strongest_usd == pytest.approx(0.1)
    assert (unknown.cost_usd, unknown.unpriced, unknown.strongest_usd) == (0.0, 1, None)
    assert total_of([unknown]).strongest_usd is None
    assert total_of([known, unknown]).strongest_usd == pytest.approx(0.1)


def test_what_caches_saved_is_there(ledger: SqlLedger) -> None:
    ledger.add(a_row(cache="exact", cost_usd=0.0, saved_usd=0.02, saved_by_prefix_usd=0.0))
    ledger.add(a_row(saved_by_prefix_usd=0.003, cache_read_tokens=7, cache_write_tokens=2))

    (found,) = ledger.costs("step", ALL)
    assert (found.saved_usd, found.saved_by_prefix_usd) == (0.02, 0.003)
    assert (found.cache_read_tokens, found.cache_write_tokens) == (7, 2)


def at(hour: int) -> str:
    return f"2026-01-01T{hour:02}:00:00.000+00:00"


@pytest.mark.parametrize("by", get_args(By))
def test_a_window_begins_with_its_first_moment_and_ends_before_its_last(
    ledger: SqlLedger, by: By
) -> None:
    for hour in range(5):
        ledger.add(a_row(ref=str(hour), at=at(hour)), [a_call(ref=str(hour), at=at(hour))])

    def calls(since: str | None, until: str | None) -> int:
        return total_of(ledger.costs(by, Window(since, until, "inbox"))).calls

    assert calls(None, None) == 5
    assert calls(at(1), None) == 4
    assert calls(None, at(3)) == 3
    assert calls(at(1), at(3)) == 2
    assert calls(at(5), None) == 0
    assert ledger.costs(by, Window(flow="another")) == []


usd = st.none() | st.floats(0, 100)
tokens = st.integers(0, 10**9)
any_row = st.builds(
    a_row,
    step=st.sampled_from("abc"),
    tenant=st.sampled_from(["", "acme"]),
    input_tokens=tokens,
    output_tokens=tokens,
    cost_usd=usd,
    strongest_usd=usd,
    saved_usd=usd,
)
numbers = count()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(any_row, max_size=8), st.sampled_from(["step", "tenant"]))
def test_the_database_sums_as_we_would(ledger: SqlLedger, rows: list[Row], by: By) -> None:
    flow = f"flow {next(numbers)}"
    given_rows = [replace(row, flow=flow) for row in rows]
    for row in given_rows:
        ledger.add(row)

    found = ledger.costs(by, Window(flow=flow))
    for each in found:
        mine = [row for row in given_rows if getattr(row, by) == each.name]
        assert each.calls == len(mine)
        assert each.input_tokens == sum(row.input_tokens for row in mine)
        assert each.cost_usd == pytest.approx(sum(row.cost_usd or 0 for row in mine))
        assert each.unpriced == sum(row.cost_usd is None for row in mine)
    total = total_of(found)
    assert total.calls == len(rows)
    assert total.cost_usd == pytest.approx(sum(row.cost_usd or 0 for row in rows))


def test_flow_runs_are_listed_newest_first(ledger: SqlLedger) -> None:
    assert ledger.flow_runs(5) == []
    ledger.add(a_row(flow_run_id="one", cost_usd=0.02))
    ledger.add(a_row(flow_run_id="two", flow="nightly", at=at(7), outcome="StoreError"))
    ledger.add(a_row(flow_run_id="one", at=at(3), cost_usd=None))
    ledger.add(a_row(flow_run_id=None))

    assert ledger.flow_runs(5) == [
        FlowRun(
            flow_run_id="one", flow="inbox", at=at(0), steps=2, failed=0, cost_usd=0.02, unpriced=1
        ),
        FlowRun(
            flow_run_id="two",
            flow="nightly",
            at=at(7),
            steps=1,
            failed=1,
            cost_usd=0.01,
            unpriced=0,
        ),
    ]
    assert [each.flow_run_id for each in ledger.flow_runs(1)] == ["one"]


def test_a_total_of_nothing_is_nothing() -> None:
    empty: list[Costs] = []
    assert (total_of(empty).calls, total_of(empty).cost_usd) == (0, 0.0)
