"""Evaluated: a sample of answers is looked at afterwards, and what that costs. Real sockets."""

import json
import logging
import os
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Hang, Say
from tests.fakes.backend import FakeBackend
from tests.rollouts.started import answered_by
from tests.tasks.conftest import Rows
from tests.tasks.teller import told
from tests.tasks.ways import Way, both_ways, plain, settled
from tierflow import (
    Cascade,
    ExactCache,
    Prompt,
    autoevals_scorer,
    checked,
    confidence,
    groundedness,
    judged,
    pydantic_evaluator,
    safety,
)
from tierflow.errors import MissingKeyError, PolicyError, UnknownTierError
from tierflow.settings import settings
from tierflow.tasks import close_hands, hands
from tierflow.tasks.spec import Surroundings
from tierflow.tracing.evaluations import Evaluation, open_evaluations

SECRET = "the customer's name is Zebedee"
COST_USD = (10 * 1.0 + 2 * 10.0) / 1e6
"""Ten tokens in and two out, by the catalogue's prices."""


@pytest.fixture(params=["sqlite", "postgres"])
def kept_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep everything in files, or on a server."""
    if request.param == "postgres":
        monkeypatch.setenv("TIERFLOW_STORE_URL", request.getfixturevalue("postgres_url"))


def say(value: Any) -> Say:
    return Say(value, input_tokens=10, output_tokens=2)


@pytest.fixture(autouse=True)
def tiers(catalogue: Catalogue, provider: FakeProvider) -> None:
    """`fast` answers; `standard` judges: all is safe, and half as helpful as it could be."""
    catalogue()
    provider.script("fast", say("in the depot"))
    provider.script("standard", verdict)


def verdict(body: dict[str, Any]) -> Say:
    instructions = body["messages"][0]["content"]
    if "guidelines" in instructions:
        return say({"reason": SECRET, "label": "pass"})
    if "grounded" in instructions:
        return say({"reason": SECRET, "label": "hallucinated"})
    return say({"reason": SECRET, "score": 0.5})


HELPFUL = judged("helpful", tier="standard", rubric="Does it help?", sample=1.0)


def kept(ref: str) -> list[Evaluation]:
    """What was found of an answer, once all is done."""
    settled()
    with closing(open_evaluations(settings())) as store:
        return list(store.of_answer(ref))


@both_ways
@pytest.mark.usefixtures("kept_in")
def test_an_answer_is_evaluated_in_the_background_and_that_is_kept(way: Way) -> None:
    step = way.step(
        plain,
        evaluate=[safety(1.0), groundedness(1.0), HELPFUL, checked("short", lambda v: len(v) < 99)],
    )
    answer = step("Where?")
    found = {each.name: each for each in kept(answer.ref)}

    assert {name: (each.score, each.label, each.source) for name, each in found.items()} == {
        "safety": (1.0, "pass", "judge"),
        "groundedness": (0.0, "hallucinated", "judge"),
        "helpful": (0.5, None, "judge"),
        "short": (1.0, "pass", "code"),
    }
    assert {each.step for each in found.values()} == {"plain"}
    assert {each.tier for each in found.values()} == {"fast"}
    assert found["helpful"].evaluator == HELPFUL.identity
    assert found["helpful"].explanation == SECRET
    assert found["short"].explanation is None


def test_what_is_found_is_told_as_what_people_say(project: Path) -> None:
    with FakeBackend() as backend:
        path = project / "tierflow.toml"
        sink = f'[evaluations.sinks.mine]\nkind = "phoenix"\nurl = "{backend.url}"\n'
        path.write_text(f"{path.read_text()}\n{sink}")
        said = told(project, "evaluate", {}, os.environ)
        ((annotation,),) = (each.body["data"] for each in backend.posts)
    (event,) = said["events"]
    # Of the answer's span, and not of the one in which it was looked at.
    assert (event["trace_id"], event["span_id"]) == (said["trace_id"], said["span_id"])
    assert event["attributes"]["gen_ai.evaluation.score.value"] == 0.5
    assert {name for name, *_ in said["points"]} == {
        "tierflow.evaluations",
        "tierflow.evaluation.score",
    }
    assert {labels["tierflow.step"] for _, labels, _ in said["points"]} == {"plain"}
    assert (annotation["span_id"], annotation["annotator_kind"]) == (said["span_id"], "LLM")
    assert "Zebedee" not in json.dumps([said, annotation])


@both_ways
class TestCost:
    """What evaluators ask is a step of its own, charged beside the step."""

    def test_it_is_a_step_of_its_own_with_calls_of_judges(
        self, way: Way, rows: Rows, calls: Rows
    ) -> None:
        answer = way.step(plain, evaluate=[HELPFUL, checked("ok", bool)])("Where?")
        assert answer.cost_usd == pytest.approx(COST_USD)
        settled()
        by_step = {row["step"]: row for row in rows()}
        assert by_step.keys() == {"plain", "plain (evaluation)"}
        evaluation = by_step["plain (evaluation)"]
        assert evaluation["cost_usd"] == pytest.approx(COST_USD)
        assert (evaluation["tier"], evaluation["model"]) == ("standard", "standard")
        assert (evaluation["outcome"], evaluation["asks"], evaluation["cache"]) == ("ok", 1, "off")
        made = [(each["role"], each["tier"]) for each in calls()]
        assert made == [("answer", "fast"), ("judge", "standard")]

    def test_what_asks_nobody_has_no_row(self, way: Way, rows: Rows) -> None:
        way.step(plain, evaluate=[checked("ok", bool)])("Where?")
        settled()
        assert [row["step"] for row in rows()] == ["plain"]

    def test_what_failed_is_accounted_for_too(
        self, way: Way, provider: FakeProvider, rows: Rows
    ) -> None:
        provider.script("standard", say("no verdict"))
        way.step(plain, evaluate=[HELPFUL])("Where?")
        settled()
        (row,) = (row for row in rows() if row["step"] == "plain (evaluation)")
        assert (row["outcome"], row["asks"]) == ("UnparseableReplyError", 2)
        assert row["cost_usd"] == pytest.approx(2 * COST_USD)

    def test_their_judges_cost_is_charged_as_ours(
        self, way: Way, provider: FakeProvider, rows: Rows
    ) -> None:
        from autoevals import ClosedQA
        from pydantic_evals.evaluators import LLMJudge

        provider.script("standard", [say({"reasons": "r", "choice": "Y"})])
        scorer = autoevals_scorer(
            ClosedQA(), tier="standard", sample=1.0, arguments={"criteria": "?"}
        )
        one = way.step(plain, evaluate=[scorer])("Where?")
        assert [(each.name, each.score) for each in kept(one.ref)] == [("ClosedQA", 1.0)]
        provider.script("standard", [say({"reason": "r", "pass": True, "score": 1.0})])
        judge = pydantic_evaluator(LLMJudge("?"), tier="standard", sample=1.0)
        other = way.step(plain, evaluate=[judge])("Who?")
        assert [(each.name, each.label) for each in kept(other.ref)] == [("LLMJudge", "pass")]
        costs = [row["cost_usd"] for row in rows() if row["step"] == "plain (evaluation)"]
        assert costs == pytest.approx([COST_USD] * 2)


@both_ways
class TestSample:
    """Which answers are looked at."""

    def test_a_share_of_them(self, way: Way, provider: FakeProvider, rows: Rows) -> None:
        chances = iter([0.049, 0.051, 0.5, 0.0])
        step = way.step(plain, evaluate=[safety(0.05)])
        for ask in "abcd":
            step.within(lambda around: replace(around, chance=lambda: next(chances)), ask)
        settled()
        assert len(provider.calls_to("standard")) == 2
        assert [row["step"] for row in rows()].count("plain (evaluation)") == 2

    def test_hits_of_the_cache_only_where_that_is_asked_for(self, way: Way) -> None:
        counted = checked("counted", bool, hits=True)
        step = way.step(plain, evaluate=[checked("new", bool), counted])
        first, hit = step("Where?"), step("Where?")
        assert hit.cache == "exact"
        assert {each.name for each in kept(first.ref)} == {"new", "counted"}
        assert {each.name for each in kept(hit.ref)} == {"counted"}

    def test_a_step_that_failed_has_nothing_to_look_at(
        self, way: Way, provider: FakeProvider
    ) -> None:
        provider.script("fast", Fail(400))
        step = way.step(plain, evaluate=[HELPFUL])
        with pytest.raises(Exception, match="400"):
            step("Where?")
        settled()
        assert not provider.calls_to("standard")

    def test_audits_are_no_answers(self, way: Way, provider: FakeProvider, rows: Rows) -> None:
        provider.script("frontier", say("in the depot"))
        cascade = Cascade("frontier", confidence(), max_loss=None)
        way.step(plain, cascade=cascade, evaluate=[HELPFUL])("Where?")
        settled()
        steps = [row["step"] for row in rows()]
        assert steps.count("plain (evaluation)") == steps.count("plain") == 1

    def test_an_answer_that_was_refreshed_in_the_background_is_one(
        self, way: Way, rows: Rows
    ) -> None:
        cache = ExactCache(ttl_s=10, stale_s=1000)
        step = way.step(plain, cache=cache, evaluate=[HELPFUL])
        step("Where?")
        now = step.within(_in(60), "Where?")
        settled()
        assert now.cache == "exact"
        steps = [row["step"] for row in rows()]
        assert steps.count("plain (evaluation)") == 2

    def test_each_item_of_a_batch_is_one(self, way: Way, provider: FakeProvider) -> None:
        way.step(plain, evaluate=[HELPFUL]).batch("a", "b", "c")
        settled()
        assert len(provider.calls_to("standard")) == 3


def _in(seconds: float) -> Callable[[Surroundings], Surroundings]:
    def later(around: Surroundings) -> Surroundings:
        return replace(around, now=lambda: around.now() + seconds)

    return later


@both_ways
class TestFailing:
    """An evaluator that fails costs a log line, and no answer waits for one."""

    def test_a_tier_that_is_down(
        self, way: Way, provider: FakeProvider, caplog: pytest.LogCaptureFixture
    ) -> None:
        provider.script("standard", Fail(400))
        answer = way.step(plain, evaluate=[HELPFUL])("Where?")
        assert (answer.value, kept(answer.ref)) == ("in the depot", [])
        (said,) = warnings(caplog)
        assert said.startswith("helpful could not evaluate an answer of plain: ")

    def test_a_function_that_raises_is_said_without_its_words(
        self, way: Way, caplog: pytest.LogCaptureFixture
    ) -> None:
        def breaks(value: str) -> bool:
            raise ValueError(f"{value} {SECRET}")

        answer = way.step(plain, evaluate=[checked("bad", breaks), checked("ok", bool)])("Where?")
        assert [each.name for each in kept(answer.ref)] == ["ok"]
        (said,) = warnings(caplog)
        assert said.startswith("bad could not evaluate an answer of plain: ValueError in ")
        assert "test_evaluated.py:" in said
        assert "Zebedee" not in caplog.text

    @pytest.mark.parametrize("verdict", [7, "a whole sentence, with a comma; and more" * 3])
    def test_a_finding_that_cannot_be_kept(
        self, way: Way, caplog: pytest.LogCaptureFixture, verdict: Any
    ) -> None:
        answer = way.step(plain, evaluate=[checked("odd", lambda _: verdict)])("Where?")
        assert kept(answer.ref) == []
        assert "odd could not evaluate an answer of plain: " in caplog.text

    def test_the_answer_does_not_wait(
        self, way: Way, catalogue: Catalogue, provider: FakeProvider
    ) -> None:
        catalogue(timeout_s=0.3, max_wait_s=0)
        provider.script("standard", Hang(3600))
        answer = way.step(plain, evaluate=[HELPFUL])("Where?")
        assert answer.value == "in the depot"
        provider.wait_for_calls(1, "standard")

    def test_a_function_may_reach_for_stores_while_they_are_closed(self, way: Way) -> None:
        closing = threading.Event()

        def looks(value: str) -> bool:
            return closing.wait(30) and hands().store.stats().entries > 0

        answer = way.step(plain, evaluate=[checked("kept", looks)])("Where?")
        mine: Any = hands()
        end = threading.Thread(target=close_hands)
        end.start()
        while mine._background is not None:
            pass
        closing.set()
        end.join(30)
        assert not end.is_alive()
        assert [each.label for each in kept(answer.ref)] == ["pass"]

    def test_the_tiers_deadline_holds(
        self,
        way: Way,
        provider: FakeProvider,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setenv("TIERFLOW_TIERS__STANDARD__DEADLINE_S", "0.3")
        provider.script("standard", Hang(3600))
        answer = way.step(plain, evaluate=[HELPFUL], deadline_s=100)("Where?")
        assert kept(answer.ref) == []
        assert "deadline_s" in caplog.text


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.levelno >= logging.WARNING]


@both_ways
class TestConfigured:
    """Tiers of evaluators are held to what all tiers are, before anything is asked."""

    def refused(self, way: Way, provider: FakeProvider, error: type[Exception], tier: str) -> None:
        evaluator = judged("helpful", tier=tier, rubric="?", sample=0.0)
        with pytest.raises(error):
            way.step(plain, evaluate=[evaluator], tags=["internal"])("Where?")
        assert not provider.calls

    def test_an_unknown_tier(self, way: Way, provider: FakeProvider) -> None:
        self.refused(way, provider, UnknownTierError, "best")

    def test_a_tier_that_policy_forbids(
        self, way: Way, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TIERFLOW_POLICY__MAX_TIER", '{"internal": "standard"}')
        self.refused(way, provider, PolicyError, "frontier")

    def test_a_tier_without_a_key(self, way: Way, provider: FakeProvider, project: Path) -> None:
        path = project / "tierflow.toml"
        far = '[tiers.specialist.far]\ndeployments = [{ model = "anthropic/x" }]\n'
        path.write_text(f"{path.read_text()}\n{far}")
        self.refused(way, provider, MissingKeyError, "specialist.far")

    def test_they_decide_no_answer_and_so_no_key(self, way: Way) -> None:
        way.step(plain)("Where?")
        assert way.step(plain, evaluate=[HELPFUL])("Where?").cache == "exact"

    def test_a_score_below_the_settings_line_takes_the_answer_back(
        self, way: Way, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TIERFLOW_EVALUATIONS__REJECT_BELOW", '{"helpful": 0.6}')
        step = way.step(plain, evaluate=[HELPFUL])
        (found,) = kept(step("Where?").ref)
        assert found.rejected
        assert step("Where?").cache == "miss"

    def test_the_arm_and_the_tenant_are_the_answers(self, way: Way, rows: Rows) -> None:
        def of_acme(ask: str) -> Prompt:
            return Prompt(ask=ask, tenant="acme")

        step = way.step(of_acme, rollout=answered_by("candidate", "v2"), evaluate=[HELPFUL])
        answer = step.within(_in_flow_run, "Where?")
        (found,) = kept(answer.ref)
        assert (found.arm, found.tenant, found.flow_run_id) == ("v2/candidate", "acme", "run")
        assert {(row["arm"], row["tenant"]) for row in rows()} == {("v2/candidate", "acme")}


def _in_flow_run(around: Surroundings) -> Surroundings:
    return replace(around, where=replace(around.where, flow_run_id="run", flow="inbox"))


@both_ways
@pytest.mark.parametrize("wrong", [[bool], ["safety"], [safety], [checked("ok", bool), None]])
def test_what_is_no_evaluator_is_refused(way: Way, wrong: list[Any]) -> None:
    with pytest.raises(TypeError, match="has no evaluator"):
        way.step(plain, evaluate=wrong)


@both_ways
def test_two_of_one_name_are_refused(way: Way) -> None:
    with pytest.raises(ValueError, match="more than one safety"):
        way.step(plain, evaluate=[safety(), safety(tier="frontier")])


@both_ways
def test_with_options_changes_them(way: Way, provider: FakeProvider) -> None:
    task = way.step(plain, evaluate=[HELPFUL]).task.with_options(evaluate=[])
    assert task.spec.evaluate == ()
    del provider
