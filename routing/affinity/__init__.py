"""affinity: which replica of a pool has read a prompt before. Part of routing; asks no model."""

from .backlog import Backlog, Pace
from .blocks import BlockChain, chain_of_text, chain_of_tokens, next_hash
from .evenness import Evenness
from .fleet import Fleet, Placement
from .holdings import Holding
from .index import BlockIndex
from .opening import open_placements
from .precise import Translation
from .sessions import Sessions
from .shares import Shares
from .sharing import Placements, Sent, Sharing

__all__ = [
    "Backlog",
    "BlockChain",
    "BlockIndex",
    "Evenness",
    "Fleet",
    "Holding",
    "Pace",
    "Placement",
    "Placements",
    "Sent",
    "Sessions",
    "Shares",
    "Sharing",
    "Translation",
    "chain_of_text",
    "chain_of_tokens",
    "next_hash",
    "open_placements",
]
