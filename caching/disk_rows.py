"""Disk rows: what stands in a row of the exact store on disk. Reads and writes no file.

The column `value` holds the codec's bytes. diskcache's column `tag` holds the labels as JSON once
more, to be found by; it must say the same, or else the entry could never be invalidated.
"""

import json
from functools import lru_cache

from pydantic import TypeAdapter, ValidationError

from .codec import Codec, UnreadableError
from .keys import Key
from .store import Entry, Failure, Labels, Selection

_LABELS = TypeAdapter(Labels)
_FAILURE = b',"failure":true}'


def read_row(codec: Codec, key: Key, tag: object, kept: object) -> Entry:
    """Return the entry of a row. Raises UnreadableError."""
    entry = codec.decode(key, kept)
    if tag != tag_of(entry):
        raise UnreadableError("its labels are not those it is filed under", damaged=True)
    return entry


def tag_of(entry: Entry) -> bytes:
    """Return the labels that an entry is filed under, as JSON."""
    return _tag_of(entry.labels, is_failure=isinstance(entry.content, Failure))


@lru_cache(maxsize=1024)
def _tag_of(labels: Labels, *, is_failure: bool) -> bytes:
    told = json.loads(_LABELS.dump_json(labels)) | ({"failure": True} if is_failure else {})
    return json.dumps(told, separators=(",", ":")).encode()


@lru_cache(maxsize=1024)
def read_tag(tag: bytes | None) -> Labels | None:
    """Return the labels that a row is filed under, None if nobody can read them."""
    try:
        return _LABELS.validate_json(tag or b"")
    except ValidationError:
        return None


def tells_failure(tag: bytes) -> bool:
    """Tell whether what is filed under these labels is a failure."""
    return tag.endswith(_FAILURE)


def is_meant(which: Selection, tag: bytes | None) -> bool:
    """Tell whether a selection means what is filed under these labels."""
    labels = read_tag(tag)
    # What nobody can read goes when all goes.
    return which == Selection() if labels is None else which.holds(labels)
