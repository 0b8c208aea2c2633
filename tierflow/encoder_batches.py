"""Ground: which texts run through a model together. Knows token numbers, not text nor models."""

from collections.abc import Callable, Iterator, Sequence
from threading import Condition
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors: TypeAlias = NDArray[np.float32]
    Matrix: TypeAlias = NDArray[np.int64]
    Run: TypeAlias = Callable[[Matrix, Matrix], Vectors]
    """Token numbers and mask, both (n, t), to vectors (n, d)."""

Row: TypeAlias = Sequence[int]
"""The token numbers of one text."""

MOST_TOKENS = 1024
"""Of one batch: 0.2 s of a core for MiniLM, which is how long a short text waits for a long one."""

# A run costs as much as two more tokens, so even a little padding is worth a run of its own.
_PADDING = 1 / 16


class Batches:
    """Runs the rows of many threads together.

    Whoever finds the model free takes what waits, up to `most_tokens`, and runs it; the others
    get theirs from it. Nobody waits for company. `lanes`: how many may run at a time.
    """

    def __init__(
        self, run: "Run", pad: int, *, most_tokens: int = MOST_TOKENS, lanes: int = 1
    ) -> None:
        self._run = run
        self._pad = pad
        self._most_tokens = most_tokens
        self._free = lanes
        self._waiting: list[_Waiting] = []
        self._changed = Condition()

    def encode(self, rows: Sequence[Row]) -> "Vectors":
        """Return one vector for each row, in their order. `rows` is not empty."""
        import numpy as np  # noqa: PLC0415  # import tierflow must stay cheap

        order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
        ordered = [rows[number] for number in order]
        # Piece by piece: what others ask for meanwhile goes between two pieces of a long list.
        pieces = self._pieces([len(row) for row in ordered])
        vectors = np.concatenate([self._share(ordered[start:end]) for start, end in pieces])
        return vectors[np.argsort(order)]

    def _share(self, rows: Sequence[Row]) -> "Vectors":
        """Wait until another thread has run these rows, or run them with all that wait."""
        mine = _Waiting(rows)
        with self._changed:
            self._waiting.append(mine)
            try:
                self._changed.wait_for(lambda: mine.vectors is not None or self._is_next(mine))
                if mine.vectors is not None:
                    return mine.vectors
            except BaseException:  # Ctrl-C: nobody is there any more to take the vectors
                self._waiting = [each for each in self._waiting if each is not mine]
                self._changed.notify_all()
                raise
            taken = self._take()
            self._free -= 1
            self._changed.notify_all()  # another lane may be free for the next
        try:
            vectors = self._run_all([row for each in taken for row in each.rows])
            for each in taken:
                each.vectors, vectors = vectors[: len(each.rows)], vectors[len(each.rows) :]
        finally:
            with self._changed:
                self._free += 1
                # After a failure each of the others runs its own rows, and has its own failure.
                left = [each for each in taken if each.vectors is None and each is not mine]
                self._waiting = left + self._waiting
                self._changed.notify_all()
        assert mine.vectors is not None  # noqa: S101  # mine was taken, and the run returned
        return mine.vectors

    def _is_next(self, mine: "_Waiting") -> bool:
        return self._free > 0 and next(iter(self._waiting), None) is mine

    def _take(self) -> "list[_Waiting]":
        """Take the first that waits, and those behind it that fit into the same batch."""
        taken, tokens = 0, 0
        for each in self._waiting:
            tokens += sum(map(len, each.rows))
            if taken and tokens > self._most_tokens:
                break
            taken += 1
        first, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return first

    def _run_all(self, rows: Sequence[Row]) -> "Vectors":
        import numpy as np  # noqa: PLC0415  # import tierflow must stay cheap

        order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
        ordered = [rows[number] for number in order]
        pieces = self._pieces([len(row) for row in ordered])
        parts = [self._run(*self._padded(ordered[start:end])) for start, end in pieces]
        return np.concatenate(parts)[np.argsort(order)]

    def _padded(self, rows: Sequence[Row]) -> "tuple[Matrix, Matrix]":
        import numpy as np  # noqa: PLC0415  # import tierflow must stay cheap

        shape = len(rows), max(1, *map(len, rows), 1)
        numbers = np.full(shape, self._pad, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for place, row in enumerate(rows):
            numbers[place, : len(row)] = row
            mask[place, : len(row)] = 1
        return numbers, mask

    def _pieces(self, lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Cut rows of rising length where padding or the whole would grow too large."""
        start, tokens = 0, 0
        for number, length in enumerate(lengths):
            padded = length * (number - start + 1)
            wasted = padded - tokens - length
            if number > start and (padded > self._most_tokens or wasted > 2 + _PADDING * padded):
                yield start, number
                start, tokens = number, 0
            tokens += length
        yield start, len(lengths)


class _Waiting:
    """Rows of one thread, and what became of them."""

    __slots__ = ("rows", "vectors")

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.vectors: Vectors | None = None
