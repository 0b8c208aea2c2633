"""Processes: several write one similar store while another reads what changes; and forks."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.caching.forks import Forks, opened
from tests.caching.similar.questions import live, tail
from tierflow.caching.similar.store import SimilarStore

EACH = 120

BEGIN = """
import os, time, warnings
from tests.caching.similar.questions import live, question, tail
warnings.simplefilter("error")
store = opened(place)
begin()
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
there, gone, after = {}, set(), 0
until = time.monotonic() + 100
while len(there) + len(gone) < 2 * each or len(gone) < 2 * len(range(0, each, 3)):
    assert time.monotonic() < until, (len(there), len(gone))
    for change in store.changes("p", after, limit=5):
        assert change.seq > after
        after = change.seq
        if change.asked is None:
            there.pop(change.id, None)
            gone.add(change.id)
        else:
            assert change.id not in there
            there[change.id] = change.asked.ask
assert there == live(tail(store, "p"))
assert set(there.values()) == {f"{w} {n}" for w in "ab" for n in range(each) if n % 3}
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
    os._exit(0)
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
    with closing(opened(place)) as opened_here:
        yield opened_here


def run_together(forks: Forks, folder: Path, place: str, works: dict[str, str]) -> list[str]:
    """Run each work in a process of its own, all at once; return what they wrote to stderr."""
    here = f"place, each = {place!r}, {EACH}"
    return forks.run(folder / "any", f"{here}\n{BEGIN}\nexec({works!r}[me])", [*works])


def test_a_reader_misses_nothing_that_two_processes_write(
    place: str, store: SimilarStore, forks: Forks, tmp_path: Path
) -> None:
    works = {"a": WRITE, "b": WRITE, "reader": READ}
    assert run_together(forks, tmp_path, place, works) == [""] * 3
    kept = 2 * (EACH - len(range(0, EACH, 3)))
    assert store.partitions() == {"another partition": 2 * EACH, "p": kept}


def test_first_openings_at_once_do_not_hinder_each_other(
    place: str, forks: Forks, tmp_path: Path
) -> None:
    look = 'assert list(store.changes("p", 0)) == []\nstore.close()'
    assert run_together(forks, tmp_path, place, dict.fromkeys("abc", look)) == [""] * 3


def test_a_forked_process_has_connections_of_its_own(
    place: str, store: SimilarStore, forks: Forks, tmp_path: Path
) -> None:
    assert run_together(forks, tmp_path, place, {"parent": FORK}) == [""]
    kept = live(tail(store, "p"))
    assert len(kept) == 42
    assert len(set(kept.values())) == 42
