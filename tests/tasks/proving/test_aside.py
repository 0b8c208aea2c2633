"""Aside: what a calibration or a training asks is in the ledger, whatever comes of the item."""

from typing import Any

import pytest

from tests.conftest import PRICES, Catalogue
from tests.fakes import Fail, FakeProvider, Say
from tests.fakes.steps import Step
from tests.tasks.conftest import Rows
from tests.tasks.remainders import ITEMS, Remainder, a_step, ask, cheaply, said
from tierflow import Cascade, agreement, llm_task, trained
from tierflow.tasks.proving.collecting import Collected, calibrate_judge, collect
from tierflow.tasks.proving.training import train_judge

FEW = ITEMS[:25]
ONE_USD = (10 * PRICES["input_usd_per_mtok"] + PRICES["output_usd_per_mtok"]) / 1e6
"""Of a reply with ten tokens in and one out."""


@pytest.fixture(autouse=True)
def tiers(catalogue: Catalogue, provider: FakeProvider) -> None:
    catalogue()
    provider.script("fast", cheaply)
    provider.script("standard", cheaply)
    provider.script("frontier", cheaply)


def calibrated(items: Any = FEW, step: Any = None) -> Collected:
    return calibrate_judge(step or a_step(), items).collected


def judged_by(judge: Any) -> Any:
    cascade = Cascade("frontier", judge, audit=0.0)
    return llm_task(tier="fast", returns=Remainder, cascade=cascade)(ask)


def test_each_item_has_a_row_of_what_both_tiers_took(rows: Rows) -> None:
    collected = calibrated()

    found = rows()
    assert len(found) == len(FEW)
    for row in found:
        assert (row["step"], row["outcome"], row["cache"]) == ("ask (calibration)", "ok", "off")
        assert (row["tier"], row["model"]) == ("frontier, fast", "frontier, fast")
        assert (row["asks"], row["input_tokens"], row["output_tokens"]) == (2, 20, 2)
        assert row["cost_usd"] == pytest.approx(2 * ONE_USD)
        assert row["latency_ms"] > 0
        assert (row["flow_run_id"], row["flow"], row["task_run_id"]) == (None, None, None)
    assert collected.cost_usd == pytest.approx(sum(row["cost_usd"] for row in found))


def test_a_row_says_when_its_own_item_began(rows: Rows) -> None:
    calibrated()
    begun = [row["at"] for row in rows()]
    assert len(set(begun)) > 1


def test_what_a_judge_asks_is_paid_for_too(rows: Rows) -> None:
    calibrated(step=judged_by(agreement("standard")))
    assert {(row["asks"], row["tier"]) for row in rows()} == {(3, "frontier, fast, standard")}


def test_repairs_are_paid_for_too(rows: Rows, provider: FakeProvider) -> None:
    provider.script("fast", Say("no JSON", input_tokens=10, output_tokens=1))
    calibrated()
    assert {row["asks"] for row in rows()} == {3}
    assert {row["outcome"] for row in rows()} == {"ok"}


def test_an_item_without_an_outcome_was_paid_for_all_the_same(
    rows: Rows, provider: FakeProvider
) -> None:
    def from_22_on_down(body: dict[str, Any]) -> Step:
        return Fail(503) if int(said(body)) >= 22 else cheaply(body)

    provider.script("fast", from_22_on_down)
    collected = calibrated()

    failed = [row for row in rows() if row["outcome"] != "ok"]
    assert len(failed) == len(collected.errors) == 3
    for row in failed:
        assert row["outcome"] == "AllDeploymentsFailedError"
        assert (row["asks"], row["tier"]) == (1, "frontier")
        assert row["failed_attempts"] >= 1
        assert row["cost_usd"] == pytest.approx(ONE_USD)
    assert collected.cost_usd == pytest.approx((2 * 22 + 3) * ONE_USD)


def test_what_was_asked_before_costs_nothing_now(rows: Rows) -> None:
    calibrated()
    assert calibrated().cost_usd == 0
    assert len(rows()) == len(FEW)


def test_without_a_price_the_cost_is_unknown(catalogue: Catalogue, rows: Rows) -> None:
    path = catalogue()
    cheaper, frontier = path.read_text().split("[tiers.frontier]")
    prices = "".join(f", {name} = {price}" for name, price in PRICES.items())
    assert prices in frontier
    path.write_text(f"{cheaper}[tiers.frontier]{frontier.replace(prices, '')}")

    assert collect(a_step(), "fast", FEW).cost_usd is None
    assert {row["cost_usd"] for row in rows()} == {None}


def test_a_training_has_rows_of_its_own(rows: Rows) -> None:
    step = judged_by(trained("scorer.json", helper="standard"))
    train_judge(step, [*ITEMS[:40], *ITEMS[-40:]])

    found = rows()
    assert len(found) == 80
    assert {row["step"] for row in found} == {"ask (training)"}
    assert {row["tier"] for row in found} == {"frontier, fast, standard"}
    assert {row["asks"] for row in found} == {3}
    assert sum(row["cost_usd"] for row in found) == pytest.approx(240 * ONE_USD)


def test_a_lesson_that_failed_was_paid_for_too(rows: Rows, provider: FakeProvider) -> None:
    def silent_about_ones(body: dict[str, Any]) -> Step:
        number = next(each["content"] for each in body["messages"] if each["content"].isdigit())
        if number == "1":
            return Say("no JSON", input_tokens=10, output_tokens=1)
        return Say({"left": int(number) % 7})

    provider.script("frontier", silent_about_ones)
    train_judge(judged_by(trained("scorer.json")), [*ITEMS[:40], *ITEMS[-40:]])

    (failed,) = [row for row in rows() if row["outcome"] != "ok"]
    assert (failed["outcome"], failed["asks"]) == ("UnparseableReplyError", 2)
    assert failed["cost_usd"] == pytest.approx(2 * ONE_USD)
