"""Transfer: answers as JSON lines, out of a store and into one. Decides nothing about serving.

A line is `{"key": "<64 hex>", "entry": {...}}`. It is readable: the file is its owner's alone.
"""

import gzip
import math
import os
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Annotated

from pydantic import Field, TypeAdapter, ValidationError

from ..errors import StoreError
from .keys import Key
from .store import AnswerStore, Entry


@dataclass(frozen=True, slots=True)
class _Line:
    key: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    entry: Entry


@dataclass(slots=True)
class Imported:
    """What became of the lines of a file. `bad`: lines that are no entry."""

    added: int = 0
    replaced: int = 0
    kept: int = 0
    expired: int = 0
    bad: int = 0


_LINE = TypeAdapter(_Line)

_GZIP = b"\x1f\x8b"
"""How every gzipped file begins, whatever its name."""


def export_entries(
    store: AnswerStore, file: Path, *, on_entry: Callable[[], object] = lambda: None
) -> int:
    """Write all that has not expired into `file`, gzipped if it ends in .gz; return how many.

    The file is there when it is whole, and never before; its mode is 0600. Raises StoreError.
    """
    count = 0
    with _told(file), _appearing_whole(file) as out:
        for key, entry in store.entries():
            out.write(_LINE.dump_json(_Line(key, entry)) + b"\n")
            count += 1
            on_entry()
    return count


def import_entries(
    store: AnswerStore,
    file: Path,
    *,
    now: float,
    replace: bool = False,
    on_line: Callable[[], object] = lambda: None,
    on_bad: Callable[[str], object] = lambda _: None,
) -> Imported:
    """Put the entries of `file` into a store, with the time to live that they have left.

    `replace`: also where the store has an entry already. `on_bad` is told which line is no entry,
    and why. Raises StoreError for a file that cannot be read to its end; what came before stays.
    """
    done = Imported()
    with _told(file):
        for number, line in enumerate(_lines(file), 1):
            on_line()
            try:
                read = _LINE.validate_json(line)
            except ValidationError as exc:
                done.bad += 1
                on_bad(f"{file}, line {number}: {_why(exc)}")
                continue
            _import(store, Key(read.key), read.entry, done, now=now, replace=replace)
    return done


def _import(
    store: AnswerStore, key: Key, entry: Entry, done: Imported, *, now: float, replace: bool
) -> None:
    if not now < entry.expires_at < math.inf:
        done.expired += 1
        return
    is_there = store.get(key) is not None
    if is_there and not replace:
        done.kept += 1
        return
    store.put(key, entry)
    if is_there:
        done.replaced += 1
    else:
        done.added += 1


def _why(exc: ValidationError) -> str:
    # What stood there stays out of it: it may be an answer.
    first = exc.errors(include_input=False, include_context=False, include_url=False)[0]
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))


def _lines(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        is_packed = opened.read(2) == _GZIP
    with gzip.open(file) if is_packed else file.open("rb") as lines:
        yield from lines


@contextmanager
def _appearing_whole(file: Path) -> Generator[IO[bytes] | gzip.GzipFile]:
    with NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as raw:
        try:
            if file.suffix == ".gz":
                with gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
                    yield packed
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
            Path(raw.name).replace(file)
        except BaseException:
            Path(raw.name).unlink(missing_ok=True)
            raise


@contextmanager
def _told(file: Path) -> Generator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as exc:
        raise StoreError(
            f"{file} cannot be read or written: {exc}. Correct the path, make room for it, or take "
            "a file that is whole."
        ) from exc
