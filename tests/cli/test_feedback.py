"""`tierflow feedback`: people say how good an answer was, from the command line, days later."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.fakes.backend import FakeBackend
from tests.tasks.ways import Way, plain
from tests.tracing.rows import a_row
from tierflow.cli import cli
from tierflow.errors import EvaluationError
from tierflow.settings import settings
from tierflow.tasks import close_hands
from tierflow.tracing import Ledger, open_ledger
from tierflow.tracing.evaluations import Evaluation, open_evaluations

SECRET = "the customer's name is Zebedee"
TASK, RUN, LAST = (f"{digit * 8}-0000-4000-8000-{digit * 12}" for digit in "123")


@pytest.fixture(params=["sqlite", "postgres"], autouse=True)
def kept_in(request: pytest.FixtureRequest, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep everything in files, or on a server."""
    del project
    if request.param == "postgres":
        monkeypatch.setenv("TIERFLOW_STORE_URL", request.getfixturevalue("postgres_url"))


@pytest.fixture
def ledger(kept_in: None) -> Iterator[Ledger]:
    """One run with three answers and an audit, and a last one whose second attempt went well."""
    del kept_in
    with closing(open_ledger(settings())) as opened:
        for ref, step in (("a", "triage"), ("b", "triage"), ("c", "urgency")):
            opened.add(a_row(ref=ref, step=step, flow_run_id=RUN, task_run_id=f"of {ref}"))
        opened.add(a_row(ref="d", step="triage (audit)", flow_run_id=RUN))
        for ref, outcome in (("e", "UnparseableReplyError"), ("f", "ok")):
            opened.add(a_row(ref=ref, outcome=outcome, flow_run_id=LAST, task_run_id=TASK))
        yield opened


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["feedback", *words])


def said_of(ref: str) -> list[Evaluation]:
    with closing(open_evaluations(settings())) as store:
        return list(store.of_answer(ref))


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    ("words", "ref"),
    [
        (["a"], "a"),
        (["a", "--step", "triage"], "a"),
        (["of b"], "b"),
        ([TASK], "f"),
        ([RUN, "--step", "urgency"], "c"),
        ([LAST], "f"),
        (["last"], "f"),
        (["last", "--step", "triage"], "f"),
    ],
)
def test_an_answer_is_named_by_its_reference_or_by_a_run_that_has_one(
    words: list[str], ref: str
) -> None:
    done = run(*words, "--score", "0.8")
    assert done.exit_code == 0, done.output
    (found,) = said_of(ref)
    assert (found.name, found.score, found.source) == ("satisfaction", 0.8, "human")
    assert found.evaluator
    assert done.stdout == f"satisfaction of an answer of {found.step} is 0.8 ({ref}).\n"


@pytest.mark.usefixtures("ledger")
def test_all_that_is_said_is_kept_and_only_shown_without_the_explanation() -> None:
    words = ["--label", "wrong language", "--name", "correct", "--why", SECRET, "--json"]
    done = run("a", *words)
    (found,) = said_of("a")
    assert (found.score, found.label, found.explanation) == (None, "wrong language", SECRET)
    shown = json.loads(done.stdout)
    assert (shown["ref"], shown["name"], shown["label"]) == ("a", "correct", "wrong language")
    assert shown["rejected"] is False
    assert "Zebedee" not in done.output


@pytest.mark.usefixtures("ledger")
def test_who_changes_their_mind_is_heard() -> None:
    for score in ("0", "1"):
        run("a", "--score", score)
    with closing(open_evaluations(settings())) as store:
        assert store.scores(RUN) == {"triage": (1.0, 1)}


@pytest.mark.usefixtures("ledger")
def test_a_run_with_several_answers_lists_them() -> None:
    done = run(RUN, "--score", "1")
    assert done.exit_code == 1
    assert f"{RUN} has 3 answers. Narrow it down by --step" in done.output
    assert [line.split()[0] for line in done.output.splitlines()[1:]] == ["a", "b", "c"]
    done = run(RUN, "--score", "1", "--step", "triage")
    assert f"{RUN} has 2 answers of 'triage'" in done.output
    assert said_of("a") == []


def test_a_long_list_is_cut_short(ledger: Ledger) -> None:
    for number in range(20):
        ledger.add(a_row(ref=f"x{number}", flow_run_id="long"))
    assert "and 15 more" in run("long", "--score", "1").output


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody's"], "'nobody\\'s' is no answer and no run in the ledger"),
        ([RUN, "--step", "other"], "has no answer of 'other'. Its steps: triage, urgency"),
        (["a", "--step", "urgency"], "a is an answer of triage, not of urgency"),
    ],
)
def test_what_names_no_answer_is_said_to(words: list[str], said: str) -> None:
    done = run(*words, "--score", "1")
    assert done.exit_code == 1
    assert said.replace("\\'", "'").replace("'nobody's'", '"nobody\'s"') in done.output


@pytest.mark.parametrize(
    "words", [["a"], ["a", "--why", "?"], ["a", "--score", "5"], ["a", "--score", "good"], []]
)
def test_a_command_that_says_nothing_is_exit_code_2(words: list[str]) -> None:
    assert run(*words).exit_code == 2


@pytest.mark.usefixtures("ledger")
def test_a_label_that_is_a_sentence_is_refused() -> None:
    done = run("a", "--label", "x" * 65)
    assert isinstance(done.exception, EvaluationError)
    assert said_of("a") == []


def test_without_a_ledger_nothing_is_made(request: pytest.FixtureRequest, project: Path) -> None:
    done = run("last", "--score", "1")
    assert done.exit_code == 1
    if "sqlite" in request.node.name:
        assert "There is no ledger in" in done.output
        assert not (project / ".tierflow").exists()


@pytest.fixture
def answered(catalogue: Catalogue, provider: FakeProvider) -> Any:
    # Without this litellm's blocking client opens an event loop that nobody closes.
    asyncio.set_event_loop(None)
    catalogue()
    provider.script("fast", [Say("one"), Say("two")])
    step = Way(is_async=False).step(plain)
    ref = step("Where?").ref
    close_hands()
    return step, ref


def test_a_rejected_answer_is_not_served_again(answered: Any) -> None:
    step, ref = answered
    done = run(ref, "--score", "0", "--reject")
    assert done.stdout.endswith("It is taken out of the caches.\n")
    assert (step("Where?").value, step("Where?").cache) == ("two", "exact")


@pytest.mark.usefixtures("ledger")
def test_an_answer_that_no_cache_keeps_is_said_to_be_none() -> None:
    assert run("a", "--score", "0", "--reject").stdout.endswith("No cache keeps it.\n")


def test_sinks_have_it_when_the_command_ends(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.add(a_row(ref="traced", trace_id="a" * 32, span_id="b" * 16))
    with FakeBackend() as backend:
        sink = {"mine": {"kind": "phoenix", "url": backend.url}}
        monkeypatch.setenv("TIERFLOW_EVALUATIONS__SINKS", json.dumps(sink))
        assert run("traced", "--score", "1", "--why", SECRET).exit_code == 0
        (posted,) = backend.posts
    assert posted.body["data"][0]["span_id"] == "b" * 16
    assert "Zebedee" not in json.dumps(posted.body)
