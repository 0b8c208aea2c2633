"""Tokenised: the chains of requests to engines that tell what they hold, in their own tokens.

An engine's page for that is asked once for a prefix, not for each request: messages begin with
tokens of their own, so what stands before the last ones stays as it was. What comes after the
prefix is guessed by its length, and is not looked for: that costs one block of hits at most where
asks differ. Whatever pool a deployment's request is sent to, its tokens are the same.
"""

import json
import threading
from collections import OrderedDict
from functools import partial
from hashlib import sha256

from ...caching import Flights, Key
from ...request import Request, canonical_json
from ...routing.affinity import BlockChain, chain_of_tokens
from ...routing.affinity.blocks import CHARS_PER_TOKEN
from ...serving import TokenSource, read_options
from ...settings import Deployment

_MOST = 1024


class Tokenised:
    """Chains of the newest prefixes. Thread-safe: who needs the same at once has it asked once."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._known: OrderedDict[Key, BlockChain] = OrderedDict()
        self._flights = Flights()
        self._lock = threading.Lock()

    def chain(
        self, deployment: Deployment, request: Request, tokens_per_block: int, api_base: str
    ) -> BlockChain:
        """Return a request's chain; the engine at `api_base` is asked where it is not known.

        Raises EngineUnreadableError.
        """
        # Without a prefix anything may be shared, so all of it is looked for.
        stable = request.prefix_messages or len(request.messages)
        prefix, rest = request.messages[:stable], request.messages[stable:]
        whose = [deployment.pool, read_as(deployment), tokens_per_block, bool(rest)]
        content = canonical_json([whose, list(prefix)]).encode("utf-8", "surrogatepass")
        key = Key(sha256(content).hexdigest())
        known = self._found(key)
        if known is None:
            ask = partial(
                self._source.token_ids,
                api_base,
                deployment.model.partition("/")[2],
                prefix,
                replies=not rest,
                options=read_options(deployment.params),
            )
            flight = self._flights.board(key)
            if flight is None:
                with self._flights.leading(key) as leading:
                    known = leading.result = chain_of_tokens(ask(), tokens_per_block)
                    self._keep(key, known)
            else:
                known = flight.ended.result() or chain_of_tokens(ask(), tokens_per_block)
        guessed = sum(len(canonical_json(each)) for each in rest) // CHARS_PER_TOKEN
        return BlockChain(known.hashes, tokens_per_block, known.tokens + guessed)

    def close(self) -> None:
        """Close the source; the next request opens it again."""
        self._source.close()

    def _found(self, key: Key) -> BlockChain | None:
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
            return known

    def _keep(self, key: Key, chain: BlockChain) -> None:
        with self._lock:
            self._known[key] = chain
            if len(self._known) > _MOST:
                self._known.popitem(last=False)


def read_as(deployment: Deployment) -> str:
    """Return what decides, besides the messages, what an engine reads: the model, and options."""
    options = read_options(deployment.params)
    return f"{deployment.model} {json.dumps(options, sort_keys=True, default=str)}"
