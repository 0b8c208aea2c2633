"""Questions as texts: encoded once, and never compared over two encoders."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.caching.answers import key_of
from tests.caching.similar.clouds import unit
from tests.caching.similar.streams import place
from tierflow.caching import SemanticCache
from tierflow.caching.similar import SimilarCache, front
from tierflow.caching.similar.memory_store import MemorySimilarStore
from tierflow.caching.similar.store import SimilarStore
from tierflow.caching.store import Selection
from tierflow.encoder import Around, Encoder, encoder

TERMS = SemanticCache(max_wrong_rate=0.05)
HERE = place()


class Letters:
    """An encoder that counts letters, and words as tokens."""

    def __init__(self, name: str = "letters") -> None:
        self.fingerprint, self.dimensions, self.window = f"{name}:1", 26, 8
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str], around: Around = nullcontext) -> NDArray[np.float32]:
        self.encoded += texts
        rows = [[0.01 + text.lower().count(chr(97 + each)) for each in range(26)] for text in texts]
        with around():
            return unit(np.array(rows))

    def count_tokens(self, text: str) -> int:
        return len(text.split())


def opened(
    store: SimilarStore, reader: Callable[[], Encoder] = Letters, folder: Path | None = None
) -> SimilarCache:
    kept = reader()
    return SimilarCache(lambda: store, lambda: kept, folder)


def ask(cache: SimilarCache, text: str, value: str = "v", partition: str = "p") -> int | None:
    """Ask and keep; return the id of what was near."""
    finding = cache.find(place(partition), text, TERMS)
    assert finding is not None
    cache.keep(finding, key_of(text), value)
    return None if finding.candidate is None else finding.candidate.id


def test_an_ask_beyond_the_window_is_left_to_the_exact_cache() -> None:
    cache = opened(MemorySimilarStore())
    within, beyond = " ".join(["word"] * 8), " ".join(["word"] * 9)
    assert cache.find(HERE, within, TERMS) is not None
    assert cache.find(HERE, beyond, TERMS) is None
    assert cache.explain(HERE, beyond, TERMS) is None
    assert cache.explain_text(beyond, TERMS) is None
    assert cache.explain_text(within, TERMS) == []


def test_nothing_is_opened_before_the_first_question() -> None:
    def no_encoder() -> Encoder:
        raise AssertionError("the encoder was opened")

    cache = SimilarCache(MemorySimilarStore, no_encoder, None)
    assert cache.invalidate(Selection()) == 0
    cache.close()


def test_questions_of_two_encoders_are_never_compared() -> None:
    store = MemorySimilarStore()
    one, other = (opened(store, partial(Letters, name)) for name in ("one", "other"))
    assert ask(one, "where is my parcel") is None
    assert ask(other, "where is my parcel") is None
    assert ask(one, "where is the parcel") == 1
    assert ask(other, "where is the parcel") == 2
    for cache in (one, other):
        finding = cache.find(HERE, "where is my parcel", TERMS)
        assert finding is not None
        cache.learn(finding, same=True)
    assert len(store.partitions()) == 2
    told = one.explain_text("where is my parcel", TERMS)
    assert told is not None
    assert [each.questions for each in told] == [2]
    # What was learned on the vectors of one says nothing about the other's.
    scopes = [known[0] for each in store.partitions() if (known := store.place(each)) is not None]
    assert len({*scopes}) == 2
    assert [len(store.observations(each, 0)) for each in scopes] == [1, 1]


def test_each_partition_is_explained_the_likest_first() -> None:
    cache = opened(MemorySimilarStore())
    ask(cache, "where is my parcel", partition="a")
    ask(cache, "quite another thing", partition="b")
    ask(cache, "where is your parcel", partition="c")

    told = cache.explain_text("where is my parcel", TERMS)

    assert told is not None
    found = [each.finding.candidate for each in told]
    assert [each and each.ask for each in found] == [
        "where is my parcel",
        "where is your parcel",
        "quite another thing",
    ]
    assert [each.finding.place.labels.step for each in told] == ["triage"] * 3
    assert cache.explain_text("where is my parcel", TERMS, step="another") == []


def test_an_explanation_knows_what_the_step_has_learned() -> None:
    cache = opened(MemorySimilarStore())
    ask(cache, "where is my parcel")
    for _ in range(5):
        finding = cache.find(HERE, "where is the parcel", TERMS)
        assert finding is not None
        cache.learn(finding, same=False)
    told = cache.explain_text("where is the parcel", TERMS)
    assert told is not None
    assert told[0].features["record of this answer"] == pytest.approx(np.log(1 / 6))


def test_what_is_removed_or_rejected_is_not_found() -> None:
    store = MemorySimilarStore()
    cache = opened(store)
    ask(cache, "where is my parcel")
    ask(cache, "open my account")
    finding = cache.find(HERE, "where is my parcel", TERMS)
    assert finding is not None
    served = finding.as_served()
    assert served is not None
    cache.reject(served)
    assert sum(store.partitions().values()) == 1
    finding = cache.find(HERE, "open my account", TERMS)
    assert finding is not None
    cache.forget(finding)
    assert store.partitions() == {}


def test_a_closed_cache_opens_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "SAVED_FROM", 1)
    cache = opened(MemorySimilarStore(), folder=tmp_path)
    ask(cache, "where is my parcel")
    assert ask(cache, "open my account") == 1
    cache.close()
    cache.close()
    assert ask(cache, "where is the parcel") == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".index"]
    # A saved index holds vectors of what is to go.
    cache.close()
    assert cache.invalidate(Selection(step="triage")) == 3
    assert list(tmp_path.iterdir()) == []


def test_the_real_encoder_finds_what_means_the_same(
    minilm_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERFLOW_HOME", str(minilm_home))
    cache = SimilarCache(MemorySimilarStore, encoder, None)
    ask(cache, "I forgot my password.")
    ask(cache, "Where is my parcel?")
    finding = cache.find(HERE, "My parcel has not arrived yet, where is it?", TERMS)
    assert finding is not None
    assert finding.candidate is not None
    assert finding.candidate.ask == "Where is my parcel?"
    assert cache.find(HERE, "word " * 400, TERMS) is None
    cache.close()
