"""Cassettes: requests of one's own steps, kept only where that was asked for, and read again."""

import logging
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Cascade, Prompt, model_judge
from tierflow.cassette import Cassette, CassetteSettings, RecordedRequest, read_cassette
from tierflow.errors import ConfigError
from tierflow.request import Request, Usage
from tierflow.tasks import hands


def asked(text: str) -> Request:
    return Request(step="triage", messages=({"role": "user", "content": text},))


def test_nothing_is_recorded_unless_a_path_is_set(
    catalogue: Catalogue, project: Path, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say("yes"))
    Way(is_async=False).step(plain)("my secret")
    kept = [path for path in project.rglob("*") if path.is_file()]
    assert not [path for path in kept if b"my secret" in path.read_bytes()]


@both_ways
def test_a_step_records_its_request_as_the_model_was_asked(
    way: Way, catalogue: Catalogue, project: Path, provider: FakeProvider
) -> None:
    with catalogue().open("a") as file:
        file.write('\n[cassette]\npath = "kept/requests.jsonl"\n')
    provider.script("fast", Say("yes"))

    def ask(text: str) -> Prompt:
        return Prompt(prefix="Say yes.", ask=text, template="yes")

    step = way.step(ask)
    step("really?")
    step("really?")
    path = project / "kept" / "requests.jsonl"
    (row,) = read_cassette(path)
    (call,) = provider.calls
    assert list(row.messages) == call.body["messages"]
    assert (row.step, row.kind, row.options) == ("ask", "yes", {"temperature": 0.0})
    assert (row.input_tokens > 0, row.output_tokens > 0) == (True, True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_rows_are_written_off_the_event_loop(
    catalogue: Catalogue,
    project: Path,
    provider: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with catalogue().open("a") as file:
        file.write('\n[cassette]\npath = "requests.jsonl"\n')
    provider.script("fast", Say("yes"))
    writers: list[int] = []
    add = hands().cassette.add

    def noting(request: Request, options: Mapping[str, Any], usage: Usage) -> None:
        writers.append(threading.get_ident())
        add(request, options, usage)

    monkeypatch.setattr(hands().cassette, "add", noting)
    Way(is_async=True).step(plain)("really?")
    assert len(list(read_cassette(project / "requests.jsonl"))) == len(writers) == 1
    assert threading.get_ident() not in writers


def test_what_a_judge_is_asked_is_no_request_of_the_step(
    catalogue: Catalogue, project: Path, provider: FakeProvider
) -> None:
    with catalogue().open("a") as file:
        file.write('\n[cassette]\npath = "requests.jsonl"\n')
    provider.script("fast", Say("perhaps"))
    provider.script("standard", Say({"verdict": "wrong", "reason": "no"}))
    provider.script("frontier", Say("yes"))
    judge = model_judge("standard", "Is it yes?")
    step = Way(is_async=False).step(
        plain, cascade=Cascade(to="frontier", judge=judge, max_loss=None)
    )
    step("really?")
    rows = list(read_cassette(project / "requests.jsonl"))
    assert {row.step for row in rows} == {"plain"}
    assert len(rows) == len([call for call in provider.calls if call.body["model"] != "standard"])


def test_a_share_is_drawn_by_content(tmp_path: Path) -> None:
    cassette = Cassette(CassetteSettings(path=tmp_path / "rows.jsonl", share=0.3))
    for number in range(400):
        cassette.add(asked(f"{number % 200}"), {}, Usage(5, 5))
    rows = list(read_cassette(tmp_path / "rows.jsonl"))
    assert 40 <= len({row.messages[0]["content"] for row in rows}) <= 80
    assert len(rows) % 2 == 0


def test_a_full_file_grows_no_further_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rows.jsonl"
    cassette = Cassette(CassetteSettings(path=path, limit_mb=1))
    for _ in range(30):
        cassette.add(asked("x" * 100_000), {}, Usage(5, 5))
    assert path.stat().st_size <= 2**20
    assert len(list(read_cassette(path))) == 10
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        f"{path} has 1 MB, and nothing more is recorded."
    ]


def test_a_path_that_cannot_be_written_costs_no_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    cassette = Cassette(CassetteSettings(path=tmp_path / "file" / "rows.jsonl"))
    cassette.add(asked("a"), {}, Usage(5, 5))
    cassette.add(asked("b"), {}, Usage(5, 5))
    assert len(caplog.records) == 1
    assert "are not recorded" in caplog.text


def test_a_damaged_line_is_named_without_its_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = RecordedRequest(
        step="a", messages=({"role": "user", "content": "b"},), input_tokens=1, output_tokens=1
    )
    path.write_text(row.model_dump_json() + '\n\n{"step": "my secret"}\n')
    with pytest.raises(ConfigError, match="line 3 is no recorded request") as caught:
        list(read_cassette(path))
    assert "my secret" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"\[cassette\] path"):
        list(read_cassette(tmp_path / "none.jsonl"))
