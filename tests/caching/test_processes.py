"""Processes: several of them open, read and write one cache at the same time."""

import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.caching.answers import key_of, stored
from tierflow.caching.disk_store import DiskStore

ROOT = Path(__file__).resolve().parents[2]
DAY_S = 24 * 3600.0

# Says that it is ready, waits for the word to begin, then does the work that stands below it.
BEGIN = """
import sys
from pathlib import Path
from tests.caching.answers import key_of, stored
from tierflow.caching.disk_store import DiskStore

store = DiskStore(Path(sys.argv[1]), size_limit_mb=16)
me = sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
"""
OPEN = """
assert store.get(key_of("none")) is None
"""
WRITE_AND_READ = """
for number in range(60):
    store.put(key_of(f"{me} {number}"), stored([me, number]), step=me, ttl_s=1e6)
    mine = store.get(key_of(f"{me} {number}"))
    assert mine == stored([me, number]), mine
    theirs = store.get(key_of(f"{'ab'[me == 'a']} {number}"))
    assert theirs in (None, stored(["ab"[me == "a"], number])), theirs
"""


def run_together(folder: Path, work: str, names: Sequence[str]) -> list[str]:
    """Run `work` in a process for each name, all at once; return what they wrote to stderr."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", BEGIN + work, str(folder), name],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for name in names
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=120)[1] for process in processes]
        assert [process.returncode for process in processes] == [0] * len(names), said
        return said


def test_two_processes_write_and_read_one_cache(tmp_path: Path) -> None:
    assert run_together(tmp_path / "cache", WRITE_AND_READ, "ab") == ["", ""]
    store = DiskStore(tmp_path / "cache", size_limit_mb=16)
    assert store.stats().steps == {"a": 60, "b": 60}
    assert store.get(key_of("b 59")) == stored(["b", 59])
    store.close()


def test_first_openings_at_once_do_not_hinder_each_other(tmp_path: Path) -> None:
    assert run_together(tmp_path / "cache", OPEN, "abcd") == [""] * 4


def test_processes_that_find_a_damaged_cache_at_once_set_it_aside_once(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "cache.db").write_bytes(b"not a database at all" * 500)
    said = run_together(folder, WRITE_AND_READ, "ab")
    assert "".join(said).count("is damaged") == 1
    assert len(list(folder.glob("cache.db.damaged-*"))) == 1
    store = DiskStore(folder, size_limit_mb=16)
    store.put(key_of("after"), stored(1), step="after", ttl_s=DAY_S)
    assert store.stats().steps == {"a": 60, "after": 1, "b": 60}
    store.close()
