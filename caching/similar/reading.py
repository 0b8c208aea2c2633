"""Similar store: what of a question is compared, read from its text.

English; of other languages it reads words, numbers and names. Compares nothing: see wording.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from .antonyms import base
from .quantities import HINTS, numeric, quantities
from .vocabulary import (
    ASKS,
    DIRECTIONS,
    FAILING,
    KNOWING,
    NEGATIONS,
    NOT_ONLY,
    PERSONS,
    SPLIT,
    STOP,
    TAGS,
)

_TOKEN = re.compile(
    r"[^\W_\u3040-\u30ff\u3400-\u9fff]+(?:['.,:]\d+|'[^\W\d_]+|(?<=\b[apAP])\.[mM]\b)*"
    r"|[\u3040-\u30ff\u3400-\u9fff]|[£$€¥₹%°]|[,;.!?]"
)
"""Words, signs of Chinese and Japanese one by one, currencies, and the marks that end a clause."""

_QUOTED = re.compile(r'["\u201c\u201e«]([^"\u201c\u201d\u201e«»]{1,200})["\u201d\u201c»]')
_QUOTES = re.compile(r'["\u201c\u201e«]')
_MARKS = frozenset(",;.!?")
_ENDS = frozenset(".!?")
_AFTER_NO = TAGS | {",", "that", "this"}
"""What stands after a "no" that begins an answer and denies nothing of the rest."""

_REACH = 4
"""How many words after a negation it may turn around: "not really all that good"."""


@dataclass(frozen=True, slots=True)
class Wording:
    """What of a text is compared. Equal for texts that differ in endings and spacing only.

    `stems`: the words that say something, pronouns and numbers, in order, a negation as "not".
    `words`: all words but numbers and negations; `content`: those that are no function words.
    `numbers`, `units`, `dates` (with times): each in one spelling. `names`: words capitalised
    inside a sentence, and quotations. `negated`: the word that each negation turns around.
    `framed`: those whose negation denies little ("I don't know how to ..."). `scoped`: all words
    within reach of a negation. `asks`: question words. `goals`: prepositions, and what they
    point at.
    """

    stems: tuple[str, ...]
    words: frozenset[str]
    content: frozenset[str]
    numbers: frozenset[str]
    units: frozenset[str]
    dates: frozenset[str]
    names: frozenset[str]
    negated: tuple[str, ...]
    framed: frozenset[str]
    scoped: frozenset[str]
    asks: frozenset[str]
    goals: frozenset[tuple[str, str]]


def wording(text: str) -> Wording:
    """Read what of a text is compared. Any text will do; the time is linear in its length."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace("\u2019", "'").replace("\u02bc", "'")
    raw = _TOKEN.findall(text)
    reader = _Reader([token.lower() for token in raw])
    reader.read(raw)
    if _QUOTES.search(text) is not None:
        reader.names.extend(f'"{each.lower()}"' for each in _QUOTED.findall(text))
    return reader.wording()


@lru_cache(maxsize=16384)
def _look_up(token: str) -> tuple[str, bool, bool]:
    """Return a lower-case token's stem, whether it is a function word, whether it negates."""
    if token in NEGATIONS or token.endswith("n't"):
        return SPLIT.get(token, token[:-3] if token.endswith("n't") else ""), True, True
    token = token.partition("'")[0]
    return (token, True, False) if token in STOP else (base(token), False, False)


