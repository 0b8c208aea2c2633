"""Tokenised: the chains of requests to engines that tell what they hold, in their own tokens.

An engine's page for that is asked once for a prefix, not for each request: messages begin with
tokens of their own, so what stands before the last ones stays as it was. What comes after the
prefix is guessed by its length, and is not looked for: that costs one block of hits at most where
asks differ.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol

from ..request import Message, Request, canonical_json
from ..routing.affinity import BlockChain, chain_of_tokens
from ..routing.affinity.blocks import CHARS_PER_TOKEN

_MOST = 1024


class Tokenise(Protocol):
    """Says what an engine reads for messages, as TokenSource does."""

    def __call__(self, messages: Sequence[Message], /, *, replies: bool) -> Sequence[int]:
        """Return token ids. `replies`: whether a reply comes next."""
        ...


class Tokenised:
    """Chains of the newest prefixes. Thread-safe; two threads may ask about one at once."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, BlockChain] = OrderedDict()
        self._lock = threading.Lock()

    def chain(self, request: Request, tokens_per_block: int, tokenise: Tokenise) -> BlockChain:
        """Return a request's chain. Raises what `tokenise` raises."""
        # Without a prefix anything may be shared, so all of it is looked for.
        stable = request.prefix_messages or len(request.messages)
        prefix, rest = request.messages[:stable], request.messages[stable:]
        content = canonical_json([tokens_per_block, list(prefix)]).encode("utf-8", "surrogatepass")
        key = blake2b(content, digest_size=16).digest()
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
        if known is None:
            known = chain_of_tokens(tokenise(prefix, replies=not rest), tokens_per_block)
            self._keep(key, known)
        guessed = sum(len(canonical_json(each)) for each in rest) // CHARS_PER_TOKEN
        return BlockChain(known.hashes, tokens_per_block, known.tokens + guessed)

    def _keep(self, key: bytes, chain: BlockChain) -> None:
        with self._lock:
            self._known[key] = chain
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
