"""`tierflow rollout`: verbs from the command line, and what is said of where a rollout stands."""

import getpass
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.rollouts.filed import FiledRollouts
from tests.rollouts.observed import a_rollout, begun, pairs, seen
from tierflow.cli import cli
from tierflow.errors import RolloutError
from tierflow.rollouts.state import RolloutState
from tierflow.rollouts.store import Rollouts
from tierflow.rollouts.verbs import pause, promote

TOML = """
[rollouts.triage-v2]
steps = [10, 50, 100]
min_units = 200
candidate.classify = { tier = "standard" }
"""
STEP = """
from tierflow import Prompt, Rollout, Variant, llm_task

@llm_task(tier="fast", rollout=Rollout("coded", Variant(tier="standard"), steps=[20, 100]))
def classify(text: str) -> Prompt:
    return Prompt(ask=text)

@llm_task(tier="fast")
def plain(text: str) -> Prompt:
    return Prompt(ask=text)
"""


@pytest.fixture
def store(project: Path) -> Iterator[Rollouts]:
    (project / "tierflow.toml").write_text(TOML)
    (project / "steps.py").write_text(STEP)
    opened = FiledRollouts(project / ".tierflow" / "rollouts.db")
    yield opened
    opened.close()


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["rollout", *words])


def done(*words: str) -> str:
    ended = run(*words)
    assert ended.exit_code == 0, (ended.output, ended.exception)
    return ended.stdout


def told(*words: str) -> Any:
    return json.loads(done(*words, "--json"))


def newest(store: Rollouts, name: str = "triage-v2") -> RolloutState:
    found = store.newest(name)
    assert found is not None
    return found


class TestStart:
    """`tierflow rollout start`."""

    def test_it_takes_the_terms_of_the_file(self, store: Rollouts) -> None:
        said = done("start", "triage-v2", "--why", "prompt of May")
        assert said.startswith("triage-v2: progressing, 10 % of units (step 1 of 3).")
        state = newest(store)
        assert (state.by, state.reason) == (getpass.getuser(), "Started: prompt of May")
        assert state.terms.min_units == 200

    def test_it_takes_those_of_a_step(self, store: Rollouts) -> None:
        found = told("start", "coded", "steps.py:classify", "--by", "Ada")
        assert (found["steps"], found["weight"], found["by"]) == ([20, 100], 0.2, "Ada")
        assert newest(store, "coded").terms.steps == (20, 100)

    @pytest.mark.parametrize(
        ("words", "wanted"),
        [
            (("other",), r"no \[rollouts\.other\]\. Known: triage-v2"),
            (("triage-v2", "steps.py:plain"), "has no rollout, not 'triage-v2'"),
            (("triage-v2", "steps.py:classify"), "has the rollout 'coded', not 'triage-v2'"),
        ],
    )
    def test_what_has_no_terms_is_refused(
        self, store: Rollouts, words: tuple[str, ...], wanted: str
    ) -> None:
        with pytest.raises(RolloutError, match=wanted):
            raise run("start", *words).exception or AssertionError
        assert store.names() == []

    def test_two_places_with_other_terms_are_refused(self, store: Rollouts, project: Path) -> None:
        text = TOML.replace("triage-v2", "coded")
        (project / "tierflow.toml").write_text(text)
        assert "other terms" in str(run("start", "coded", "steps.py:classify").exception)

    def test_a_prompt_that_the_registry_lacks_starts_nothing(
        self, store: Rollouts, project: Path
    ) -> None:
        text = TOML.replace('tier = "standard"', 'prompt = "triage@v2"')
        (project / "tierflow.toml").write_text(text)
        assert "was not started. No prompt 'triage'" in str(run("start", "triage-v2").exception)
        assert store.names() == []

    def test_a_second_start_is_refused(self, store: Rollouts) -> None:
        done("start", "triage-v2")
        assert "progressing already" in str(run("start", "triage-v2").exception)
        assert len(store.history("triage-v2")) == 1


