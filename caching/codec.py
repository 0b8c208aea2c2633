"""Codec: an entry as the bytes that are kept, checked and perhaps sealed. Opens no file.

`{"sum":"<16 hex>","entry":{...}}`, or `{"sum":"<16 hex>","sealed":"<token>"}`. The sum covers the
key too, so that neither a flipped bit nor a row under another's key is ever served.
"""

import hashlib

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from ..errors import StoreError
from ..sealing import Seal, WrongSealError
from .keys import Key
from .store import Entry

_ENTRY = TypeAdapter(Entry)
_SUM, _OPEN, _SEALED, _END = b'{"sum":"', b'","entry":', b'","sealed":"', b"}"
_SUM_AT, _BODY_AT = len(_SUM), len(_SUM) + 16


class UnreadableError(ValueError):
    """What is kept is no entry that may be served. The message quotes nothing of it.

    `damaged`: nobody can read it. Otherwise it is sealed with other keys, or not sealed though
    it should be, and may be right for another process.
    """

    def __init__(self, message: str, *, damaged: bool) -> None:
        super().__init__(message)
        self.damaged = damaged


def may_be_open(seal: Seal | None, *, is_open: bool) -> bool:
    """Tell whether a text is read as it is, or was sealed. Raises UnreadableError for neither."""
    if is_open and seal is not None:
        raise UnreadableError("not sealed, but cache.encryption_keys is set", damaged=False)
    return is_open


def unsealed(seal: Seal | None, key: str, text: str) -> str:
    """Return a text that was sealed as `key text`. Raises UnreadableError."""
    if seal is None:
        raise UnreadableError("sealed, but cache.encryption_keys is not set", damaged=False)
    try:
        whose, _, opened = seal.open(text).partition(" ")
    except WrongSealError:
        raise UnreadableError(
            "sealed with a key that is not in cache.encryption_keys", damaged=False
        ) from None
    if whose != key:
        raise UnreadableError("sealed for another key", damaged=True)
    return opened


class Codec:
    """Writes and reads entries. `seal`: encrypts them; None keeps them readable."""

    def __init__(self, seal: Seal | None = None) -> None:
        self._seal = seal

    def encode(self, key: Key, entry: Entry) -> bytes:
        """Return the bytes to keep, ASCII or UTF-8. Raises StoreError for text that has none."""
        try:
            body = _ENTRY.dump_json(entry)
        except PydanticSerializationError:
            # Models do send lone surrogates. The cause quotes the text.
            raise StoreError(
                f"An answer of step {entry.labels.step!r} is not kept, because it is no valid "
                "Unicode. The step is asked anew next time."
            ) from None
        if self._seal is None:
            body = _OPEN + body
        else:
            # With its key inside, it is of no use under another.
            body = _SEALED + self._seal.seal(f"{key} {body.decode()}").encode() + b'"'
        return b"".join((_SUM, _sum(key, body), body, _END))

    def decode(self, key: Key, kept: object) -> Entry:
        """Return the entry that was kept under a key. Raises UnreadableError."""
        if not isinstance(kept, bytes) or not kept.startswith(_SUM) or not kept.endswith(_END):
            raise UnreadableError("no entry that tierflow wrote", damaged=True)
        body = kept[_BODY_AT:-1]
        if kept[_SUM_AT:_BODY_AT] != _sum(key, body):
            raise UnreadableError("its checksum does not fit", damaged=True)
        try:
            return _ENTRY.validate_json(self._opened(key, body))
        except ValidationError:
            # The cause quotes what it found.
            raise UnreadableError("its JSON is no entry", damaged=True) from None

    def _opened(self, key: Key, body: bytes) -> bytes | str:
        if not may_be_open(self._seal, is_open=body.startswith(_OPEN)):
            # What is no text was not sealed with our keys either.
            return unsealed(self._seal, key, body[len(_SEALED) : -1].decode(errors="replace"))
        return body[len(_OPEN) :]


def _sum(key: Key, body: bytes) -> bytes:
    return hashlib.sha256(key.encode() + body).hexdigest()[:16].encode()
