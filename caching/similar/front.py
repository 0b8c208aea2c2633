"""Front: one partition's questions in this process, read from the store's log as it grows.

Finding a neighbour then costs no round trip. The store stays the truth: an index that is saved
beside it only spares packing the vectors again, which takes minutes where there are a million.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..keys import Key
from .centres import Centres
from .likeness import NEIGHBOURS, Neighbour
from .store import Asked, SimilarStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .index import PartitionIndex

_log = logging.getLogger(__name__)

_PAGE = 5000
SAVED_FROM = 1000
"""Smaller indexes are made again sooner than they are read, and conversations make many."""

_SAVE_EVERY = 50_000
"""So many changes after the last save the index is saved again."""

_COMPARED = 8
"""So many of the newest questions are looked up in a saved index, to see whether it is ours."""
_SAME = 0.98


class Known(NamedTuple):
    """What is known here of a stored question, besides its vector."""

    key: Key
    value: str
    ask: str


class Front:
    """The questions of one partition. Not thread-safe; whoever holds it locks.

    `folder`: where the index is saved, None for nowhere. `fingerprint`: of the encoder.
    """

    def __init__(
        self,
        store: SimilarStore,
        partition: str,
        dimensions: int,
        *,
        fingerprint: str = "",
        folder: Path | None = None,
    ) -> None:
        self._store, self._partition = store, partition
        self._dimensions = dimensions
        # An index is of one store: another one gives the same numbers to other questions.
        self._space = f"{fingerprint} {store.identity()}"
        self._path = folder / f"{partition}.index" if folder else None
        self._known: dict[int, Known] = {}
        self._centres = Centres()
        self._seq = 0
        self._saved = 0
        self._index = self._open()

    def __len__(self) -> int:
        return len(self._known)

    def __getitem__(self, id: int) -> Known:  # noqa: A002  # the store's word
        return self._known[id]

    def catch_up(self) -> None:
        """Take in what was added and removed since the last time, by whichever process."""
        while changes := self._store.changes(self._partition, self._seq, _PAGE):
            added = [each for each in changes if each.asked is not None]
            for each in changes:
                if each.asked is None:
                    self._known.pop(each.id, None)
                    self._index.remove(each.id)
            if added:
                self._add([each.id for each in added], [each.asked for each in added if each.asked])
            self._seq = changes[-1].seq
        if self._seq - self._saved >= _SAVE_EVERY:
            self.save()

    def near(self, vector: "NDArray[np.float32]") -> Sequence[Neighbour]:
        """Return the nearest questions to a unit vector, nearest first."""
        found = self._index.search(vector, NEIGHBOURS) if self._known else ()
        return [
            Neighbour(id_, similarity, known.value, known.ask)
            for id_, similarity in found
            if (known := self._known.get(id_)) is not None
        ]

    def centred(
        self, vector: "NDArray[np.float32]", near: Sequence[Neighbour]
    ) -> Mapping[str, float]:
        """Return how similar a vector is to the middle of all questions with a near one's answer.

        Empty where the answers are too many to be of a kind.
        """
        return self._centres.similarities(vector, dict.fromkeys(each.value for each in near))

    def save(self) -> None:
        """Save the index, so that the next process starts sooner."""
        from .snapshot import save  # noqa: PLC0415  # imports the index, and that faiss

        if self._path is not None and self._seq > self._saved and len(self._known) >= SAVED_FROM:
            save(
                self._index,
                self._path,
                partition=self._partition,
                fingerprint=self._space,
                upto_seq=self._seq,
            )
            self._saved = self._seq

    def close(self) -> None:
        """Save the index, and end what it has under way."""
        self.save()
        self._index.close()

    def _add(self, ids: list[int], asked: Sequence[Asked]) -> None:
        import numpy as np  # noqa: PLC0415  # import tierflow must stay cheap

        self._index.add_many(ids, np.stack([each.vector for each in asked]))
        for id_, each in zip(ids, asked, strict=True):
            self._known[id_] = Known(each.key, each.value, each.ask)
            self._centres.add(each.value, each.vector)

    def _open(self) -> "PartitionIndex":
        from .index import PartitionIndex  # noqa: PLC0415  # imports faiss
        from .snapshot import load  # noqa: PLC0415  # likewise

        if self._path is not None:
            loaded = load(self._path, partition=self._partition, fingerprint=self._space)
            if loaded is not None and loaded[0].dimensions == self._dimensions:
                index, upto = loaded
                if self._read_texts(index, upto):
                    self._seq = self._saved = upto
                    return index
                _log.warning("The index %s is of another store and is built anew.", self._path)
                self._known.clear()
                self._centres = Centres()
        return PartitionIndex(self._dimensions)

    def _read_texts(self, index: "PartitionIndex", upto: int) -> bool:
        """Read what the saved index does not hold; what is gone since leaves it here, too.

        Tell whether the index is of this store's questions.
        """
        newest: dict[int, NDArray[np.float32]] = {}
        seq = 0
        while changes := self._store.changes(self._partition, seq, _PAGE):
            for each in changes:
                if each.asked is None:
                    index.remove(each.id)
                    self._known.pop(each.id, None)
                    newest.pop(each.id, None)
                elif each.seq <= upto:
                    self._known[each.id] = Known(each.asked.key, each.asked.value, each.asked.ask)
                    self._centres.add(each.asked.value, each.asked.vector)
                    newest[each.id] = each.asked.vector
                    if len(newest) > _COMPARED:
                        del newest[next(iter(newest))]
            seq = changes[-1].seq
        # A store that was put back from a copy, or another one, has other questions under the same
        # ids. Two logs that part once differ from there on, so their ends tell.
        return len(index) == len(self._known) and all(
            dict(index.search(vector, NEIGHBOURS)).get(id_, 0.0) > _SAME
            for id_, vector in newest.items()
        )
