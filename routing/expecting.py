"""Expecting: what a call will likely take, before it is made. Guesses on the high side."""

from ..request import Request, Usage, canonical_json
from .tiers import NamedTier

_UNBOUNDED_REPLY = 1024
"""Tokens of a reply whose length nobody bounded."""


def expected_usage(request: Request, tier: NamedTier) -> Usage:
    """Return the tokens of a call: four characters of the request each, and the longest reply."""
    sampling = request.sampling.over(tier.tier.sampling)
    written = sampling.max_tokens or _UNBOUNDED_REPLY
    return Usage(sent_tokens(request), written, estimated=True)


def sent_tokens(request: Request) -> int:
    """Return how many tokens a request has, at four characters each."""
    return len(canonical_json(request.messages)) // 4 + 1
