"""SVG: a run report's pictures as text. Importing matplotlib takes longer than most runs' end may.

Coordinates are in px from the upper left corner; colours are the light mode's.
"""

import base64
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from ..pictures import GROUND, INK, LINES, themed
from ..pictures import styles as styles_of
from .kinds import DARK_COLOURS

SMALL, NORMAL = 11.0, 12.5
"""Sizes of text."""

_LETTER = 0.58
"""The mean width of a letter, by its size. System fonts differ, so this leaves some room."""

Box = tuple[float, float, float, float]
"""Left, top, width, height."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing on a ground of its own. `title`: what it shows, for those who do not see it."""

    title: str
    width: float
    height: float
    body: str

    @property
    def svg(self) -> str:
        """The picture as an element of a page that has `styles()`."""
        size = f'width="{_px(self.width)}" height="{_px(self.height)}"'
        view = f'viewBox="0 0 {_px(self.width)} {_px(self.height)}"'
        return self._element(f'{size} {view} role="img" aria-label="{_safe(self.title)}"', "")

    @property
    def data_uri(self) -> str:
        """The picture as the `data:` URI of an image, for a page of others."""
        size = f'width="{_px(self.width)}" height="{_px(self.height)}"'
        element = self._element(f'{size} xmlns="http://www.w3.org/2000/svg"', styles())
        return f"data:image/svg+xml;base64,{base64.b64encode(element.encode()).decode()}"

    def _element(self, attributes: str, inside: str) -> str:
        card = rect((0.5, 0.5, self.width - 1, self.height - 1), GROUND, radius=8, stroke=LINES)
        return f"<svg {attributes}>{inside}{card}{self.body}</svg>"


def styles() -> str:
    """Return the style that every picture of a report needs, once for a page."""
    return styles_of(DARK_COLOURS)


def text(
    x: float,
    y: float,
    said: str,
    *,
    colour: str = INK,
    size: float = SMALL,
    anchor: str = "start",
    bold: bool = False,
) -> str:
    """Write a text whose baseline is at `y`. `anchor`: what of it is at `x`: start, middle, end."""
    weight = ' font-weight="600"' if bold else ""
    at = f'x="{_px(x)}" y="{_px(y)}" font-size="{_px(size)}"'
    return f'<text {at} text-anchor="{anchor}"{weight} {_fill(colour)}>{_safe(said)}</text>'


def rect(box: Box, fill: str, *, radius: float = 0, stroke: str = "", title: str = "") -> str:
    """Draw a box. `title`: shown where the mouse rests on it, in pages that let it through."""
    x, y, width, height = (_px(each) for each in box)
    round_ = f' rx="{_px(radius)}"' if radius else ""
    style = _fill(fill, stroke)
    head = f'<rect x="{x}" y="{y}" width="{width}" height="{height}"{round_} {style}'
    return f"{head}><title>{_safe(title)}</title></rect>" if title else f"{head}/>"


def boxes(each: Iterable[Box], fill: str) -> str:
    """Draw many boxes of one colour as one path, which is much shorter."""
    drawn = "".join(_closed(each_) for each_ in each if each_[2] > 0 and each_[3] > 0)
    # Neighbours would show the seam between them.
    crisp = 'shape-rendering="crispEdges"'
    return f'<path d="{drawn}" {crisp} {_fill(fill)}/>' if drawn else ""


def _closed(box: Box) -> str:
    x, y, width, height = box
    # Edges are rounded, not sizes: what touches still does.
    across, down = round(x + width, 1) - round(x, 1), round(y + height, 1) - round(y, 1)
    return f"M{_px(x)} {_px(y)}h{_px(across)}v{_px(down)}h{_px(-across)}z"


def line(
    start: tuple[float, float], end: tuple[float, float], colour: str, *, width: float = 1
) -> str:
    """Draw a straight line."""
    ends = f'x1="{_px(start[0])}" y1="{_px(start[1])}" x2="{_px(end[0])}" y2="{_px(end[1])}"'
    return f'<line {ends} stroke-width="{_px(width)}" {_fill(None, colour)}/>'


def dot(x: float, y: float, radius: float, fill: str) -> str:
    """Draw a filled circle with an edge of the ground's colour."""
    at = f'cx="{_px(x)}" cy="{_px(y)}" r="{_px(radius)}"'
    return f"<circle {at} {_fill(fill, GROUND)}/>"


def fitted(said: str, width: float, size: float = SMALL) -> str:
    """Return a text, cut where it would be wider than that."""
    if width_of(said, size) <= width:
        return said
    kept = ""
    for letter in said:
        if width_of(f"{kept}{letter}…", size) > width:
            break
        kept += letter
    return f"{kept}…"


def width_of(said: str, size: float = SMALL) -> float:
    """Return about how wide a text is."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in said)
    return size * (_LETTER * (len(said) - wide) + wide)


def _fill(colour: str | None, stroke: str | None = None) -> str:
    # As a style: an attribute takes no variable in every browser.
    fill = "" if colour is None else f"fill:{themed(colour)}"
    edge = f"stroke:{themed(stroke)}" if stroke else ""
    return f'style="{";".join(filter(None, (fill, edge)))}"'


def _safe(said: str) -> str:
    # XML has no place for control characters, not even escaped.
    return escape("".join(each if each.isprintable() else " " for each in said))


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
