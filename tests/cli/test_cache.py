"""The command line's part about the cache."""

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.fernet import Fernet

from tests.caching.answers import DAY_S, entry_of, key_of
from tests.caching.similar.questions import question
from tierflow.caching import Key
from tierflow.caching.disk_store import DiskStore
from tierflow.caching.similar.sqlite_store import SqliteSimilarStore
from tierflow.caching.store import Entry, Failure
from tierflow.cli import cli
from tierflow.errors import ConfigError

NOW = time.time()
ENTRIES: dict[str, Entry] = {
    key_of("a"): entry_of("a secret \x1b[2J", tenant="acme", tags=("x", "y"), at=NOW - 9),
    key_of("b"): entry_of("b", prefix="f00d", at=NOW - 8),
    key_of("c"): entry_of("c", "reply", at=NOW - 7),
    key_of("d"): entry_of(Failure("RejectedError", "a long secret"), "reply", at=NOW - 6),
}


def run(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(cli, ("cache", *arguments), input=answer)


def found(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


def fill(project: Path, entries: dict[str, Entry]) -> None:
    store = DiskStore(project / ".tierflow" / "cache", size_limit_mb=16)
    for key, entry in entries.items():
        store.put(Key(key), entry)
    store.close()


@pytest.fixture
def filled(project: Path) -> Path:
    fill(project, ENTRIES)
    return project


def count() -> int:
    entries: int = found("stats")["entries"]
    return entries


def test_stats_count_answers_by_step(filled: Path) -> None:
    said = run("stats").stdout
    assert f"{filled / '.tierflow' / 'cache'}: 4 answers (1 of them failures), 0.0 MB" in said
    assert "  reply: 2\n  triage: 2\n" in said
    told = found("stats")
    assert told["steps"] == {"reply": 2, "triage": 2}
    assert (told["failures"], told["bytes"] > 0) == (1, True)


@pytest.mark.parametrize(
    "command",
    [
        ("stats",),
        ("verify",),
        ("explain", "abcd", "--json"),
        ("invalidate", "--all", "--yes"),
        ("export", "../answers.jsonl"),
    ],
)
def test_looking_makes_no_folder_where_there_is_none(
    project: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "inside").mkdir()
    monkeypatch.chdir(project / "inside")
    assert run(*command).exit_code == 0
    assert list((project / "inside").iterdir()) == []


def ask(project: Path, *asks: str) -> None:
    with closing(SqliteSimilarStore(project / ".tierflow" / "similar.db")) as store:
        for each in asks:
            store.add(question(each))


def test_stats_count_the_questions_too(filled: Path) -> None:
    assert found("stats")["questions"] == 0
    ask(filled, "a", "b")
    assert found("stats")["questions"] == 2
    assert run("stats").stdout.endswith("Kept for similar questions: 2\n")


def test_stats_tell_the_answers_where_the_questions_are_lost(filled: Path) -> None:
    (filled / ".tierflow" / "similar.db").write_text("no database" * 99)
    done = run("stats")
    assert (done.exit_code, "4 answers" in done.stdout) == (0, True)
    assert "similar.db cannot be used" in done.stderr
    assert found("stats")["questions"] is None


# --- explain


@pytest.mark.usefixtures("filled")
def test_explain_shows_where_an_answer_comes_from_but_not_what_it_says() -> None:
    said = run("explain", key_of("a")[:6])
    assert said.exit_code == 0
    for part in (key_of("a"), "triage", "acme", '["x", "y"]', "openai/small", "small-2026"):
        assert part in said.stdout
    assert "secret" not in said.stdout
    (told,) = found("explain", key_of("a"))
    assert (told["cost_usd"], told["text_bytes"]) == (0.25, 13)
    assert told["usage"]["input_tokens"] == 10
    assert told["stored_at"].endswith("+00:00")
    assert "text" not in told


@pytest.mark.usefixtures("filled")
def test_explain_shows_the_text_on_request_and_spares_the_terminal_its_controls() -> None:
    said = run("explain", key_of("a"), "--show-text").stdout
    assert r"a secret \u001b[2J" in said
    assert "\x1b" not in said
    assert found("explain", key_of("a"), "--show-text")[0]["text"] == "a secret \x1b[2J"


@pytest.mark.usefixtures("filled")
def test_explain_names_a_failure_and_shows_its_message_on_request() -> None:
    (told,) = found("explain", key_of("d"))
    assert told["failure"] == "RejectedError"
    assert "message" not in told
    assert found("explain", key_of("d"), "--show-text")[0]["message"] == "a long secret"


@pytest.mark.usefixtures("filled")
def test_explain_of_what_is_not_there_fails() -> None:
    assert run("explain", "0" * 64).exit_code == 1
    assert "begins with 0000" in run("explain", "0000").stderr
    assert "has kept a question" in run("explain", "why was this served?").stderr


@pytest.mark.usefixtures("project")
def test_explain_shows_some_of_many(project: Path) -> None:
    fill(project, {f"abcd{number:060x}": entry_of(number) for number in range(25)})
    said = run("explain", "abcd").stdout
    assert said.count("  step ") == 20
    assert "and 5 more" in said
    assert len(found("explain", "abcd")) == 25


# --- export and import


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("name", ["answers.jsonl", "answers.jsonl.gz"])
def test_what_is_exported_can_be_imported(tmp_path: Path, name: str) -> None:
    file = str(tmp_path / name)
    assert run("export", file).stdout == f"Wrote 4 answers to {file}.\n"
    assert run("invalidate", "--step", "reply", "--yes").stdout == "Removed 2 answers.\n"
    assert found("import", file) == {
        "added": 2,
        "replaced": 0,
        "kept": 2,
        "expired": 0,
        "bad": 0,
    }
    assert found("import", file, "--replace")["replaced"] == 4
    store = DiskStore(tmp_path / ".tierflow" / "cache", size_limit_mb=16)
    assert dict(store.entries()) == ENTRIES
    store.close()


def test_import_names_bad_lines_and_exits_with_1(project: Path) -> None:
    file = project / "answers.jsonl"
    file.write_text("a secret\n")
    done = run("import", str(file))
    assert done.exit_code == 1
    assert f"{file}, line 1: Invalid JSON" in done.stderr
    assert "1 were no answers" in done.stdout
    assert "secret" not in done.output


def test_import_of_many_bad_lines_names_the_first(project: Path) -> None:
    file = project / "answers.jsonl"
    file.write_text("no answer\n" * 100)
    done = run("import", str(file))
    assert len(done.stderr.splitlines()) < 30
    assert "100 were no answers" in done.stdout


@pytest.mark.usefixtures("filled")
def test_what_was_gzipped_is_read_under_any_name(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl.gz"
    run("export", str(file))
    other = file.rename(tmp_path / "answers.txt")
    assert found("import", str(other))["kept"] == 4


def test_an_export_says_what_it_left_out(filled: Path) -> None:
    database = filled / ".tierflow" / "cache" / "cache.db"
    with closing(sqlite3.connect(database)) as plain:
        plain.execute("UPDATE Cache SET value = 'broken' WHERE key = ?", (key_of("a"),))
        plain.commit()
    done = run("export", str(filled / "answers.jsonl"))
    assert done.exit_code == 1
    assert "Wrote 3 answers" in done.stdout
    assert "1 damaged ones were left out" in done.stderr


@pytest.mark.usefixtures("project")
def test_import_of_a_file_that_is_not_there_is_a_wrong_use() -> None:
    assert run("import", "nowhere.jsonl").exit_code == 2


# --- invalidate


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("options", "left"),
    [
        (("--step", "triage"), "cd"),
        (("--tag", "y"), "bcd"),
        (("--prefix", "f00d"), "acd"),
        (("--tenant", "acme"), "bcd"),
        (("--step", "triage", "--tenant", "acme"), "bcd"),
        (("--step", "reply", "--tenant", "acme"), "abcd"),
        (("--all",), ""),
    ],
)
def test_invalidate_removes_what_fits_all_options(options: tuple[str, ...], left: str) -> None:
    assert found("invalidate", *options, "--yes")["removed"] == 4 - len(left)
    here = [name for name in "abcd" if run("explain", key_of(name)).exit_code == 0]
    assert here == [*left]


@pytest.mark.usefixtures("filled")
def test_invalidate_asks_first_and_takes_no_for_an_answer() -> None:
    refused = run("invalidate", "--all", answer="n\n")
    assert refused.exit_code == 1
    assert "Remove all answers from the cache?" in refused.stderr
    assert count() == 4
    assert run("invalidate", "--all", answer="y\n").stdout == "Removed 4 answers.\n"
    assert count() == 0


@pytest.mark.usefixtures("filled")
def test_invalidate_names_what_it_asks_about() -> None:
    asked = run("invalidate", "--step", "reply", "--tag", "x").stderr
    assert "the answers of step 'reply' and tag 'x'" in asked
    assert count() == 4


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("options", [(), ("--all", "--step", "reply")])
def test_invalidate_wants_to_know_what(options: tuple[str, ...]) -> None:
    assert run("invalidate", *options, "--yes").exit_code == 2
    assert count() == 4


# --- verify


def test_verify_finds_nothing_where_nothing_is_damaged(filled: Path) -> None:
    done = run("verify")
    assert (done.exit_code, done.stdout) == (
        0,
        f"{filled / '.tierflow' / 'cache'}: nothing is damaged.\n",
    )
    assert found("verify")["faults"] == []


def test_verify_names_each_fault_and_exits_with_1(filled: Path) -> None:
    database = filled / ".tierflow" / "cache" / "cache.db"
    with closing(sqlite3.connect(database)) as plain:
        plain.execute("UPDATE Cache SET value = 'a secret' WHERE key = ?", (key_of("a"),))
        plain.commit()
    done = run("verify")
    assert done.exit_code == 1
    (line,) = done.stdout.splitlines()
    assert line == f"{database}: key {key_of('a')}: no entry that tierflow wrote"
    assert run("verify", "--json").exit_code == 1
    assert found("verify")["faults"] == [line]


def test_verify_names_damaged_questions(filled: Path) -> None:
    ask(filled, "a", "a secret")
    assert run("verify").exit_code == 0
    database = filled / ".tierflow" / "similar.db"
    with closing(sqlite3.connect(database)) as plain:
        plain.execute("UPDATE questions_v1 SET value = 'x' WHERE id = 2")
        plain.commit()
    done = run("verify")
    line = f"{database}: question 2 of p: its checksum does not fit"
    assert (done.exit_code, done.stdout) == (1, f"{line}\n")
    assert found("verify")["faults"] == [line]


def test_verify_names_a_file_of_questions_that_is_none(filled: Path) -> None:
    database = filled / ".tierflow" / "similar.db"
    database.write_text("no database" * 99)
    done = run("verify")
    assert (done.exit_code, done.stdout) == (1, f"{database}: file is not a database\n")


# --- encryption


def test_an_encrypted_cache_is_read_with_its_keys_only(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project / "answers.jsonl"
    fill(project, ENTRIES)
    run("export", str(file))
    run("invalidate", "--all", "--yes")
    key = Fernet.generate_key().decode()
    monkeypatch.setenv("TIERFLOW_CACHE__ENCRYPTION_KEYS", key)
    assert found("import", str(file))["added"] == 4
    assert run("verify").exit_code == 0
    assert "a secret" in run("explain", key_of("a"), "--show-text").stdout
    monkeypatch.delenv("TIERFLOW_CACHE__ENCRYPTION_KEYS")
    done = run("verify")
    assert (done.exit_code, len(done.stdout.splitlines())) == (1, 4)
    assert key not in done.output


def test_a_wrong_encryption_key_is_refused_and_not_shown(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERFLOW_CACHE__ENCRYPTION_KEYS", "a-wrong-key")
    done = run("stats")
    assert isinstance(done.exception, ConfigError)
    assert "Fernet.generate_key()" in str(done.exception)
    assert "a-wrong-key" not in str(done.exception)


def test_ctrl_c_during_an_export_leaves_no_file(project: Path) -> None:
    fill(project, {key_of(str(n)): entry_of("x" * 1000, ttl_s=DAY_S, at=NOW) for n in range(50)})
    # Ctrl-C comes when the fifth entry was written.
    script = (
        "import os, signal, tierflow.caching.transfer as transfer, tierflow.cli.cache as cli\n"
        "def export(store, file, *, on_entry):\n"
        "    left = iter(range(5))\n"
        "    stop = lambda: next(left, None) is None and os.kill(os.getpid(), signal.SIGINT)\n"
        "    return transfer.export_entries(store, file, on_entry=stop)\n"
        "cli.export_entries = export\n"
        "cli.cache(['export', 'answers.jsonl.gz'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "Aborted" in done.stderr
    assert [path.name for path in project.iterdir()] == [".tierflow"]
