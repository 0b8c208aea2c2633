"""Gated: a cascade's judge accepts only once it has proven itself. Real sockets, real stores."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pytest

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Say
from tests.fakes.steps import Step
from tests.tasks.conftest import Calibrate, Rows
from tests.tasks.remainders import (
    ITEMS,
    Remainder,
    a_cascade,
    a_step,
    answer,
    ask,
    by_size,
    cheaply,
    of_a_template,
    otherwise,
    said,
    seventh,
)
from tests.tasks.ways import Way, both_ways, settled
from tierflow import Cascade, Prompt, llm_task, schema
from tierflow.errors import ConfigError
from tierflow.routing.gate import Calibrations, open_calibrations
from tierflow.settings import settings
from tierflow.tasks.proving.calibration import prove, thresholds
from tierflow.tasks.proving.collecting import Collected, collect
from tierflow.tasks.proving.items import Item


@pytest.fixture(autouse=True)
def tiers(catalogue: Catalogue, provider: FakeProvider) -> None:
    catalogue()
    provider.script("fast", cheaply)
    provider.script("frontier", seventh)


@pytest.fixture
def store(tiers: None) -> Any:
    opened = open_calibrations(settings())
    yield opened
    opened.close()


Calibrated = Callable[..., Collected]


@pytest.fixture
def calibrated(store: Calibrations, calibrate: Calibrate) -> Calibrated:
    """Calibrate the judge of `ask`."""

    def calibrated(
        items: Sequence[Item] = ITEMS, told: str | None = "remainders", **options: Any
    ) -> Collected:
        return calibrate(a_step(**options), items, told)

    return calibrated


@both_ways
class TestClosed:
    """Without proof the strongest tier answers."""

    def refused(self, way: Way, provider: FakeProvider, **options: Any) -> str:
        before = len(provider.calls_to("fast"))
        found = answer(way, **options)
        assert found.tier == "frontier"
        assert len(provider.calls_to("fast")) == before
        (verdict,) = found.verdicts
        assert (verdict.judge, verdict.accepted) == ("gate", False)
        return verdict.reason

    def test_an_uncalibrated_judge_accepts_nothing(self, way: Way, provider: FakeProvider) -> None:
        assert "no calibration" in self.refused(way, provider)

    def test_it_is_said_once(self, way: Way, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "tierflow"):
            for number in "123":
                answer(way, number)
        said = [each.message for each in caplog.records if "may not accept" in each.message]
        assert len(said) == 1
        assert "tierflow judge calibrate" in said[0]

    def test_a_calibration_of_another_prompt_proves_nothing(
        self, way: Way, provider: FakeProvider, calibrated: Calibrated
    ) -> None:
        calibrated()

        def changed(number: str) -> Prompt:
            return Prompt(prefix="What is left after dividing by 7?", ask=number)

        changed.__name__ = ask.__name__
        assert "another prompt" in self.refused(way, provider, prompt=changed)

    def test_a_stricter_promise_than_was_proven_is_not_kept_by_it(
        self, way: Way, provider: FakeProvider, calibrated: Calibrated
    ) -> None:
        calibrated(max_loss=0.05)
        assert "Proven is a loss of 5.00%" in self.refused(way, provider, max_loss=0.02)

    def test_a_rewritten_prompt_function_is_another_prompt(
        self, way: Way, provider: FakeProvider, calibrated: Calibrated
    ) -> None:
        calibrated(max_loss=0.05)

        def changed(number: str) -> Prompt:
            return Prompt(prefix="What is left after dividing by seven?", ask=f"{number} ")

        changed.__name__ = ask.__name__
        assert "another prompt" in self.refused(way, provider, prompt=changed, max_loss=0.05)

    def test_a_hand_closes_it(
        self, way: Way, provider: FakeProvider, calibrated: Calibrated, store: Calibrations
    ) -> None:
        calibrated(max_loss=0.05)
        store.set_state("ask@fast", closed=True, why="looks odd", who="me", at=time.time())
        settled()
        assert "looks odd" in self.refused(way, provider, max_loss=0.05)

    def test_a_judge_that_lets_wrong_answers_through_stays_closed(
        self, way: Way, provider: FakeProvider, calibrated: Calibrated
    ) -> None:
        wrong = [
            Item(each.arguments, label={"left": (each.label["left"] + 1) % 7})
            for each in ITEMS[:60]
        ]
        provider.script("frontier", otherwise)
        calibrated([*wrong[:60], *ITEMS[300:]], told="otherwise", max_loss=0.05)
        assert "Not proven" in self.refused(way, provider, max_loss=0.05)


@both_ways
class TestOpen:
    """With proof the cheap tier answers what the judge accepts."""

    def test_an_accepted_answer_is_the_cheap_one(
        self, way: Way, provider: FakeProvider, calibrated: Calibrated
    ) -> None:
        calibrated(max_loss=0.05)
        strong = len(provider.calls_to("frontier"))
        assert answer(way, max_loss=0.05).tier == "fast"
        assert len(provider.calls_to("frontier")) == strong
        assert answer(way, "350", max_loss=0.05).tier == "frontier"

    def test_what_it_accepted_is_not_served_once_the_gate_is_closed(
        self, way: Way, calibrated: Calibrated, store: Calibrations
    ) -> None:
        calibrated(max_loss=0.05)
        assert answer(way, max_loss=0.05).cache == "miss"
        assert answer(way, max_loss=0.05).cache == "exact"
        store.set_state("ask@fast", closed=True, why="looks odd", who="me", at=time.time())
        settled()
        closed = answer(way, max_loss=0.05)
        assert (closed.cache, closed.tier) == ("miss", "frontier")

    def test_audits_that_find_wrong_answers_close_it(
        self, way: Way, provider: FakeProvider, calibrated: Calibrated, rows: Rows
    ) -> None:
        calibrated(told=None, max_loss=0.05)
        provider.script("frontier", otherwise)
        tiers: list[str] = []
        for number in range(200):
            tiers.append(answer(way, str(number), max_loss=0.05, audit=1.0).tier)
            if number % 10 == 9:
                settled()
            if tiers[-1] == "frontier":
                break
        assert tiers[0] == "fast"
        assert tiers[-1] == "frontier"
        assert {row["step"] for row in rows()} == {"ask", "ask (audit)", "ask (calibration)"}

    def test_a_strong_tier_that_is_wrong_as_often_as_before_is_no_alarm(
        self, way: Way, provider: FakeProvider, calibrated: Calibrated, store: Calibrations
    ) -> None:
        def half_wrong(body: dict[str, Any]) -> Step:
            return (otherwise if int(said(body)) % 2 else seventh)(body)

        provider.script("frontier", half_wrong)
        calibrated(told="half wrong", max_loss=0.05)
        for number in range(0, 120, 3):
            assert answer(way, str(number), max_loss=0.05, audit=1.0).tier == "fast"
        settled()
        state = store.state("ask@fast")
        assert (state.audited, state.right, state.alarmed_at) == (40, 20, None)

    def test_audits_that_agree_leave_it_open(
        self, way: Way, provider: FakeProvider, calibrated: Calibrated, store: Calibrations
    ) -> None:
        calibrated(max_loss=0.05)
        for number in range(10):
            assert answer(way, str(number), max_loss=0.05, audit=1.0).tier == "fast"
        settled()
        state = store.state("ask@fast")
        assert (state.audited, state.right, state.alarmed_at) == (10, 10, None)


@both_ways
class TestStrata:
    """A prompt that says of what kind it is goes by what is proven of that kind."""

    @pytest.fixture(autouse=True)
    def measured(self, provider: FakeProvider, store: Calibrations, calibrate: Calibrate) -> None:
        # Above 300 the judge lets wrong answers through.
        def sometimes_wrong(body: dict[str, Any]) -> Step:
            return (cheaply if int(said(body)) < 300 else otherwise)(body)

        provider.script("fast", sometimes_wrong)
        step = llm_task(tier="fast", returns=Remainder, cascade=a_cascade(max_loss=0.05))(by_size)
        calibrate(step, ITEMS, told="sometimes wrong")

    def test_a_kind_that_is_proven_is_open(self, way: Way, store: Calibrations) -> None:
        newest = store.newest("by_size@fast")
        assert newest is not None
        assert (newest.open_strata, newest.pooled.opens) == (("small",), False)
        assert answer(way, "5", by_size, max_loss=0.05).tier == "fast"

    def test_a_kind_that_is_not_is_closed(self, way: Way) -> None:
        refused = answer(way, "350", by_size, max_loss=0.05)
        assert refused.tier == "frontier"
        assert "Not proven" in refused.verdicts[0].reason

    def test_audits_say_which_kind_they_are_of(self, way: Way, store: Calibrations) -> None:
        assert answer(way, "5", by_size, max_loss=0.05, audit=1.0).tier == "fast"
        settled()
        (audit,) = store.audits("by_size@fast")
        assert audit.stratum == "small"


@both_ways
def test_a_template_stands_for_prefixes_that_vary(
    way: Way, store: Calibrations, calibrate: Calibrate
) -> None:
    cascade = a_cascade(max_loss=0.05)
    calibrate(llm_task(tier="fast", returns=Remainder, cascade=cascade)(of_a_template), ITEMS)
    assert answer(way, "1000", of_a_template, max_loss=0.05).tier == "frontier"
    assert answer(way, "299", of_a_template, max_loss=0.05).tier == "fast"


class TestCollecting:
    """What a calibration asks for."""

    def test_a_tier_that_is_down_dilutes_no_proof(
        self, provider: FakeProvider, calibrated: Calibrated
    ) -> None:
        provider.script("fast", lambda body: Fail(503) if int(said(body)) > 25 else cheaply(body))
        collected = calibrated(ITEMS[:40], told=None)
        assert len(collected.outcomes) == 26
        assert set(collected.errors) == set(range(26, 40))

    def test_an_alarm_has_everything_asked_again(
        self, provider: FakeProvider, calibrated: Calibrated, store: Calibrations
    ) -> None:
        calibrated(ITEMS[:300], told=None, max_loss=0.05)
        for _ in range(50):
            store.audit("ask@fast", right=False, at=time.time())
        assert store.state("ask@fast").alarmed_at is not None
        settled()
        calls = len(provider.calls)
        provider.script("fast", otherwise)
        calibrated(ITEMS[:300], told=None, max_loss=0.05)
        assert len(provider.calls) == calls + 600
        newest = store.newest("ask@fast")
        assert newest is not None
        assert not newest.opens

    def test_labels_of_any_type_are_values_of_it(self, provider: FakeProvider) -> None:
        provider.script("fast", Say({"value": "b"}))
        provider.script("frontier", Say({"value": "a"}))

        @llm_task(tier="fast", returns=Literal["a", "b"], cascade=Cascade("frontier", schema()))
        def choose(thing: str) -> Prompt:
            return Prompt(prefix="Choose.", ask=thing)

        step: Any = choose
        (found,) = collect(step, "fast", [Item({"thing": "x"}, label="a")]).outcomes
        assert (found.right, found.strong_right, found.agrees) == (False, True, False)
        with pytest.raises(ConfigError, match="does not fit the results of choose"):
            collect(step, "fast", [Item({"thing": "x"}, label="c")])

    def test_what_the_judge_rejects_outright_is_never_accepted(
        self, provider: FakeProvider, calibrated: Calibrated
    ) -> None:
        rarely_unfit = [*ITEMS[:297], *ITEMS[-3:]]
        outcomes = calibrated(rarely_unfit, max_loss=0.05).outcomes
        assert thresholds(outcomes, max_loss=0.05) == (1.0,)

    def test_what_was_asked_is_not_asked_again(
        self, provider: FakeProvider, calibrated: Calibrated
    ) -> None:
        calibrated(ITEMS[:30], told=None)
        calls = len(provider.calls)
        assert calls == 60
        assert len(calibrated(ITEMS[:40], told=None).outcomes) == 40
        assert len(provider.calls) == calls + 20

    def test_without_labels_the_strong_answer_is_right(self, calibrated: Calibrated) -> None:
        items = [Item(each.arguments) for each in (*ITEMS[:20], *ITEMS[-20:])]
        outcomes = calibrated(items).outcomes
        assert [each.right for each in outcomes] == [True] * 20 + [False] * 20
        assert all(each.strong_right for each in outcomes)

    def test_a_step_without_a_cascade_is_refused(self) -> None:
        step: Any = llm_task(tier="fast", returns=Remainder)(ask)
        with pytest.raises(ConfigError, match="it has no cascade"):
            collect(step, "fast", ITEMS)

    def test_a_prefix_that_varies_cannot_be_proven(self, provider: FakeProvider) -> None:
        @llm_task(tier="fast", returns=Remainder, cascade=a_cascade())
        def varied(number: str) -> Prompt:
            return Prompt(prefix=f"The day is {number}.", ask=number)

        step: Any = varied
        collected = collect(step, "fast", ITEMS[:30])
        with pytest.raises(ConfigError, match="30 different prompts"):
            prove("varied", "fast", a_cascade(), collected.outcomes)
