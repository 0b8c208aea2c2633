"""`tierflow prompt`: versions listed, shown, compared and published, aliases moved."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tierflow.cli import cli
from tierflow.errors import PromptError, UnknownPromptError

WORDS = """
# Sort, and nothing else.
prefix = '''
Sort the ticket.
- refund: wants money back
'''
ask = "{{ticket}}"

[[examples]]
ask = "Money!"
result = { intent = "refund" }
"""


@pytest.fixture(params=["sqlite", "postgres"], autouse=True)
def folder(request: pytest.FixtureRequest, project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if request.param == "postgres":
        monkeypatch.setenv("TIERFLOW_STORE_URL", request.getfixturevalue("postgres_url"))
    folder = project / "prompts" / "triage"
    folder.mkdir(parents=True)
    (folder / "v1.toml").write_text(WORDS)
    (folder / "v2.toml").write_text(WORDS.replace("money back", "their money back"))
    (folder / "aliases.toml").write_text('production = "v1"')
    return folder


def run(*words: str, colour: bool = False) -> Result:
    runner = CliRunner(env={"COLUMNS": "200"})
    return runner.invoke(cli, ["prompt", *words], color=colour)


def done(*words: str) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_all_versions_are_listed_with_their_aliases() -> None:
    rows = json.loads(done("list", "--json"))
    assert [(row["prompt"], row["version"], row["origin"]) for row in rows] == [
        ("triage", "v1", "file"),
        ("triage", "v2", "file"),
    ]
    assert [row["aliases"] for row in rows] == [{"production": "file"}, {}]
    table = done("list")
    assert rows[0]["hash"][:12] in table
    assert "production (file)" in table


def test_a_version_is_shown_as_a_file_that_says_the_same(folder: Path) -> None:
    shown = done("show", "triage")
    assert shown.startswith("# triage@v1 (")
    assert f"from {folder / 'v1.toml'}" in shown
    assert "# alias: production (file)" in shown

    (folder / "v3.toml").write_text(shown)
    found = [json.loads(done("show", f"triage@{each}", "--json")) for each in ("v3", "production")]
    assert found[0]["hash"] == found[1]["hash"]
    assert found[1]["fields"] == ["ticket"]
    assert found[1]["prefix"] == "Sort the ticket.\n- refund: wants money back"
    assert found[1]["examples"] == [{"ask": "Money!", "result": {"intent": "refund"}}]


def test_two_versions_are_compared_line_by_line() -> None:
    told = done("diff", "triage", "production", "v2").splitlines()
    assert told[0].startswith("--- triage@v1 (")
    assert told[1].startswith("+++ triage@v2 (")
    assert [line for line in told[2:] if line[:1] in "+-"] == [
        "-- refund: wants money back",
        "+- refund: wants their money back",
    ]
    found = json.loads(done("diff", "triage", "v1", "v2", "--json"))
    assert (found["a"]["version"], found["b"]["version"], found["same"]) == ("v1", "v2", False)
    assert found["diff"] == told


def test_a_comparison_is_coloured_on_a_terminal_alone() -> None:
    assert "\x1b[32m+- refund" in run("diff", "triage", "v1", "v2", colour=True).stdout
    assert "\x1b" not in run("diff", "triage", "v1", "v2").stdout


def test_versions_that_say_the_same_are_said_to() -> None:
    assert done("diff", "triage", "v1", "v1") == "triage@v1 and triage@v1 say the same.\n"
    assert json.loads(done("diff", "triage", "v1", "v1", "--json"))["same"]


def test_a_version_is_published_once_and_never_changes(folder: Path) -> None:
    assert "is published." in done("publish", "triage", "v1")
    assert "was published before, with this content." in done("publish", "triage", "v1")

    (folder / "v1.toml").write_text(WORDS.replace("Sort", "Order"))
    refused = run("publish", "triage", "v1").exception
    assert isinstance(refused, PromptError)
    assert "a version never changes" in str(refused)
    assert "v1.toml has another content" in done("show", "triage@v1")
    assert "differs from file" in done("list")
    assert "Order" not in done("show", "triage@v1")


def test_an_alias_is_moved_by_hand_with_a_history() -> None:
    told = done("alias", "triage", "candidate", "v2")
    assert told == "candidate of triage stands for v2, by the store.\n"
    told = done("alias", "triage", "production", "candidate", "--why", "fewer \x1b[2J refunds")
    assert told == "production of triage stands for v2, by the store. It was v1.\n"
    assert json.loads(done("show", "triage", "--json"))["aliases"] == {
        "candidate": "store",
        "production": "store",
    }

    told = done("alias", "triage", "production", "--drop")
    assert told == "production of triage stands for v1, by the file. It was v2.\n"
    assert done("alias", "triage", "candidate", "--drop").startswith(
        "candidate of triage stands for nothing."
    )

    moves = json.loads(done("history", "triage", "--json"))
    assert [(each["alias"], each["version"]) for each in moves] == [
        ("candidate", None),
        ("production", None),
        ("production", "v2"),
        ("candidate", "v2"),
    ]
    assert moves[2]["why"] == "fewer \x1b[2J refunds"
    assert "given back to the files" in done("history", "triage")
    assert "\x1b" not in done("history", "triage")


def test_a_version_that_is_not_there_is_no_alias_to_write() -> None:
    refused = str(run("alias", "triage", "production", "v7").exception)
    assert "has no version 'v7'" in refused
    assert "Name one of them, or write" in refused
    assert "tierflow prompt alias" not in refused


def test_what_was_published_and_moved_is_told_as_json() -> None:
    found = json.loads(done("publish", "triage", "v1", "--json"))
    assert (found["version"], found["origin"], found["changed"]) == ("v1", "file", True)
    found = json.loads(done("alias", "triage", "production", "v2", "--json"))
    assert (found["version"], found["before"], found["origin"]) == ("v2", "v1", "store")
    found = json.loads(done("alias", "triage", "candidate", "v2", "--json"))
    assert (found["before"], found["new_fields"]) == (None, [])


def test_a_move_to_a_version_with_more_fields_says_so(folder: Path) -> None:
    (folder / "v2.toml").write_text('ask = "{{ticket}} {{shop}}"')
    moved = run("alias", "triage", "production", "v2")
    assert moved.exit_code == 0
    assert "It has new fields: shop. Code that gives no such value fails." in moved.stderr
    assert not run("alias", "triage", "production", "v1").stderr


def test_an_alias_of_a_version_that_is_gone_is_mended_by_moving_it(folder: Path) -> None:
    (folder / "aliases.toml").write_text('production = "v9"')
    assert isinstance(run("show", "triage").exception, UnknownPromptError)
    assert done("alias", "triage", "production", "v2").endswith("It was v9.\n")
    assert done("show", "triage").startswith("# triage@v2 (")


def test_an_alias_needs_a_version_or_drop_and_not_both() -> None:
    assert run("alias", "triage", "production").exit_code == 2
    assert run("alias", "triage", "production", "v2", "--drop").exit_code == 2
    assert "No alias of triage was ever moved" in done("history", "triage")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "triag"], "Did you mean 'triage'?"),
        (["show", "triage@prod"], "aliases: production"),
        (["diff", "triage", "v1", "v9"], "Versions: v1, v2"),
        (["publish", "triage", "v9"], "Versions beside it: v1, v2"),
        (["alias", "triage", "production", "v9"], "Versions: v1, v2"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(words: list[str], said: str) -> None:
    refused = run(*words).exception
    assert isinstance(refused, UnknownPromptError)
    assert said in str(refused)


def test_without_any_prompt_it_says_what_to_write(folder: Path) -> None:
    for each in folder.iterdir():
        each.unlink()
    assert done("list").startswith("There is no prompt yet. Write ")


def test_a_look_makes_no_folder(project: Path) -> None:
    done("list")
    done("show", "triage")
    assert not (project / ".tierflow").exists()
