"""Usage: the tokens of a litellm response in one form. Providers' dialects end here.

litellm already counts cache reads and writes into `prompt_tokens` for every provider; what is
left is where the parts are found, and what a reply without usage means.
"""

import math
from typing import Any

from ..request import Usage


def usage_of(reported: Any, *, sent: int, received: int) -> Usage:
    """Return the normalised usage of a response.

    `reported`: litellm's usage object, or None. `sent`, `received`: characters of prompt and
    reply; without a report the tokens are estimated from them at four characters each.
    """
    # litellm fills in zeros for a report that is missing, and no request has no tokens.
    if not (_count(reported, "prompt_tokens") or _count(reported, "completion_tokens")):
        return Usage(math.ceil(sent / 4), math.ceil(received / 4), estimated=True)
    into = getattr(reported, "prompt_tokens_details", None)
    out = getattr(reported, "completion_tokens_details", None)
    return Usage(
        input_tokens=_count(reported, "prompt_tokens"),
        output_tokens=_count(reported, "completion_tokens"),
        cache_read_tokens=_count(into, "cached_tokens"),
        cache_write_tokens=(
            _count(into, "cache_write_tokens")
            or _count(into, "cache_creation_tokens")
            or _count(reported, "cache_creation_input_tokens")
        ),
        reasoning_tokens=_count(out, "reasoning_tokens"),
        cache_write_1h_tokens=_count(
            getattr(into, "cache_creation_token_details", None), "ephemeral_1h_input_tokens"
        ),
    )


def _count(holder: Any, name: str) -> int:
    return int(getattr(holder, name, None) or 0)
