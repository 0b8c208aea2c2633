"""Routed: a step asks whom its route names, once that was learned. Real sockets, real stores."""

import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Say
from tests.fakes.steps import Step
from tests.tasks.ways import Way, both_ways, settled
from tierflow import Answer, Cascade, Prompt, Route, llm_task, schema
from tierflow.errors import AllDeploymentsFailedError, ConfigError
from tierflow.tasks.proving.items import Item
from tierflow.tasks.proving.routes import learn_step_route

SUMS, POEMS = 180, 90


class Text(BaseModel):
    text: str


def said(body: dict[str, Any]) -> str:
    text: str = body["messages"][-1]["content"]
    return text


def right(question: str) -> str:
    return question[::-1]


def cheaply(body: dict[str, Any]) -> Step:
    """Answer sums, and write no poem."""
    question = said(body)
    text = right(question) if question.startswith("Add") else "I cannot, however"
    return Say({"text": text}, input_tokens=10, output_tokens=1)


def dearly(body: dict[str, Any]) -> Step:
    return Say({"text": right(said(body))}, input_tokens=500, output_tokens=50)


ITEMS = [
    *(Item({"question": f"Add {n} and 7."}, label={"text": right(f"Add {n} and 7.")})
      for n in range(0, 2 * SUMS, 2)),
    *(Item({"question": f"Write a poem on {n}!"}, label={"text": right(f"Write a poem on {n}!")})
      for n in range(0, 2 * POEMS, 2)),
]  # fmt: skip


def ask(question: str) -> Prompt:
    return Prompt(prefix="Do what is asked.", ask=question)


def a_route(**options: Any) -> Route:
    given: dict[str, Any] = {"to": "frontier", "min_quality": 0.9, **options}
    return Route(**given)


def a_step() -> Any:
    step: Any = llm_task(tier="fast", returns=Text, route=a_route())(ask)
    return step


def answer(way: Way, question: str, prompt: Any = ask, **options: Any) -> Answer[Any]:
    return way.step(prompt, returns=Text, route=a_route(**options))(question)


@pytest.fixture(autouse=True)
def tiers(catalogue: Catalogue, provider: FakeProvider) -> None:
    catalogue()
    provider.script("fast", cheaply)
    provider.script("frontier", dearly)


@pytest.fixture(scope="module")
def kept() -> dict[str, bytes]:
    """The store as it was after learning, for the tests that come later."""
    return {}


@pytest.fixture
def learned(tiers: None, provider: FakeProvider, project: Path, kept: dict[str, bytes]) -> None:
    store = project / ".tierflow" / "routes.db"
    if kept:
        store.parent.mkdir(mode=0o700)
        store.write_bytes(kept["routes"])
        return
    learn_step_route(a_step(), ITEMS)
    settled()
    kept["routes"] = store.read_bytes()
    provider.reset()
    provider.script("fast", cheaply)
    provider.script("frontier", dearly)


def asked(provider: FakeProvider) -> list[str]:
    return [call.body["model"] for call in provider.calls]


@both_ways
class TestClosed:
    """Without what was learned one tier answers."""

    def test_a_quality_goes_to_the_strongest_tier(self, way: Way, provider: FakeProvider) -> None:
        found = answer(way, "Add 1 and 7.")
        assert (found.tier, asked(provider)) == ("frontier", ["frontier"])
        (verdict,) = found.verdicts
        assert (verdict.judge, verdict.accepted) == ("route", False)
        assert "Nothing was learned" in verdict.reason

    @pytest.mark.parametrize(("budget_usd", "tier"), [(0.001, "fast"), (1.0, "frontier")])
    def test_a_budget_goes_to_the_strongest_tier_that_fits_it(
        self, way: Way, budget_usd: float, tier: str
    ) -> None:
        found = answer(way, "Add 1 and 7.", min_quality=None, budget_usd=budget_usd)
        assert found.tier == tier

    def test_it_is_said_once(self, way: Way, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "tierflow"):
            for number in "123":
                answer(way, f"Add {number} and 7.")
        told = [each.message for each in caplog.records if "tierflow route learn" in each.message]
        assert len(told) == 1
        assert "Tier 'frontier' answers" in told[0]

    @pytest.mark.usefixtures("learned")
    def test_another_prompt_is_not_what_was_learned_from(self, way: Way) -> None:
        def changed(question: str) -> Prompt:
            return Prompt(prefix="Do what you are asked.", ask=question)

        changed.__name__ = ask.__name__
        found = answer(way, "Add 1 and 7.", changed)
        assert found.tier == "frontier"
        assert "another prompt" in found.verdicts[0].reason

    @pytest.mark.usefixtures("learned")
    def test_what_is_too_old_does_not_count(self, way: Way) -> None:
        found = answer(way, "Add 1 and 7.", max_age_s=0.0)
        assert found.tier == "frontier"
        assert "days old" in found.verdicts[0].reason

    @pytest.mark.usefixtures("learned")
    def test_a_quality_that_is_not_proven_goes_to_the_strongest_tier(self, way: Way) -> None:
        found = answer(way, "Add 1 and 7.", min_quality=0.999)
        assert found.tier == "frontier"
        assert "Not proven" in found.verdicts[0].reason


