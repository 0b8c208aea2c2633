"""Rejection: takes an answer back, so that it is not served again. Travels with the answer."""

from dataclasses import dataclass

from ..caching import Key
from ..caching.similar import Served


@dataclass(frozen=True, slots=True)
class Rejection:
    """Removes the answer under `key`; `served`: the similar question it was served to, if so."""

    key: Key
    served: Served | None = None

    def __call__(self) -> None:
        """Do it, in whichever process this is. Raises StoreError."""
        from .hands import hands  # noqa: PLC0415  # the hands reach for everything

        mine = hands()
        mine.store.remove(self.key)
        if self.served is not None:
            mine.similar.reject(self.served)
