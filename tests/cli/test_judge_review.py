"""`tierflow judge review` and `mark`: people say what is right, one answer after the other."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import pytest
from click.testing import CliRunner, Result

from tests.routing.gate.labels import NOW, a_calibration
from tierflow.cli import cli
from tierflow.errors import ReviewError
from tierflow.routing.gate import Calibrations, Reviews, open_calibrations, open_reviews
from tierflow.settings import settings

GATE = "sort@fast"
PROMPT = "right? [y]es, [n]o, [s]kip, [q]uit: "


@pytest.fixture(params=["sqlite", "postgres"], autouse=True)
def kept_in(request: pytest.FixtureRequest, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep everything in files, or on a server."""
    if request.param == "postgres":
        monkeypatch.setenv("TIERFLOW_STORE_URL", request.getfixturevalue("postgres_url"))


@pytest.fixture
def queue(kept_in: None) -> Iterator[Reviews]:
    """Three answers wait, the newest is of ticket 3, and one of another gate."""
    with closing(open_reviews(settings())) as opened:
        opened.put("other@fast", stratum="all", at=NOW, ask="another", answer="thing")
        for number in range(1, 4):
            opened.put(
                GATE,
                stratum="easy",
                at=NOW + number,
                ask=f"ticket {number}\nsecond line",
                answer=f'{{"intent":"refund {number}"}}',
            )
        yield opened


@pytest.fixture
def store(queue: Reviews) -> Iterator[Calibrations]:
    with closing(open_calibrations(settings())) as opened:
        opened.add(a_calibration(GATE, at=NOW - 10))
        yield opened


def run(*words: str, keys: str = "") -> Result:
    return CliRunner().invoke(cli, ["judge", *words], input=keys)


def audits(store: Calibrations) -> list[tuple[float, bool]]:
    return [(each.at - NOW, each.right) for each in store.audits(GATE)]


def read_to_prompt(output: IO[str]) -> None:
    seen = ""
    while not seen.endswith(PROMPT):
        letter = output.read(1)
        assert letter, seen
        seen += letter


def test_what_is_said_of_each_counts(queue: Reviews, store: Calibrations) -> None:
    done = run("review", GATE, keys="y\nn\nyes\n")

    assert done.exit_code == 0, done.output
    assert audits(store) == [(3, True), (2, False), (1, True)]
    assert store.audits("other@fast") == []
    assert done.stdout.endswith("3 marked, 0 open.\n")


def test_each_is_shown_with_its_gate_time_question_and_answer(queue: Reviews) -> None:
    shown = run("review", GATE, keys="q\n").stdout
    newest = queue.waiting(GATE)[0]
    assert shown.startswith(
        f"sort@fast, easy, accepted 2027-01-15T08:00:03+00:00 (review {newest.id})\n"
        "Asked:\n    ticket 3\n    second line\n"
        'Answered:\n    {"intent":"refund 3"}\n'
    )
    assert PROMPT in shown


def test_a_skipped_one_stays_and_quitting_leaves_the_rest(
    queue: Reviews, store: Calibrations
) -> None:
    done = run("review", GATE, keys="s\nn\nq\n")

    assert audits(store) == [(2, False)]
    assert done.stdout.endswith("1 marked, 2 open.\n")
    assert [each.at - NOW for each in queue.waiting(GATE)] == [3, 1]


def test_without_a_gate_all_are_shown(queue: Reviews) -> None:
    done = run("review", keys="s\ns\ns\ny\n")
    assert done.stdout.endswith("1 marked, 3 open.\n")
    assert queue.counts() == {GATE: 3}


def test_a_key_that_means_nothing_is_asked_again(queue: Reviews, store: Calibrations) -> None:
    done = run("review", GATE, keys="x\n\nY\nQ\n")
    assert audits(store) == [(3, True)]
    assert done.stdout.count(PROMPT) == 4


def test_the_end_of_the_input_loses_nothing(queue: Reviews, store: Calibrations) -> None:
    done = run("review", GATE, keys="y\n")
    assert done.exit_code == 0
    assert audits(store) == [(3, True)]
    assert done.stdout.endswith("1 marked, 2 open.\n")


def test_ctrl_c_loses_nothing(queue: Reviews, store: Calibrations) -> None:
    command = [sys.executable, "-m", "tierflow.cli", "judge", "review", GATE]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        read_to_prompt(process.stdout)
        process.stdin.write("n\n")
        process.stdin.flush()
        read_to_prompt(process.stdout)
        process.send_signal(signal.SIGINT)
        # It may come just before the process waits for a key, and is taken when that ends.
        process.stdin.close()
        assert "1 marked, 2 open." in process.stdout.read()
        assert process.wait() == 0
    assert audits(store) == [(3, False)]


