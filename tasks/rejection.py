"""Rejection: takes an answer back, so that it is not served again. Travels with the answer."""

import json
from dataclasses import asdict, dataclass

from ..caching import AnswerStore, Key
from ..caching.similar import Served, SimilarCache
from ..errors import StoreError


@dataclass(frozen=True, slots=True)
class Rejection:
    """Removes the answer under `key`; `served`: the similar question it was served to, if so."""

    key: Key
    served: Served | None = None

    def __call__(self) -> None:
        """Do it, in whichever process this is. Raises StoreError."""
        from .hands import hands  # noqa: PLC0415  # the hands reach for everything

        mine = hands()
        self.take_back(mine.store, mine.similar)

    def take_back(self, store: AnswerStore, similar: SimilarCache) -> None:
        """Do it in these stores. Raises StoreError."""
        store.remove(self.key)
        if self.served is not None:
            similar.reject(self.served)

    def written(self) -> str:
        """Return it as the ledger keeps it: hashes and numbers, and no text of a prompt."""
        return json.dumps([self.key, None if self.served is None else asdict(self.served)])

    @classmethod
    def read(cls, text: str) -> "Rejection":
        """Return what was written. Raises StoreError."""
        try:
            key, served = json.loads(text)
            if served is None:
                return cls(Key(key))
            return cls(Key(key), Served(**served | {"features": tuple(served["features"])}))
        except (ValueError, TypeError, KeyError) as exc:
            raise StoreError(
                "The ledger's note of how to take the answer back cannot be read: it is damaged "
                "or of another version. Remove the answer by its step: `tierflow cache "
                "invalidate --step NAME`."
            ) from exc
