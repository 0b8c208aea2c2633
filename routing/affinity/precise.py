"""Precise: the blocks that an engine names, in hashes of ours. Pure.

An engine's hashes depend on its version, its settings and, with some, on PYTHONHASHSEED. Ours
depend on token ids alone, so a request can be looked up in them that no engine has seen.
"""

from collections.abc import Hashable, Sequence

from .blocks import ROOT, chain_of_tokens, next_hash


class Translation:
    """What one replica's hashes mean. `tokens_per_block`: of its blocks, 0 until one was named."""

    def __init__(self) -> None:
        self._ours: dict[Hashable, int] = {}
        self.tokens_per_block = 0

    def stored(
        self,
        hashes: Sequence[Hashable],
        parent: Hashable | None,
        token_ids: Sequence[int],
        tokens_per_block: int,
        salts: Sequence[str] = (),
    ) -> tuple[int, ...]:
        """Return our hashes of blocks that follow each other, `parent` being before the first.

        `salts`: by block, what else its hash covers; equal tokens with another salt are another
        block. None are returned where the parent is not known: it was stored before we listened.
        """
        self.tokens_per_block = tokens_per_block
        above = ROOT if parent is None else self._ours.get(parent)
        if above is None:
            return ()
        if any(salts):
            found: list[int] = []
            for place, salt in enumerate(salts):
                ids = token_ids[place * tokens_per_block : (place + 1) * tokens_per_block]
                salted = next_hash(above, salt.encode()) if salt else above
                (above,) = chain_of_tokens(ids, tokens_per_block, salted).hashes
                found.append(above)
            ours = tuple(found)
        else:
            ours = chain_of_tokens(token_ids, tokens_per_block, above).hashes
        self._ours.update(zip(hashes, ours, strict=True))
        return ours

    def removed(self, hashes: Sequence[Hashable]) -> tuple[int, ...]:
        """Return our hashes of blocks that are held no longer, as far as they were known."""
        known = (self._ours.pop(each, None) for each in hashes)
        return tuple(each for each in known if each is not None)

    def cleared(self) -> None:
        """Forget all blocks."""
        self._ours.clear()
