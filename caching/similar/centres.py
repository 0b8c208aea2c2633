"""Centres: the middle of all questions that have the same answer. Knows no store."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_ANSWERS = 4096
"""With more answers than that they are texts, not kinds; 6 MB of vectors are enough, too."""


class Centres:
    """Mean directions by answer. What is removed still counts, until it is built again."""

    def __init__(self) -> None:
        self._sums: dict[str, NDArray[np.float32]] | None = {}

    def add(self, value: str, vector: "NDArray[np.float32]") -> None:
        """Add the vector, (d,), of a question whose answer's value has this hash."""
        if self._sums is None:
            return
        known = self._sums.get(value)
        self._sums[value] = vector.copy() if known is None else known + vector
        if len(self._sums) > _MOST_ANSWERS:
            self._sums = None

    def similarities(
        self, vector: "NDArray[np.float32]", values: Iterable[str]
    ) -> Mapping[str, float]:
        """Return the cosine similarity of a unit vector to the centres of these answers."""
        import numpy as np  # noqa: PLC0415  # import tierflow must stay cheap

        if self._sums is None:
            return {}
        known = [value for value in values if value in self._sums]
        if not known:
            return {}
        sums = np.stack([self._sums[value] for value in known])
        lengths = np.sqrt(np.einsum("ij,ij->i", sums, sums))
        return dict(zip(known, (sums @ vector / (lengths + 1e-9)).tolist(), strict=True))
