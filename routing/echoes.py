"""Echoes: what a provider repeats of a request in its errors is left out of ours. No I/O."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..request import Message
from .texts import text_of

_WORD = re.compile(r"\S+")
_AROUND = "\"'`.,:;!?()[]{}<>…"
_RUN = 3
"""So many words in a row are no chance: they are quoted."""

_LONG = 12
_MASK = "***"


@dataclass(frozen=True, slots=True)
class Unsaid:
    """What an error must not repeat. `key`: the API key. `messages`: the request's."""

    key: str | None = field(default=None, repr=False)
    messages: Sequence[Message] = field(default=(), repr=False)

    def left_of(self, said: str) -> str:
        """Return what a provider said without them.

        Of the messages, three words in a row are left out, and single words that tell somebody
        apart: with a digit or an @ in them, or long ones.
        """
        said = said.replace(self.key, _MASK) if self.key else said
        words = list(_WORD.finditer(said))
        bare = [each[0].strip(_AROUND) for each in words]
        hidden = set[int]()
        for heard in map(_words, self._texts()):
            singles = {word for word in heard if _tells(word)}
            runs = {heard[at : at + _RUN] for at in range(len(heard) - _RUN + 1)}
            hidden |= {at for at, word in enumerate(bare) if word in singles}
            for at in range(len(bare) - _RUN + 1):
                if tuple(bare[at : at + _RUN]) in runs:
                    hidden |= set(range(at, at + _RUN))
        return _without(said, [words[at].span() for at in sorted(hidden)])

    def is_in(self, said: str) -> bool:
        """Tell whether what was said repeats any of it."""
        return self.left_of(said) != said

    def _texts(self) -> Iterator[str]:
        for message in self.messages:
            yield text_of(message.get("content") or "")


def _words(text: str) -> tuple[str, ...]:
    return tuple(each.strip(_AROUND) for each in _WORD.findall(text))


def _tells(word: str) -> bool:
    return len(word) >= _LONG or "@" in word or any(letter.isdigit() for letter in word)


def _without(said: str, spans: Sequence[tuple[int, int]]) -> str:
    kept, end = list[str](), 0
    for start, stop in spans:
        between = said[end:start]
        # Neighbours become one mask: how many words were hidden says something, too.
        if not (kept and kept[-1] == _MASK and not between.strip()):
            kept += (between, _MASK)
        end = stop
    return "".join((*kept, said[end:]))
