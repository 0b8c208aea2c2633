"""Blocks: a request as a chain of hashes, each of a block and of all before it. Pure."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

ROOT = 0
"""The parent of the first block of a chain that has no salt."""

CHARS_PER_TOKEN = 4
"""What a token of English text takes, about: only for text that nobody has tokenised."""


@dataclass(frozen=True, slots=True)
class BlockChain:
    """A request as an engine's prefix cache sees it.

    `hashes`: 64-bit, one per full block of `tokens_per_block`, the first block first; equal ones
    mean that everything up to there is equal. `tokens`: of all of the request, its tail included.
    """

    hashes: tuple[int, ...]
    tokens_per_block: int
    tokens: int

    def cached_tokens(self, blocks: int) -> int:
        """Return how many tokens need not be read where so many of its blocks are held."""
        # An engine reads the last token in any case: that is where the first new one comes from.
        most = max(0, self.tokens - 1) // self.tokens_per_block
        return min(blocks, most) * self.tokens_per_block


def next_hash(parent: int, block: bytes) -> int:
    """Return the hash of a block that comes after the one of hash `parent`."""
    whole = parent.to_bytes(8, "little") + block
    return int.from_bytes(blake2b(whole, digest_size=8).digest(), "little")


def chain_of_tokens(ids: Sequence[int], tokens_per_block: int, parent: int = ROOT) -> BlockChain:
    """Return the chain of token ids. With `parent` it goes on after another chain."""
    raw = array("q", ids).tobytes()
    width = 8 * tokens_per_block
    return BlockChain(_hashes(raw, width, parent), tokens_per_block, len(ids))


def chain_of_text(text: str, tokens_per_block: int, salt: str = "") -> BlockChain:
    """Return the chain of a text that nobody has tokenised; tokens are guessed from its length.

    `salt`: what parts caches that share no blocks, such as the model and a tenant.
    """
    raw = text.encode("utf-32-le", "surrogatepass")
    parent = next_hash(ROOT, salt.encode("utf-8", "surrogatepass")) if salt else ROOT
    width = 4 * CHARS_PER_TOKEN * tokens_per_block
    tokens = -(-len(text) // CHARS_PER_TOKEN)
    return BlockChain(_hashes(raw, width, parent), tokens_per_block, tokens)


def _hashes(raw: bytes, width: int, parent: int) -> tuple[int, ...]:
    found: list[int] = []
    for start in range(0, len(raw) - width + 1, width):
        parent = next_hash(parent, raw[start : start + width])
        found.append(parent)
    return tuple(found)
