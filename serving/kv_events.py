"""KV events: which blocks an engine's prefix cache holds, as it tells over ZeroMQ. Values only.

vLLM publishes three frames: a topic, an 8-byte big-endian sequence number, and msgpack of
`[time, [events], data-parallel rank]`. Events are arrays (until 0.19 or so) or maps; both are
read. Source: vllm/distributed/kv_events.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from ..errors import EngineUnreadableError

EngineHash: TypeAlias = int | bytes
"""A block's hash as its engine makes it. It says nothing outside of that one engine's process."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Blocks that follow each other in one request, and are held from now on.

    `parent`: of the first, None at a request's begin. `token_ids`: of all, `block_size` a block.
    `salts`: by block, what its hash covers beside its tokens (LoRA, pictures, a salt); mostly "".
    """

    hashes: tuple[EngineHash, ...]
    parent: EngineHash | None
    token_ids: tuple[int, ...]
    block_size: int
    salts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Removed:
    """Blocks that are held no longer."""

    hashes: tuple[EngineHash, ...]


@dataclass(frozen=True, slots=True)
class Cleared:
    """Nothing is held any more: the engine was told so, or started anew."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Batch `came` arrived where `expected` was due, so it is not known what is held."""

    expected: int
    came: int


KvEvent: TypeAlias = Stored | Removed | Cleared | Gap

_STORED = ("block_hashes", "parent_block_hash", "token_ids", "block_size", "lora_id", "medium")
_MORE_STORED = ("lora_name", "extra_keys", "group_idx")
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "BlockStored": (*_STORED, *_MORE_STORED),
    "BlockRemoved": ("block_hashes", "medium", "group_idx"),
    "AllBlocksCleared": (),
}
"""What stands where in an event that is an array, after its kind."""


def events_in(payload: bytes) -> tuple[KvEvent, ...]:
    """Return the events of one batch. Raises EngineUnreadableError, ImportError without msgspec."""
    try:
        import msgspec  # noqa: PLC0415  # the extra's
    except ImportError as exc:
        raise ImportError(NEEDED) from exc
    try:
        batch: Any = msgspec.msgpack.decode(payload)
        found = [_event(each) for each in _listed(batch)]
    except (msgspec.DecodeError, LookupError, TypeError, ValueError) as exc:
        raise EngineUnreadableError(
            f"A batch of KV events cannot be read ({type(exc).__name__}). Is the endpoint vLLM's "
            "--kv-events-config endpoint, with the publisher zmq?"
        ) from exc
    return tuple(each for each in found if each is not None)


NEEDED = 'KV events need pyzmq and msgspec: pip install "tierflow[serving]"'


def _listed(batch: Any) -> list[Any]:
    """Return a batch's events. Raises LookupError or TypeError where there are none."""
    if isinstance(batch, dict):
        return _list(cast("dict[str, Any]", batch)["events"])
    return _list(_list(batch)[1])


def _list(told: Any) -> list[Any]:
    # Of a text the parts would be letters.
    if told.__class__ is not list:
        raise TypeError(f"{told.__class__.__name__} is no list")
    found: list[Any] = told
    return found


def _event(told: Any) -> KvEvent | None:
    if isinstance(told, dict):
        given = cast("dict[str, Any]", told)
        kind = str(given["type"])
    else:
        kind, *values = _list(told)
        given = dict(zip(_FIELDS.get(kind, ()), values, strict=False))
    # Blocks in the host's memory or on a disk must be loaded first, and those of further groups
    # (sliding windows) stand beside the first group's.
    if given.get("medium") not in {None, "GPU"} or given.get("group_idx") not in {None, 0}:
        return None
    match kind:
        case "BlockStored":
            return _stored(given)
        case "BlockRemoved":
            return Removed(tuple(given["block_hashes"]))
        case "AllBlocksCleared":
            return Cleared()
        case _:
            # What later engines add is no reason to forget what is known.
            return None


def _stored(given: Mapping[str, Any]) -> Stored:
    hashes: tuple[EngineHash, ...] = tuple(given["block_hashes"])
    token_ids, size = tuple(map(int, given["token_ids"])), int(given["block_size"])
    if size < 1 or len(token_ids) != size * len(hashes):
        raise ValueError("tokens and blocks do not fit")
    whole = given.get("lora_name") or given.get("lora_id")
    extra: Sequence[Any] = given.get("extra_keys") or [whole and [whole]] * len(hashes)
    salts = tuple("" if not keys else repr(list(keys)) for keys in extra)
    return Stored(hashes, given.get("parent_block_hash"), token_ids, size, salts)


class Sequenced:
    """Puts the batches of one engine in order. `replay`: fetches the batches from a number on."""

    def __init__(self, replay: Callable[[int], Sequence[tuple[int, bytes]]] | None = None) -> None:
        self._replay = replay
        self._expected = 0

    def take(self, number: int, payload: bytes) -> tuple[KvEvent, ...]:
        """Return what a batch tells, and before that what was missed.

        A number below the expected one: the engine started anew. Raises EngineUnreadableError; then
        a gap follows.
        """
        told: list[KvEvent] = []
        if number < self._expected:
            told.append(Cleared())
            self._expected = 0
        if number > self._expected:
            told += self._missed(number)
        events = events_in(payload)
        self._expected = number + 1
        return (*told, *events)

    def _missed(self, number: int) -> list[KvEvent]:
        batches = dict(self._replay(self._expected)) if self._replay is not None else {}
        wanted = range(self._expected, number)
        # A buffer that is too short does not help: what came before may be removed by now.
        if not all(each in batches for each in wanted):
            return [Gap(self._expected, number)]
        return [event for each in wanted for event in events_in(batches[each])]
