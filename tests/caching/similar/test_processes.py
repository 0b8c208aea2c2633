"""Processes: several write one similar store while another reads what changes; and forks."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.caching.similar.questions import live, tail
from tierflow.caching.similar.postgres_store import PostgresSimilarStore
from tierflow.caching.similar.sqlite_store import SqliteSimilarStore
from tierflow.caching.similar.store import SimilarStore

ROOT = Path(__file__).resolve().parents[3]
EACH = 120

BEGIN = """
import os, sys, time
from pathlib import Path
from pydantic import SecretStr
from tests.caching.similar.questions import live, question, tail
from tierflow.caching.similar.postgres_store import PostgresSimilarStore
from tierflow.caching.similar.sqlite_store import SqliteSimilarStore

place, me, each = sys.argv[1], sys.argv[2], int(sys.argv[3])
is_url = place.startswith("postgresql")
store = PostgresSimilarStore(SecretStr(place)) if is_url else SqliteSimilarStore(Path(place))
print("ready", flush=True)
sys.stdin.readline()
"""
WRITE = """
for number in range(each):
    id_ = store.add(question(f"{me} {number}"))
    store.add(question(f"{me} {number}", "another partition"))
    if number % 3 == 0:
        assert store.remove(id_)
store.close()
"""
READ = """
there, gone, after, lines = {}, set(), 0, 0
until = time.monotonic() + 100
while len(there) + len(gone) < 2 * each or len(gone) < 2 * len(range(0, each, 3)):
    assert time.monotonic() < until, (len(there), len(gone))
    for change in store.changes("p", after, limit=5):
        assert change.seq > after
        after = change.seq
        lines += 1
        if change.asked is None:
            there.pop(change.id, None)
            gone.add(change.id)
        else:
            assert change.id not in there
            there[change.id] = change.asked.ask
assert there == live(tail(store, "p"))
assert set(there.values()) == {f"{w} {n}" for w in "ab" for n in range(each) if n % 3}
print(lines)
store.close()
"""
FORK = """
first = store.add(question("before"))
version = store.version()
child = os.fork()
who = "child" if child == 0 else "parent"
for number in range(20):
    store.add(question(f"{who} {number}"))
assert store.version() != version
assert "before" in live(tail(store, "p")).values()
store.close()
if child == 0:
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
store.add(question("after"))
store.close()
"""


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A file's path, or a URL."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return str(tmp_path / "home" / "similar.db")


@pytest.fixture
def store(place: str) -> Iterator[SimilarStore]:
    opened: SimilarStore = (
        PostgresSimilarStore(SecretStr(place))
        if place.startswith("postgresql")
        else SqliteSimilarStore(Path(place))
    )
    with closing(opened):
        yield opened


def run_together(place: str, works: dict[str, str]) -> list[str]:
    """Run each work in a process of its own, all at once; return what they wrote to stderr."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", BEGIN + work, place, name, str(EACH)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, work in works.items()
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [process.returncode for process in processes] == [0] * len(works), said
    return said


def test_a_reader_misses_nothing_that_two_processes_write(place: str, store: SimilarStore) -> None:
    assert run_together(place, {"a": WRITE, "b": WRITE, "reader": READ}) == [""] * 3
    kept = 2 * (EACH - len(range(0, EACH, 3)))
    assert store.partitions() == {"another partition": 2 * EACH, "p": kept}


def test_first_openings_at_once_do_not_hinder_each_other(place: str) -> None:
    look = 'assert list(store.changes("p", 0)) == []\nstore.close()'
    assert run_together(place, dict.fromkeys("abc", look)) == [""] * 3


def test_a_forked_process_has_connections_of_its_own(place: str, store: SimilarStore) -> None:
    assert run_together(place, {"parent": FORK}) == [""]
    kept = live(tail(store, "p"))
    assert len(kept) == 42
    assert len(set(kept.values())) == 42
