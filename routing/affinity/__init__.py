"""affinity: which replica of a pool has read a prompt before. Part of routing; asks no model."""

from .backlog import Backlog, Pace
from .blocks import BlockChain, chain_of_text, chain_of_tokens, next_hash
from .evenness import Evenness
from .fleet import Fleet, Placement
from .index import BlockIndex
from .sessions import Sessions
from .shares import Shares

__all__ = [
    "Backlog",
    "BlockChain",
    "BlockIndex",
    "Evenness",
    "Fleet",
    "Pace",
    "Placement",
    "Sessions",
    "Shares",
    "chain_of_text",
    "chain_of_tokens",
    "next_hash",
]
