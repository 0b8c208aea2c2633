"""Codec: what is not exactly what was kept is never served."""

import base64
from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.caching.answers import entry_of, key_of
from tierflow.caching.codec import Codec, UnreadableError
from tierflow.caching.store import Failure
from tierflow.errors import StoreError
from tierflow.sealing import Seal

KEY, OTHER = key_of("one"), key_of("other")
ENTRY = entry_of("a secret answer", "triage", tenant="acme", tags=("a", "b"))
OLD, NEW, FOREIGN = (base64.urlsafe_b64encode(bytes([n]) * 32).decode() for n in (1, 2, 3))
CODECS = {"open": Codec(), "sealed": Codec(Seal([NEW, OLD]))}

every_codec = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)


def refusal(codec: Codec, kept: object, key: str = KEY) -> UnreadableError:
    with pytest.raises(UnreadableError) as caught:
        codec.decode(key_of("one") if key == KEY else key_of("other"), kept)
    assert "secret" not in str(caught.value)
    return caught.value


@every_codec
@pytest.mark.parametrize("entry", [ENTRY, entry_of(Failure("E", "a secret")), entry_of("ü" * 9)])
def test_an_entry_comes_back_as_it_was(codec: Codec, entry: object) -> None:
    assert codec.decode(KEY, codec.encode(KEY, entry)) == entry  # type: ignore[arg-type]


@every_codec
@given(data=st.data())
def test_one_flipped_bit_anywhere_is_found(codec: Codec, data: st.DataObject) -> None:
    kept = bytearray(codec.encode(KEY, ENTRY))
    bit = data.draw(st.integers(0, 8 * len(kept) - 1))
    kept[bit // 8] ^= 1 << bit % 8
    assert refusal(codec, bytes(kept)).damaged


@every_codec
def test_what_was_cut_short_or_added_to_is_found(codec: Codec) -> None:
    kept = codec.encode(KEY, ENTRY)
    for other in (b"", kept[:30], kept[:-1], kept + b" ", kept + b"}", kept + kept):
        assert refusal(codec, other).damaged


@every_codec
@pytest.mark.parametrize("kept", [None, 7, "text", b"{}", b"\xff", b'{"sum":"}'])
def test_what_is_no_entry_is_found(codec: Codec, kept: object) -> None:
    assert refusal(codec, kept).damaged


@every_codec
def test_an_entry_under_the_key_of_another_is_not_served(codec: Codec) -> None:
    assert refusal(codec, codec.encode(KEY, ENTRY), OTHER).damaged


def test_sealed_text_stands_nowhere_in_what_is_kept() -> None:
    kept = CODECS["sealed"].encode(KEY, ENTRY)
    for part in (b"secret", b"acme", b"openai/small", b"triage"):
        assert part not in kept
        assert part in CODECS["open"].encode(KEY, ENTRY)


def test_whoever_has_the_file_but_no_key_cannot_move_a_sealed_answer_to_another_key() -> None:
    # Anyone can work out the checksum.
    _, _, body = CODECS["sealed"].encode(KEY, ENTRY).partition(b'","sealed"')
    body = b'","sealed"' + body[:-1]
    checksum = sha256(OTHER.encode() + body).hexdigest()[:16].encode()
    moved = b'{"sum":"' + checksum + body + b"}"
    assert "for another key" in str(refusal(CODECS["sealed"], moved, OTHER))


@pytest.mark.parametrize(
    ("writer", "reader", "why"),
    [
        (Codec(), Codec(Seal([NEW])), "not sealed"),
        (Codec(Seal([NEW])), Codec(), "encryption_keys is not set"),
        (Codec(Seal([FOREIGN])), Codec(Seal([NEW, OLD])), "a key that is not in"),
    ],
)
def test_an_answer_for_other_keys_is_not_served_but_not_called_damaged_either(
    writer: Codec, reader: Codec, why: str
) -> None:
    refused = refusal(reader, writer.encode(KEY, ENTRY))
    assert why in str(refused)
    assert not refused.damaged


@every_codec
@pytest.mark.parametrize(
    "broken",
    [
        lambda: entry_of("a secret \ud83d"),
        lambda: entry_of(Failure("E", "a secret \ud83d")),
        lambda: entry_of("a secret", tags=("\udc00",)),
    ],
)
def test_text_that_is_no_unicode_is_refused_and_not_shown(
    codec: Codec, broken: Callable[[], object]
) -> None:
    with pytest.raises(StoreError, match="step 'triage' is not kept") as caught:
        codec.encode(KEY, broken())  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
