"""Usage: the tokens of a litellm response in one form. Providers' dialects end here.

litellm already counts cache reads and writes into `prompt_tokens`, and reasoning into
`completion_tokens`, for the providers that it knows. What is left is where the parts are found,
what engines that only resemble OpenAI leave out of the whole, and a reply without usage.
"""

import math
from typing import Any

from ..request import Usage


def usage_of(reported: Any, *, sent: int, received: int) -> Usage:
    """Return the normalised usage of a response.

    `reported`: litellm's usage object, or None. `sent`, `received`: characters of prompt and
    reply; without a report the tokens are estimated from them at four characters each.
    """
    asked, said = _count(reported, "prompt_tokens"), _count(reported, "completion_tokens")
    # litellm fills in zeros for a report that is missing, and no request has no tokens.
    if not (asked or said):
        return Usage(_tokens(sent), _tokens(received), estimated=True)
    into = getattr(reported, "prompt_tokens_details", None)
    out = getattr(reported, "completion_tokens_details", None)
    read = (
        _count(into, "cached_tokens")
        or _count(reported, "cache_read_input_tokens")
        or _count(reported, "prompt_cache_hit_tokens")  # DeepSeek's
        or _count(reported, "cached_tokens")  # Moonshot's
    )
    written = (
        _count(into, "cache_write_tokens")
        or _count(into, "cache_creation_tokens")
        or _count(reported, "cache_creation_input_tokens")
    )
    reasoned = _count(out, "reasoning_tokens")
    cached_apart, reasoned_apart = _apart(
        _count(reported, "total_tokens") - asked - said,
        (read + written, asked),
        (reasoned, said),
    )
    return Usage(
        input_tokens=asked + cached_apart,
        output_tokens=said + reasoned_apart,
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=reasoned,
        cache_write_1h_tokens=_count(
            getattr(into, "cache_creation_token_details", None), "ephemeral_1h_input_tokens"
        ),
    )


def partial_usage(reported: Any, *, sent: int, received: int) -> Usage:
    """Return the usage of a reply that broke off after `received` characters: an estimate.

    `reported`: what a stream had told by then, or None. Some tell of the input at once.
    """
    known = usage_of(reported, sent=sent, received=received)
    return Usage(
        input_tokens=known.input_tokens,
        # What is told of the output on the way there is a placeholder, or an older count.
        output_tokens=max(known.output_tokens, _tokens(received)),
        cache_read_tokens=known.cache_read_tokens,
        cache_write_tokens=known.cache_write_tokens,
        reasoning_tokens=known.reasoning_tokens,
        estimated=True,
        cache_write_1h_tokens=known.cache_write_1h_tokens,
    )


def _tokens(characters: int) -> int:
    return math.ceil(characters / 4)


def _apart(missing: int, cached: tuple[int, int], reasoned: tuple[int, int]) -> tuple[int, int]:
    """Return what is to be added to input and output: parts that were not counted in the whole.

    Of both: the part, and the whole. `missing`: what the total has beyond the two wholes.
    """
    parts = [part for part, _ in (cached, reasoned)]
    if missing > 0 and missing == sum(parts):
        return parts[0], parts[1]
    added = [part if part > whole else 0 for part, whole in (cached, reasoned)]
    if not any(added) and missing > 0 and missing in parts:
        added[parts.index(missing)] = missing
    return added[0], added[1]


def _count(holder: Any, name: str) -> int:
    return int(getattr(holder, name, None) or 0)
