"""The command line's part about similar questions."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.caching.answers import key_of
from tests.caching.similar.streams import place
from tierflow.caching import SemanticCache, open_similar_cache
from tierflow.cli import cli
from tierflow.settings import settings

ASKS = {
    "Where is my parcel?": ("triage", "acme"),
    "I forgot my \x1b[2J password.": ("triage", ""),
    "Write a poem about the sea.": ("poems", ""),
}
CHECKS = 12


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(cli, ("cache", *arguments))


def found(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


@pytest.fixture
def filled(project: Path, minilm_home: Path) -> Path:
    """A project with questions of two steps, and checks of one. The encoder is made already."""
    (project / ".tierflow").mkdir()
    (project / ".tierflow" / "encoder").symlink_to(minilm_home / "encoder")
    terms = SemanticCache()
    similar = open_similar_cache(settings())
    for ask, (step, tenant) in ASKS.items():
        at = place(f"p-{step}-{tenant}", f"s-{step}", step=step, tenant=tenant)
        finding = similar.find(at, ask, terms)
        assert finding is not None
        similar.keep(finding, key_of(ask), key_of("an answer"))
        if step == "poems":
            for number in range(CHECKS):
                again = similar.find(at, ask, terms)
                assert again is not None
                similar.learn(again, same=number > 0)
    similar.close()
    return project


@pytest.mark.usefixtures("filled")
def test_explain_shows_the_nearest_question_and_how_far_the_proof_is() -> None:
    said = run("explain", "Where is my package?")
    assert said.exit_code == 0, said.output
    first, *rest = said.stdout.split("\nStep ")
    assert first.startswith("Step triage of tenant acme: 1 question kept\n")
    for line in (
        '  nearest      "Where is my parcel?"',
        "  would serve  no: not proven yet (0% of the way)",
        "  right with   0.0000; nothing is proven yet",
        "  proof        0% of the way; 0 checks of likely hits, 0 wrong",
    ):
        assert line in first
    assert "similarity of the nearest" in first
    assert len(rest) == 2
    assert "\x1b" not in said.stdout


@pytest.mark.usefixtures("filled")
def test_explain_tells_all_of_it_as_json() -> None:
    told = found("explain", "Where is my package?")
    assert [each["step"] for each in told] == ["triage", "triage", "poems"]
    (nearest, *_) = told
    assert nearest["tenant"] == "acme"
    assert nearest["nearest"]["ask"] == "Where is my parcel?"
    assert nearest["nearest"]["key"] == key_of("Where is my parcel?")
    assert (nearest["would_serve"], nearest["probability_needed"]) == (False, None)
    assert set(nearest["features"]) > {"similarity", "numbers differ"}
    assert told[2]["features"]["record of this answer"] > 1


@pytest.mark.usefixtures("filled")
def test_explain_of_one_step_leaves_out_the_others() -> None:
    assert [each["step"] for each in found("explain", "Where is it?", "--step", "poems")] == [
        "poems"
    ]
    said = run("explain", "Where is it?", "--step", "none")
    assert (said.exit_code, said.stdout) == (0, "Nothing is kept that it could be compared with.\n")
    assert found("explain", "Where is it?", "--step", "none") == []


@pytest.mark.usefixtures("filled")
def test_explain_changes_nothing() -> None:
    first = found("explain", "Where is my package?")
    assert found("explain", "Where is my package?") == first


@pytest.mark.usefixtures("filled")
def test_explain_of_a_question_beyond_the_window_says_so() -> None:
    said = run("explain", "word " * 500)
    assert said.exit_code == 1
    assert "longer than the encoder reads" in said.stderr


@pytest.mark.parametrize(
    "option", [("--max-wrong-rate", "0"), ("--max-wrong-rate", "nan"), ("--confidence", "0.2")]
)
@pytest.mark.usefixtures("project")
def test_terms_that_cannot_be_are_a_wrong_use(option: tuple[str, str]) -> None:
    said = run("explain", "Where is it?", *option)
    assert said.exit_code == 2
    assert option[0].removeprefix("--").replace("-", "_") in said.stderr


@pytest.mark.parametrize(
    ("command", "code"),
    [(("explain", "Where is it?"), 1), (("invalidate", "--all", "--yes"), 0)],
)
def test_where_nothing_is_kept_nothing_is_made(
    project: Path, command: tuple[str, ...], code: int
) -> None:
    said = run(*command)
    assert said.exit_code == code
    if code:
        assert f"has kept a question in {project / '.tierflow'}" in said.stderr
    assert list(project.iterdir()) == []


def test_invalidate_removes_the_questions_too(filled: Path) -> None:
    assert found("invalidate", "--tenant", "acme", "--yes") == {"removed": 0, "questions": 1}
    said = run("invalidate", "--step", "poems", "--yes")
    assert said.stdout == "Removed 0 answers, and 1 question for similar ones.\n"
    (left,) = found("explain", "Where is my package?")
    assert (left["step"], left["tenant"]) == ("triage", "")
    assert found("invalidate", "--all", "--yes")["questions"] == 1
    assert found("explain", "Where is my package?") == []
    assert b"Where is my parcel" not in (filled / ".tierflow" / "similar.db").read_bytes()
