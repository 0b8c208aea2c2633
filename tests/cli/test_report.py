"""`tierflow report`: one flow run as Markdown, as a page and as JSON, and what it says of none."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner, Result

from tests.tracing.rows import a_call, a_row
from tierflow.cli import cli
from tierflow.settings import settings
from tierflow.tracing import open_ledger
from tierflow.tracing.evaluations import evaluation_of, open_evaluations


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["report", *arguments])


@pytest.fixture
def entered(project: Path) -> Path:
    """A ledger with two flow runs. Return the project."""
    ledger = open_ledger(settings())
    escalated: dict[str, Any] = {"escalations": 1, "passed_by": "confidence: 0.4"}
    ledger.add(a_row(ref="one", flow_run_id="first", **escalated), [a_call(ref="one")])
    ledger.add(a_row(ref="two", flow_run_id="second", flow="night <shift>"), [a_call(ref="two")])
    ledger.close()
    return project


def test_it_prints_markdown_without_pictures(entered: Path) -> None:
    said = run("first")

    assert said.exit_code == 0
    assert said.stdout.startswith("# inbox\n")
    assert "| triage | fast | 1 | confidence: 0.4 |" in said.stdout
    assert "data:" not in said.stdout


def test_last_is_the_run_that_wrote_last(entered: Path) -> None:
    assert run("last").stdout.startswith("# night &lt;shift&gt;\n")


def test_html_is_one_page_in_the_file(entered: Path) -> None:
    said = run("last", "--html", "report.html")

    assert (said.exit_code, said.stdout) == (0, "")
    assert "Wrote report.html" in said.stderr
    text = (entered / "report.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert "<h1>night &lt;shift&gt;</h1>" in text
    assert text.rstrip().endswith("</html>")


def test_json_has_every_answer_with_its_calls(entered: Path) -> None:
    data = json.loads(run("first", "--json").stdout)

    assert (data["flow_run_id"], data["flow"]) == ("first", "inbox")
    assert [step["step"] for step in data["steps"]] == ["triage", "total"]
    (answer,) = data["answers"]
    assert (answer["ref"], answer["calls"][0]["deployment"]) == ("one", "openai/a")


def test_page_and_json_can_be_had_at_once(entered: Path) -> None:
    said = run("first", "--json", "--html", "report.html")

    assert json.loads(said.stdout)["flow"] == "inbox"
    assert (entered / "report.html").exists()


def test_an_unknown_run_is_named_with_the_place_and_the_remedy(entered: Path) -> None:
    said = run("third", "--html", "report.html")

    assert said.exit_code == 1
    assert "'third'" in said.stderr
    assert str(entered / ".tierflow" / "ledger.db") in said.stderr
    assert '"last"' in said.stderr
    assert not (entered / "report.html").exists()


@pytest.mark.parametrize("which", ["last", "some-run"])
def test_without_a_ledger_none_is_made(project: Path, which: str) -> None:
    said = run(which)

    assert said.exit_code == 1
    assert str(project / ".tierflow" / "ledger.db") in said.stderr
    assert not list(project.iterdir())


def test_a_file_that_cannot_be_written_is_named(entered: Path) -> None:
    said = run("last", "--html", "nowhere/report.html")

    assert said.exit_code == 1
    assert "nowhere/report.html cannot be written: No such file or directory." in said.stderr


def test_a_server_is_named_without_its_password(
    project: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERFLOW_STORE_URL", postgres_url)

    said = run("some-run")

    assert said.exit_code == 1
    assert "is in postgresql+psycopg:" in said.stderr
    assert urlsplit(postgres_url).query not in said.stderr


def test_what_evaluations_found_since_is_in_it(entered: Path) -> None:
    store = open_evaluations(settings())
    row = a_row(ref="one", flow_run_id="first")
    for number, score in enumerate((0.5, 1.0)):
        said = evaluation_of(
            row,
            "helpful",
            id_=str(number),
            at="2026-01-02T03:04:05.678+00:00",
            score=score,
            label=None,
            explanation=None,
            source="human",
            evaluator=f"person {number}",
            rejected=False,
        )
        store.add(said)
    store.close()

    (step, _) = json.loads(run("first", "--json").stdout)["steps"]
    assert (step["quality"], step["scored"]) == (0.75, 2)