class TestVerbs:
    """What people do to one that was started."""

    def test_a_life_of_a_rollout(self, store: Rollouts) -> None:
        done("start", "triage-v2")
        assert told("pause", "triage-v2", "--why", "lunch")["phase"] == "paused"
        assert newest(store).reason == "Paused by hand: lunch"
        assert told("resume", "triage-v2")["phase"] == "progressing"
        assert told("set-weight", "triage-v2", "33%")["weight"] == 0.33
        assert told("promote", "triage-v2", "--why", "well")["weight"] == 0.5
        assert newest(store).reason == "Promoted by hand: well"
        assert told("promote", "triage-v2", "--full", "--yes")["phase"] == "healthy"
        assert told("undo", "triage-v2")["phase"] == "degraded"
        assert told("retry", "triage-v2")["weight"] == 0.1
        assert newest(store).reason == "Retried"
        assert told("abort", "triage-v2", "--why", "no")["phase"] == "degraded"
        assert newest(store).reason == "Aborted by hand: no"
        assert [each["revision"] for each in told("history", "triage-v2")] == list(range(1, 10))

    @pytest.mark.parametrize(
        ("before", "verb", "wanted"),
        [
            ([], "resume", "progressing already. Nothing was changed. `pause` holds it"),
            ([["pause"]], "pause", "paused already. Nothing was changed. `resume` goes on"),
            ([["abort"]], "abort", "taken back already. Nothing was changed. `retry` begins"),
            ([["abort"]], "undo", "taken back already"),
            ([["promote", "--full", "--yes"]], "promote", "taken over already"),
        ],
    )
    def test_what_stands_there_already_is_left_alone_and_is_no_error(
        self, store: Rollouts, before: list[list[str]], verb: str, wanted: str
    ) -> None:
        done("start", "triage-v2")
        for name, *words in before:
            done(name, "triage-v2", *words)
        assert wanted in done(verb, "triage-v2")
        assert not told(verb, "triage-v2")["changed"]
        assert len(store.history("triage-v2")) == 1 + len(before)

    def test_going_to_the_end_says_what_it_skips_and_asks(self, store: Rollouts) -> None:
        done("start", "triage-v2")
        words = ["rollout", "promote", "triage-v2", "--full"]
        refused = CliRunner().invoke(cli, words, input="n\n")
        assert refused.exit_code == 1
        said = "This skips the steps 50 %, 100 %; nothing is proven of error rate. Go on?"
        assert said in refused.output
        assert newest(store).phase == "progressing"
        assert CliRunner().invoke(cli, words, input="y\n").exit_code == 0
        assert newest(store).phase == "healthy"

    def test_what_was_observed_of_one_that_rests_can_be_forgotten(self, store: Rollouts) -> None:
        rollout = a_rollout()
        assert store.put(begun(rollout))
        store.observe(rollout.name, seen(newest(store), 20))
        assert "is its evidence" in str(run("forget", "triage-v2").exception)
        done("abort", "triage-v2")
        kept = CliRunner().invoke(cli, ["rollout", "forget", "triage-v2"], input="n\n")
        assert kept.exit_code == 1
        assert len(store.seen("triage-v2", 0).observations) == 20
        assert "is deleted" in done("forget", "triage-v2", "--yes")
        assert store.seen("triage-v2", 0).observations == []
        assert len(store.history("triage-v2")) == 2

    def test_aborting_what_nobody_started_is_an_error(self, store: Rollouts) -> None:
        done("start", "triage-v2")
        with pytest.raises(RolloutError, match="Started: triage-v2"):
            raise run("abort", "triage-v3").exception or AssertionError

    @pytest.mark.parametrize("weight", ["half", "101", "-1", "nan"])
    def test_what_is_no_percentage_is_not_understood(self, store: Rollouts, weight: str) -> None:
        done("start", "triage-v2")
        ended = run("set-weight", "triage-v2", "--", weight)
        assert ended.exit_code == 2
        assert "from 0 to 100" in ended.output

    def test_a_verb_that_makes_no_sense_says_so(self, store: Rollouts) -> None:
        done("start", "triage-v2")
        assert "`abort` ends it" in str(run("undo", "triage-v2").exception)
        assert "nothing to try again. `pause` holds it" in str(run("retry", "triage-v2").exception)