@both_ways
@pytest.mark.usefixtures("learned")
class TestOpen:
    """With it each question goes its own way."""

    def test_an_easy_question_is_answered_cheaply(self, way: Way, provider: FakeProvider) -> None:
        found = answer(way, "Add 101 and 7.")
        assert (found.tier, found.value.text) == ("fast", right("Add 101 and 7."))
        assert asked(provider) == ["fast"]
        assert found.verdicts[-1].accepted
        assert found.escalations == 0

    def test_a_hard_one_is_answered_well(self, way: Way) -> None:
        found = answer(way, "Write a poem on 101!")
        assert (found.tier, found.value.text) == ("frontier", right("Write a poem on 101!"))

    def test_routing_asks_one_tier(self, way: Way, provider: FakeProvider) -> None:
        answer(way, "Write a poem on 101!", reach="routing")
        assert asked(provider) == ["frontier"]

    def test_a_cascade_asks_in_order(self, way: Way, provider: FakeProvider) -> None:
        found = answer(way, "Write a poem on 101!", reach="cascade")
        assert asked(provider) == ["fast", "frontier"]
        assert found.escalations == 1

    def test_an_answer_is_kept_for_its_own_way_only(self, way: Way) -> None:
        assert answer(way, "Add 101 and 7.").cache == "miss"
        assert answer(way, "Add 101 and 7.").cache == "exact"
        assert answer(way, "Add 101 and 7.", reach="cascade").cache == "miss"

    def test_a_tier_that_is_down_is_passed_by(self, way: Way, provider: FakeProvider) -> None:
        provider.script("fast", Fail(503))
        found = answer(way, "Add 101 and 7.")
        assert (found.tier, found.value.text) == ("frontier", right("Add 101 and 7."))
        assert found.failures

    def test_a_reply_that_cannot_be_used_is_never_taken(
        self, way: Way, provider: FakeProvider
    ) -> None:
        provider.script("fast", Say("no JSON"))
        assert answer(way, "Add 101 and 7.").tier == "frontier"

    def test_when_all_are_down_it_says_so(self, way: Way, provider: FakeProvider) -> None:
        provider.script("fast", Fail(503))
        provider.script("frontier", Fail(503))
        with pytest.raises(AllDeploymentsFailedError):
            answer(way, "Add 101 and 7.")


class TestLearning:
    """What learning asks for."""

    def test_it_says_what_the_way_costs(self) -> None:
        found = learn_step_route(a_step(), ITEMS)
        assert found.chosen is not None
        assert found.chosen.likely_usd < found.route.alone["frontier"].cost_usd
        assert found.route.alone["frontier"].quality == 1.0
        assert not found.errors

    def test_what_was_answered_is_not_asked_again(self, provider: FakeProvider) -> None:
        learn_step_route(a_step(), ITEMS)
        settled()
        calls = len(provider.calls)
        assert calls == 2 * len(ITEMS)
        learn_step_route(a_step(), ITEMS)
        assert len(provider.calls) == calls

    def test_a_tier_that_is_down_teaches_nothing(self, provider: FakeProvider) -> None:
        provider.script(
            "fast", lambda body: Fail(503) if said(body) == "Add 6 and 7." else cheaply(body)
        )
        found = learn_step_route(a_step(), ITEMS)
        assert list(found.errors) == [3]
        assert found.route.items == len(ITEMS) - 1

    def test_too_few_items_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="too few to learn from"):
            learn_step_route(a_step(), ITEMS[:50])

    def test_a_step_without_a_route_is_refused(self) -> None:
        step: Any = llm_task(tier="fast", returns=Text)(ask)
        with pytest.raises(ConfigError, match="has no route"):
            learn_step_route(step, ITEMS)

    def test_a_route_and_a_cascade_are_one_too_many(self) -> None:
        route = Route("frontier", budget_usd=1.0)
        with pytest.raises(ValueError, match="Give one of them"):
            llm_task(tier="fast", route=route, cascade=Cascade("frontier", schema()))(ask)
        with pytest.raises(ValueError, match="on_chunk"):
            llm_task(tier="fast", route=route, on_chunk=print)(ask)
        with pytest.raises(ValueError, match="the step's own tier"):
            llm_task(tier="frontier", route=route)(ask)