def test_one_that_another_person_marked_meanwhile_is_said_and_passed(
    queue: Reviews, store: Calibrations
) -> None:
    class Keys(BytesIO):
        """Bob is faster than whoever looks at the first one."""

        def read1(self, size: int | None = -1, /) -> bytes:
            for each in queue.waiting(GATE)[:1]:
                queue.say(each.id, right=False, who="bob", at=NOW)
            return super().read1(size)

    done = CliRunner().invoke(cli, ["judge", "review", GATE], input=Keys(b"y\ny\nq\n"))

    assert "was marked wrong by bob" in done.stdout
    assert done.stdout.endswith("1 marked, 1 open.\n")
    assert audits(store) == [(3, False), (2, True)]


def test_an_alarm_is_said_once(queue: Reviews, store: Calibrations) -> None:
    while not store.audit(GATE, right=False, at=NOW):
        pass
    done = run("review", GATE, keys="y\ny\n")
    assert done.stdout.count("sort@fast were wrong: it is closed until it is calibrated anew") == 1
    row = json.loads(run("status", GATE, "--json").stdout)[0]
    assert (row["state"], row["open_reviews"]) == ("closed", 1)


def test_nothing_of_a_text_is_taken_for_a_command_by_the_terminal(queue: Reviews) -> None:
    queue.put(GATE, stratum="all", at=NOW, ask="\x1b[2J\r\ud800é\u202e\u00a0", answer="\a")
    done = run("review", GATE, keys="q\n")
    assert "    \\x1b[2J\\r\\ud800é\\u202e\u00a0\n" in done.stdout
    assert "    \\x07\n" in done.stdout


def test_texts_that_cannot_be_read_are_counted_and_passed(
    queue: Reviews, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptography.fernet import Fernet

    monkeypatch.setenv("TIERFLOW_CACHE__ENCRYPTION_KEYS", Fernet.generate_key().decode())
    with closing(open_reviews(settings())) as sealing:
        sealing.put(GATE, stratum="all", at=NOW, ask="a", answer="b")
    monkeypatch.delenv("TIERFLOW_CACHE__ENCRYPTION_KEYS")
    shown = run("review", GATE, keys="q\n").stdout
    assert "ticket 3" in shown
    assert "1 cannot be read" in shown
    assert "cache.encryption_keys" in shown


def test_what_waits_is_listed_as_json_without_a_question(queue: Reviews) -> None:
    listed: list[dict[str, Any]] = json.loads(run("review", GATE, "--json").stdout)
    assert [each["ask"] for each in listed] == [f"ticket {n}\nsecond line" for n in (3, 2, 1)]
    first = listed[0]
    assert first.keys() == {"id", "gate", "stratum", "at", "ask", "answer"}
    assert (first["gate"], first["stratum"]) == (GATE, "easy")
    assert datetime.fromisoformat(first["at"]).timestamp() == NOW + 3
    assert len(json.loads(run("review", "--json").stdout)) == 4
    assert json.loads(run("review", "none@fast", "--json").stdout) == []


def test_nothing_to_review_is_said(kept_in: None) -> None:
    done = run("review")
    assert (done.exit_code, done.stdout) == (0, "0 marked, 0 open.\n")


def test_a_script_marks_by_id(queue: Reviews, store: Calibrations) -> None:
    newest, second, _ = (each.id for each in queue.waiting(GATE))
    done = run("mark", str(newest), "wrong")
    assert done.stdout == f"Review {newest} of sort@fast is marked wrong.\n"
    found = json.loads(run("mark", str(second), "right", "--json").stdout)
    assert found == {"id": second, "gate": GATE, "right": True, "alarm": False}
    assert audits(store) == [(3, False), (2, True)]


def test_a_script_that_comes_second_fails(queue: Reviews, store: Calibrations) -> None:
    newest = str(queue.waiting(GATE)[0].id)
    run("mark", newest, "wrong")
    done = run("mark", newest, "right")
    assert isinstance(done.exception, ReviewError)
    assert f"Review {newest} was marked wrong by " in str(done.exception)
    assert audits(store) == [(3, False)]


@pytest.mark.parametrize("number", ["0", "x", "-1", "1" * 30])
def test_an_id_that_cannot_be_one_is_exit_code_2(number: str) -> None:
    assert run("mark", number, "right").exit_code == 2


def test_a_word_that_says_neither_is_exit_code_2(kept_in: None) -> None:
    assert run("mark", "1", "maybe").exit_code == 2
