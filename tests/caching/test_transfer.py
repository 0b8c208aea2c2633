"""Transfer: what leaves one store as lines arrives in another as it was."""

import gzip
import json
import math
import stat
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.caching.answers import DAY_S, NOW, entry_of, key_of
from tierflow.caching import AnswerStore
from tierflow.caching.memory_store import MemoryStore
from tierflow.caching.store import Failure
from tierflow.caching.transfer import Imported, export_entries, import_entries
from tierflow.errors import StoreError

ENTRIES = {
    key_of("a"): entry_of("Grüße\n", "triage", tenant="acme", tags=("x", "y"), at=NOW - 50),
    key_of("b"): entry_of(Failure("RejectedError", "no"), "reply", prefix="abc", at=NOW - 20),
    key_of("c"): entry_of("z" * 10_000, at=NOW),
}


@pytest.fixture
def filled(answer_store: AnswerStore) -> AnswerStore:
    for key, entry in ENTRIES.items():
        answer_store.put(key, entry)
    return answer_store


@pytest.fixture(params=["answers.jsonl", "answers.jsonl.gz"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    name: str = request.param
    return tmp_path / name


def memory() -> MemoryStore:
    return MemoryStore(clock=lambda: NOW)


def test_all_that_is_exported_is_imported_with_its_labels_and_times(
    filled: AnswerStore, file: Path
) -> None:
    assert export_entries(filled, file) == 3
    other = memory()
    assert import_entries(other, file, now=NOW) == Imported(added=3)
    assert dict(other.entries()) == ENTRIES


def test_an_export_is_its_owners_alone_and_the_same_each_time(
    filled: AnswerStore, file: Path
) -> None:
    export_entries(filled, file)
    first = file.read_bytes()
    export_entries(filled, file)
    assert file.read_bytes() == first
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (first[:2] == b"\x1f\x8b") == (file.suffix == ".gz")


def test_an_export_that_is_stopped_leaves_nothing_and_what_was_there_before(
    filled: AnswerStore, file: Path
) -> None:
    before = b"an older export"
    file.write_bytes(before)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_entries(filled, file, on_entry=stop)
    assert file.read_bytes() == before
    assert [path for path in file.parent.iterdir() if file.name in path.name] == [file]


def test_entries_that_are_there_stay_unless_they_are_to_be_replaced(
    filled: AnswerStore, file: Path
) -> None:
    export_entries(filled, file)
    other = memory()
    newer = entry_of("newer")
    other.put(key_of("a"), newer)
    assert import_entries(other, file, now=NOW) == Imported(added=2, kept=1)
    assert other.get(key_of("a")) == newer
    assert import_entries(other, file, now=NOW, replace=True) == Imported(replaced=3)
    assert dict(other.entries()) == ENTRIES


def test_what_has_expired_since_is_left_out(filled: AnswerStore, file: Path) -> None:
    export_entries(filled, file)
    later = NOW + 1000 * DAY_S - 30
    other = MemoryStore(clock=lambda: later)
    assert import_entries(other, file, now=later) == Imported(added=2, expired=1)


def line(**changed: Any) -> str:
    whole = {"key": key_of("d"), "entry": asdict(entry_of("fine"))}
    whole["entry"] |= changed.pop("entry", {})
    return json.dumps(whole | changed)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("no JSON, but a secret", "Invalid JSON"),
        ("", "Invalid JSON"),
        ("[]", "object"),
        ("{}", "key: Field required"),
        (line(key="../../etc"), "key: String should match"),
        (line(key=key_of("d").upper()), "key: String should match"),
        (line(entry={"content": {"text": "a secret"}}), "entry.content"),
        (line(entry={"labels": "secret"}), "entry.labels"),
        (line(entry={"stored_at": "secret"}), "entry.stored_at"),
        ('{"key": "\udcff"}'.encode(errors="surrogateescape"), "Invalid JSON"),
    ],
)
def test_a_bad_line_is_counted_and_named_and_the_others_are_imported(
    file: Path, bad: str | bytes, why: str
) -> None:
    lines = b"\n".join(
        each if isinstance(each, bytes) else each.encode() for each in (line(), bad, line(), b"")
    )
    file.write_bytes(gzip.compress(lines) if file.suffix == ".gz" else lines)
    said: list[str] = []
    store = memory()
    done = import_entries(store, file, now=NOW, on_bad=said.append)
    assert done == Imported(added=1, kept=1, bad=1)
    assert store.get(key_of("d")) == entry_of("fine")
    (told,) = said
    assert told.startswith(f"{file}, line 2: ")
    assert why in told
    assert "secret" not in told


@pytest.mark.parametrize("expires_at", [math.nan, math.inf, -math.inf])
def test_an_entry_that_would_never_expire_is_not_imported(
    file: Path, expires_at: float, answer_store: AnswerStore
) -> None:
    text = line(entry={"expires_at": expires_at}).encode()
    file.write_bytes(gzip.compress(text) if file.suffix == ".gz" else text)
    assert import_entries(answer_store, file, now=NOW) == Imported(expired=1)
    assert answer_store.get(key_of("d")) is None


def test_a_file_that_ends_too_early_is_named_and_what_came_before_stays(
    filled: AnswerStore, tmp_path: Path
) -> None:
    file = tmp_path / "answers.jsonl.gz"
    export_entries(filled, file)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(StoreError, match=r"answers\.jsonl\.gz cannot be read"):
        import_entries(memory(), file, now=NOW)


def test_a_place_that_cannot_be_written_is_named(filled: AnswerStore, tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "answers.jsonl"
    with pytest.raises(StoreError, match="nowhere"):
        export_entries(filled, file)