class TestGet:
    """`tierflow rollout get`, `list` and `history`."""

    def test_it_says_where_it_stands_and_what_both_arms_show(self, store: Rollouts) -> None:
        rollout = a_rollout()
        assert store.put(begun(rollout))
        store.observe(rollout.name, seen(newest(store), 3000))
        said = done("get", "triage-v2")
        assert said.startswith("triage-v2: progressing, 10 % of units (step 1 of 3)")
        assert "error rate" in said
        assert re.search(r"\d\.\d% in", said)
        assert "units" in said
        found = told("get", "triage-v2")
        assert [each["metric"] for each in found["readings"]] == [
            "error rate",
            "quality (helpful)",
        ]
        assert len(store.history("triage-v2")) == 1

    def test_a_candidate_that_fails_in_the_shadow_is_said_to(self, store: Rollouts) -> None:
        rollout = a_rollout(steps=("shadow", 50, 100))
        assert store.put(begun(rollout))
        for pair in pairs(12, 0.0):
            failed = replace(pair.candidate, failed=True, scores={})
            store.pair(rollout.name, replace(pair, candidate=failed))
        said = " ".join(done("get", "triage-v2").split())
        assert "12 of 12 shadow calls failed" in said
        assert "100.0% in" in said
        found = told("get", "triage-v2")
        assert found["shadow"] == {"asked": 12, "failed": 12}
        assert found["why"].endswith("12 of 12 shadow calls failed")
        assert found["readings"][0]["candidate_measured"] == 1.0

    def test_watching_ends_when_it_rests(self, store: Rollouts) -> None:
        rollout, state = a_rollout(), begun(a_rollout())
        assert store.put(state)

        def rest() -> None:
            assert store.put(pause(rollout, state, "me", time.time(), "lunch"))

        thread = threading.Thread(target=rest)
        thread.start()
        lines = done("get", "triage-v2", "--watch", "--every", "0.01", "--json").splitlines()
        thread.join()
        assert json.loads(lines[-1])["phase"] == "paused"
        assert {json.loads(each)["phase"] for each in lines[:-1]} <= {"progressing"}
        assert "lunch" in done("get", "triage-v2", "--watch")

    def test_what_nobody_started_is_an_error(self, store: Rollouts) -> None:
        with pytest.raises(RolloutError, match="tierflow rollout start other"):
            raise run("get", "other").exception or AssertionError
        assert "with FILE.py:STEP behind it" in str(run("get", "other").exception)
        assert "Nobody has started" in str(run("history", "other").exception)

    def test_a_list_has_those_of_the_store_and_of_the_file(self, store: Rollouts) -> None:
        assert store.put(begun(a_rollout(name="older")))
        assert {each["rollout"]: each["phase"] for each in told("list")} == {
            "older": "progressing",
            "triage-v2": "pending",
        }
        assert "not started" in done("list")

    def test_without_any_it_says_what_to_write(self, store: Rollouts, project: Path) -> None:
        (project / "tierflow.toml").write_text("")
        assert "rollouts.NAME" in done("list")

    def test_a_history_says_who_and_why(self, store: Rollouts) -> None:
        rollout, state = a_rollout(), begun(a_rollout())
        assert store.put(state)
        assert store.put(promote(rollout, state, "Ada", time.time()))
        said = done("history", "triage-v2")
        assert "Ada" in said
        assert [each["by"] for each in told("history", "triage-v2")] == ["me", "Ada"]


VERBS = """start get list history promote pause resume abort retry undo set-weight lint forget"""


@pytest.mark.parametrize("verb", VERBS.split())
def test_every_verb_has_its_help(verb: str) -> None:
    assert "Usage:" in done(verb, "--help")
