"""Report: a flow run's rows in numbers."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.tracing import Row, as_table, headline, summarise
from tierflow.tracing.report import TOTAL

from .rows import a_row


def test_steps_come_in_order_of_appearance_and_the_total_last() -> None:
    rows = [a_row(step="b"), a_row(step="a"), a_row(step="b")]

    summaries = summarise(rows)

    assert [(each.step, each.calls) for each in summaries] == [("b", 2), ("a", 1), (TOTAL, 3)]


def test_a_summary_counts_what_happened() -> None:
    rows = [
        a_row(cache_read_tokens=4, failed_attempts=2, ttft_ms=5.0),
        a_row(cache="exact", asks=0, cost_usd=0.0, saved_usd=0.02, input_tokens=0),
        a_row(tier="frontier", escalations=1, cost_usd=0.3, latency_ms=900.0),
        a_row(outcome="AllDeploymentsFailedError", cost_usd=0.0, strongest_usd=None),
    ]

    (summary, _) = summarise(rows)

    assert (summary.calls, summary.exact_hits, summary.failed_steps) == (4, 1, 1)
    assert (summary.escalations, summary.failed_attempts) == (1, 2)
    assert (summary.input_tokens, summary.cached_read, summary.output_tokens) == (30, 4, 8)
    assert summary.cost_usd == pytest.approx(0.31)
    assert summary.saved_usd == pytest.approx(0.02)
    assert summary.strongest_usd == pytest.approx(0.3)
    assert summary.tiers == "fast, frontier"
    assert (summary.p50_ms, summary.p95_ms, summary.ttft_p50_ms) == (100, 900, 5)


def test_an_unpriced_call_is_counted_and_not_taken_for_free() -> None:
    (summary, _) = summarise([a_row(cost_usd=None), a_row(cost_usd=0.5), a_row(cost_usd=0.0)])

    assert (summary.cost_usd, summary.unpriced) == (0.5, 1)


def test_where_nothing_has_a_price_there_is_no_strongest_price() -> None:
    (summary, total) = summarise([a_row(strongest_usd=None), a_row(strongest_usd=None)])

    assert summary.strongest_usd is None
    assert total.strongest_usd is None


def test_no_rows_are_a_total_of_nothing() -> None:
    (total,) = summarise([])

    assert (total.step, total.calls, total.cost_usd, total.p95_ms) == (TOTAL, 0, 0, 0)
    assert total.ttft_p50_ms is None


def test_the_headline_says_cost_hits_and_the_strongest_tiers_price() -> None:
    rows = [a_row(), a_row(cache="exact", cost_usd=0.0), a_row(cost_usd=None)]

    assert headline(summarise(rows)[-1]) == (
        "3 calls, 1 from the cache, cost $0.0100 and 1 call without a known price; "
        "the same tokens at the strongest tier's price: $0.3000."
    )


def test_the_headline_leaves_out_what_is_not_known() -> None:
    rows = [a_row(strongest_usd=None)]

    assert headline(summarise(rows)[-1]) == "1 call, 0 from the cache, cost $0.0100."


def test_a_table_is_rounded_and_fits_into_json() -> None:
    table = as_table(summarise([a_row(cost_usd=1 / 3, latency_ms=100 / 3)]))

    assert table[0]["cost_usd"] == 0.333333
    assert table[0]["p50_ms"] == 33.3
    assert table[0]["ttft_p50_ms"] is None
    assert json.loads(json.dumps(table)) == table


rows = st.lists(
    st.builds(
        a_row,
        step=st.sampled_from("abc"),
        cache=st.sampled_from(["exact", "miss", "off"]),
        cost_usd=st.none() | st.floats(0, 10),
        input_tokens=st.integers(0, 1000),
        escalations=st.integers(0, 2),
    ),
    max_size=20,
)


@given(rows)
def test_the_total_is_the_sum_of_the_steps(given_rows: list[Row]) -> None:
    *steps, total = summarise(given_rows)

    assert total.calls == sum(each.calls for each in steps) == len(given_rows)
    assert total.input_tokens == sum(each.input_tokens for each in steps)
    assert total.escalations == sum(each.escalations for each in steps)
    assert total.exact_hits == sum(each.exact_hits for each in steps)
    assert total.unpriced == sum(each.unpriced for each in steps)
    assert math.isclose(total.cost_usd, sum(each.cost_usd for each in steps), abs_tol=1e-9)


def test_a_summary_says_what_prompt_caches_read_wrote_and_saved() -> None:
    rows = [
        a_row(cache_write_tokens=100, saved_by_prefix_usd=-0.25),
        a_row(cache_read_tokens=100, saved_by_prefix_usd=0.9),
        a_row(saved_by_prefix_usd=None),
    ]

    (summary, _) = summarise(rows)

    assert (summary.cached_read, summary.cached_write) == (100, 100)
    assert summary.saving_usd == pytest.approx(0.65)
    assert "took off $0.6500" in headline(summary)


def test_writes_that_nobody_read_are_a_saving_below_zero() -> None:
    (summary, _) = summarise([a_row(cache_write_tokens=100, saved_by_prefix_usd=-0.25)])

    assert "took off -$0.2500" in headline(summary)