class _Reader:
    """Walks over the tokens of one text and keeps what a Wording needs."""

    __slots__ = (
        "content", "dates", "direction", "framed", "goals", "names", "negated", "numbers",
        "pending", "reach", "scoped", "stems", "taken", "tokens", "units", "words",
    )  # fmt: skip

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.stems: list[str] = []
        self.words: list[str] = []
        self.content: list[str] = []
        self.numbers: list[str] = []
        self.units: list[str] = []
        self.dates: list[str] = []
        self.names: list[str] = []
        self.negated: list[str] = []
        self.framed: list[str] = []
        self.scoped: list[str] = []
        self.goals: list[tuple[str, str]] = []
        self.taken: set[int] = set()
        self.reach = 0  # how many more words the last negation reaches
        self.pending = False  # the last negation has not met its word yet
        self.direction = ""  # a preposition that has not met its word yet

    def read(self, raw: list[str]) -> None:
        if not HINTS.isdisjoint(self.tokens) or any(map(numeric, self.tokens)):
            self.amounts()
        for at, token in enumerate(self.tokens):
            if token in _MARKS:
                self.reach = 0
                continue
            if at in self.taken:
                self.meet(base(token))
                continue
            stem, is_stop, negates = _look_up(token)
            if negates or (token in FAILING and self.tokens[at + 1 : at + 2] == ["to"]):
                self.negation(at, stem if negates else "")
                continue
            self.word(token, stem, is_stop)
            if at and not is_stop and raw[at][0].isupper() and self.tokens[at - 1] not in _ENDS:
                self.names.append(stem)
        if len(self.names) * 2 > len(self.content):  # a title, or shouting
            self.names.clear()

    def amounts(self) -> None:
        found, self.taken = quantities(self.tokens)
        for kind, value, unit in found:
            if kind in {"date", "time"}:
                self.dates.append(value)
            elif value:
                self.numbers.append(value)
            if unit:
                self.units.append(unit)

    def word(self, token: str, stem: str, is_stop: bool) -> None:
        self.words.append(stem)
        if token in ASKS:
            self.reach = 0
        if self.reach:
            self.reach -= 1
            self.scoped.append(stem)
        if not is_stop:
            self.content.append(stem)
            self.meet(stem)
        elif token in PERSONS:
            self.stems.append(PERSONS[token])
            self.point(PERSONS[token])
        elif token in DIRECTIONS:
            self.direction = token

    def meet(self, stem: str) -> None:
        self.stems.append(stem)
        if self.pending:
            self.negated[-1] = stem
            self.pending = False
        self.point(stem)

    def point(self, stem: str) -> None:
        if self.direction:
            self.goals.append((self.direction, stem))
            self.direction = ""

    def negation(self, at: int, verb: str) -> None:
        if verb:
            self.stems.append(verb)
            self.words.append(verb)
        if self.turns_nothing(at):
            return
        self.stems.append("not")
        if self.pending and self.reach == _REACH:  # two in a row cancel
            self.negated.pop()
            self.pending, self.reach = False, 0
            return
        self.reach = _REACH
        if framed := self.frame(at):
            self.framed.append(framed)
        else:
            self.negated.append("")
            self.pending = True

    def turns_nothing(self, at: int) -> bool:
        """Tell whether a negation is one in form only: "..., isn't it?", "No, it is"."""
        token, following = self.tokens[at], [*self.tokens[at + 1 : at + 3], "", ""]
        before = self.tokens[at - 1] if at else ""
        if not at and following[0] in _AFTER_NO and self.tokens[0] == "no":
            return True
        if following[0] in _MARKS or not following[0]:
            return before == "or"
        ends = not following[1] or (following[1] in _MARKS and at + 3 == len(self.tokens))
        is_tag = ends and following[0] in TAGS and (before == "," or following[1] == "?")
        return is_tag and (token.endswith("n't") or token in SPLIT)

    def frame(self, at: int) -> str:
        """Return the word whose negation denies little: "I don't know how to ...", "not only"."""
        following = self.tokens[at + 1 : at + 4]
        if self.tokens[at] in {"not", "no"} and following and following[0] in NOT_ONLY:
            return following[0]
        for place, token in enumerate(following, at + 1):
            if token in KNOWING:
                asks = not ASKS.isdisjoint(self.tokens[place + 1 : place + 4])
                return _look_up(token)[0] if asks else ""
        return ""

    def wording(self) -> Wording:
        return Wording(
            stems=tuple(self.stems),
            words=frozenset(self.words),
            content=frozenset(self.content),
            numbers=frozenset(self.numbers),
            units=frozenset(self.units),
            dates=frozenset(self.dates),
            names=frozenset(self.names),
            negated=tuple(sorted(self.negated)),
            framed=frozenset(self.framed),
            scoped=frozenset(self.scoped),
            asks=ASKS.intersection(self.words),
            goals=frozenset(self.goals),
        )
