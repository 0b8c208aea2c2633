"""Fingerprint: where a request's prefix may be marked, how long it is, and its hash. Pure."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from ...request import Message, Request
from ...settings import Deployment
from .vendors import Vendor


@dataclass(frozen=True, slots=True)
class Boundary:
    """A place where a prefix may end: behind its first `messages` messages.

    `key`: hash of all that comes before it, and of the deployment. `low`, `high`: the least and
    the most tokens it may have.
    """

    messages: int
    key: str
    low: int
    high: int

    @property
    def tokens(self) -> int:
        """The likely number of tokens: four characters each, kept within the limits."""
        return min(self.high, max(self.low, self.low * 5 // 4))


def boundaries_of(request: Request, deployment: Deployment, vendor: Vendor) -> tuple[Boundary, ...]:
    """Return the places where the prefix of a request may be marked, the shortest first.

    These are the end of the leading system messages and the end of the prefix; where assistant
    messages take no mark, the last other message before that.
    """
    stable = request.messages[: request.prefix_messages]
    system = next((i for i, each in enumerate(stable) if each.get("role") != "system"), len(stable))
    ends = {_markable(stable[:system], vendor), _markable(stable, vendor)} - {0}
    digest = hashlib.sha256(_lead(request, deployment).encode())
    low = high = 0
    found: list[Boundary] = []
    for count, message in enumerate(stable, start=1):
        digest.update(_bytes(message))
        least, most = _tokens(message.get("content"))
        low, high = low + least, high + most
        if count in ends:
            found.append(Boundary(count, digest.hexdigest(), low, high))
    return tuple(found)


def _markable(messages: Sequence[Message], vendor: Vendor) -> int:
    """How many messages lead up to the last one that may be marked."""
    for count in range(len(messages), 0, -1):
        role, content = messages[count - 1].get("role"), messages[count - 1].get("content")
        # An empty text that is marked is an error.
        if content and (vendor.assistant_marks or role != "assistant"):
            return count
    return 0


def _lead(request: Request, deployment: Deployment) -> str:
    # Providers put the schema and the tools (a deployment's params) before the messages.
    return _json([deployment.name, dict(deployment.params), request.schema])


def _bytes(message: Message) -> bytes:
    content = message.get("content")
    if isinstance(content, str) and set(message) == {"role", "content"}:
        return f"{message['role']}\0{len(content)}\0{content}".encode()
    return _json(message).encode()


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _tokens(content: object) -> tuple[int, int]:
    """Return the least and the most tokens of a message's content.

    Tokenisers differ by a third and texts by more, so that characters/4 may be far off near a
    minimum. Prose of English is 4 to 5 characters a token in today's vocabularies, code and
    other languages are fewer; a byte is at most one token.
    """
    if isinstance(content, str):
        return _text_tokens(content)
    least = most = 0
    for part in cast("list[object]", content) if isinstance(content, list) else []:
        if isinstance(part, dict):
            text = cast("dict[str, object]", part).get("text")
            if isinstance(text, str):
                low, high = _text_tokens(text)
                least, most = least + low, most + high
    return least, most


@lru_cache(maxsize=256)
def _text_tokens(text: str) -> tuple[int, int]:
    # A run of blanks is one token.
    length = len(" ".join(text.split()))
    most = length // 2 if text.isascii() else len(text.encode())
    return length // 5, most
