"""Legend: what the colours and marks of a report's pictures mean, in as many rows as it takes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..pictures import GROUND, INK, PALE, QUIET
from .kinds import COLOURS, FAILED, KINDS, NAMES, Kind
from .svg import SMALL, rect, text, width_of

Mark = Literal["box", "hollow", "tick", "dot"]

ROW = 18
_SWATCH, _GAP, _BETWEEN = 10, 6, 16


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a legend."""

    name: str
    colour: str
    mark: Mark = "box"


STEP = Entry("step", PALE)
HIT = Entry("from the cache", INK, "tick")


def entries_of(kinds: Iterable[Kind], failed: Mark = "box") -> list[Entry]:
    """Return the entries of the kinds of call that there are, in their order."""
    found = set(kinds)
    return [
        Entry(NAMES[kind], COLOURS[kind], failed if kind == "failed" else "box")
        for kind in KINDS
        if kind in found
    ]


def legend(entries: Sequence[Entry], left: float, right: float, top: float) -> tuple[str, float]:
    """Draw entries between `left` and `right`; return the drawing and where it ends below."""
    drawn: list[str] = []
    x, y = left, top
    for each in entries:
        width = _SWATCH + _GAP + width_of(each.name)
        if x > left and x + width > right:
            x, y = left, y + ROW
        drawn.append(_mark(each, x, y))
        drawn.append(text(x + _SWATCH + _GAP, y + 9, each.name, colour=QUIET, size=SMALL))
        x += width + _BETWEEN
    return "".join(drawn), y + ROW


def _mark(each: Entry, x: float, y: float) -> str:
    match each.mark:
        case "box":
            return rect((x, y, _SWATCH, _SWATCH), each.colour, radius=2)
        case "hollow":
            return hollow((x + 0.5, y + 0.5, _SWATCH - 1, _SWATCH - 1))
        case "tick":
            return rect((x + 4, y, 2, _SWATCH), each.colour)
        case "dot":
            return rect((x + 1, y + 1, 8, 8), each.colour, radius=4)


def hollow(box: tuple[float, float, float, float], title: str = "") -> str:
    """Draw what failed: an edge around nothing, so that it differs by more than its colour."""
    return rect(box, GROUND, radius=1.5, stroke=FAILED, title=title)
