"""`tierflow quality`: rates and means of what was found of answers, with their intervals."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.tracing.evaluated import an_evaluation
from tests.tracing.rows import a_row
from tierflow.bounds import lower_share, upper_share
from tierflow.cli import cli
from tierflow.settings import settings
from tierflow.tracing import open_ledger
from tierflow.tracing.evaluations import open_evaluations

NOW = datetime.now(UTC)
OLD = (NOW - timedelta(days=3)).isoformat(timespec="milliseconds")
NEW = (NOW - timedelta(hours=1)).isoformat(timespec="milliseconds")


@pytest.fixture(params=["sqlite", "postgres"])
def kept_in(request: pytest.FixtureRequest, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep everything in files, or on a server."""
    del project
    if request.param == "postgres":
        monkeypatch.setenv("TIERFLOW_STORE_URL", request.getfixturevalue("postgres_url"))


@pytest.fixture
def filled(kept_in: None) -> Iterator[None]:
    """Ten answers of triage, one of which failed, and an old one of urgency; and evaluations."""
    del kept_in
    with (
        closing(open_ledger(settings())) as ledger,
        closing(open_evaluations(settings())) as store,
    ):
        for number in range(10):
            outcome = "ok" if number else "RejectedError"
            ledger.add(a_row(ref=str(number), at=NEW, outcome=outcome))
        ledger.add(a_row(ref="audit", at=NEW, step="triage (audit)"))
        ledger.add(a_row(ref="old", at=OLD, step="urgency", tier="best", model="b"))

        def evaluation(ref: int, **fields: Any) -> None:
            store.add(an_evaluation(ref=str(ref), **({"at": NEW, "source": "judge"} | fields)))

        for number in range(4):
            label = "fail" if number == 0 else "pass"
            evaluation(number, name="safety", label=label, score=float(label == "pass"))
            evaluation(number, name="groundedness", label="grounded")
            evaluation(number, name="helpful", score=number / 4)
        evaluation(1, source="human", score=1.0)
        evaluation(2, at=OLD, step="urgency", tier="best", model="b", source="human", score=0.0)
        yield


def run(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(cli, ["quality", *words])


def found(*words: str) -> dict[tuple[str, str], dict[str, Any]]:
    said = json.loads(run(*words, "--json").stdout)
    return {(each["group"], each["name"]): each for each in said["measures"]}


@pytest.mark.usefixtures("filled")
def test_what_operators_ask_for_is_there_by_step() -> None:
    said = found()
    values = {name: (each["value"], each["count"]) for name, each in said.items()}
    assert values == {
        ("triage", "task success"): (0.9, 10),
        ("triage", "safety compliance"): (0.75, 4),
        ("triage", "hallucination"): (0.0, 4),
        ("triage", "satisfaction"): (1.0, 1),
        ("triage", "helpful"): (0.375, 4),
        ("urgency", "task success"): (1.0, 1),
        ("urgency", "satisfaction"): (0.0, 1),
    }
    success = said["triage", "task success"]
    assert success["low"] == lower_share(9, 10, 0.975)
    assert success["high"] == upper_share(9, 10, 0.975)
    assert 0 <= said["triage", "helpful"]["low"] < 0.375 < said["triage", "helpful"]["high"] <= 1


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("words", "groups"),
    [
        (["--by", "tier"], {"best", "fast"}),
        (["--by", "model"], {"a", "b"}),
        (["--by", "arm"], {""}),
        (["--step", "urgency"], {"urgency"}),
        (["--since", "1d"], {"triage"}),
        (["--since", "48h"], {"triage"}),
        (["--since", "5d"], {"triage", "urgency"}),
        (["--since", "30m"], set[str]()),
        (["--since", (NOW - timedelta(days=2)).date().isoformat()], {"triage"}),
        (["--since", "2020-01-01T00:00:00+02:00"], {"triage", "urgency"}),
    ],
)
def test_answers_are_chosen_and_told_apart(words: list[str], groups: set[str]) -> None:
    assert {group for group, _ in found(*words)} == groups


@pytest.mark.usefixtures("filled")
def test_the_table_has_intervals_and_counts() -> None:
    done = run()
    assert done.exit_code == 0, done.output
    lines = [line for line in done.stdout.splitlines() if "safety compliance" in line]
    assert len(lines) == 1
    for part in ("75.0%", "19.4% to 99.4%", " 4 "):
        assert part in lines[0]
    assert "helpful" in done.stdout
    assert "0.375" in done.stdout
    assert "(audit)" not in done.stdout


@pytest.mark.usefixtures("filled")
def test_the_help_says_which_intervals_they_are() -> None:
    said = run("--help").stdout
    assert "Clopper-Pearson" in said
    assert "Hoeffding" in said


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("word", ["yesterday", "7", "7w", "-1d", "2026-13-01", ""])
def test_what_is_no_time_is_exit_code_2(word: str) -> None:
    done = run("--since", word)
    assert done.exit_code == 2
    assert "Write 7d, 24h, 30m" in done.output


@pytest.mark.usefixtures("filled")
def test_nothing_found_is_said() -> None:
    done = run("--step", "other")
    assert done.exit_code == 1
    assert "Nothing is known of such answers" in done.output
    assert json.loads(run("--step", "other", "--json").stdout)["measures"] == []


def test_without_a_ledger_nothing_is_made(project: Path) -> None:
    done = run()
    assert done.exit_code == 1
    assert "There is no ledger in" in done.output
    assert not (project / ".tierflow").exists()
