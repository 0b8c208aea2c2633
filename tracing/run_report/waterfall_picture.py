"""Waterfall picture: the steps of a run over time. Draws what waterfall.py has placed."""

from collections.abc import Iterable, Sequence

from ..ledger import Row
from ..pictures import INK, LINES, PALE, QUIET
from ..report import usd
from .kinds import COLOURS, FAILED, NAMES, Kind
from .legend import HIT, STEP, Entry, entries_of, hollow, legend
from .run import HITS, Run, is_hit
from .scale import shown_ms, time_ticks
from .svg import NORMAL, Box, Picture, boxes, fitted, line, rect, text
from .waterfall import BINS, MOST_LINES, Band, Bar, Line, bands_of, lines_of

_EDGE, _LEFT, _RIGHT = 16.0, 148.0, 136.0
_BAR, _LANE, _LINE = 12.0, 8.0, 21.0
_BAND, _CURVE, _TICKS = 62.0, 34.0, 6.0
_AXIS = 26.0


def waterfall_picture(run: Run, width: float) -> Picture:
    """Draw the run's steps over time: a line for each if they are few, else a band a name."""
    if len(run.rows) <= MOST_LINES:
        return _lines(lines_of(run), run, width)
    return _bands(bands_of(run), run, width)


def note(run: Run) -> str:
    """Say how the picture is to be read."""
    if len(run.rows) <= MOST_LINES:
        return (
            "A line is a step, pale from its beginning to its end; the coloured bars on it are the "
            "calls to models. Calls at the same time lie one below the other."
        )
    return (
        f"The run had {len(run.rows):,} steps, too many to draw one by one. A band is all steps of "
        f"a name: how many were under way, pale, and how many calls, in colours, in each of {BINS} "
        "parts of the time. Each band has a height of its own; the most at once stands on the "
        "right. Ticks below a band are answers from the cache, ticks above it failures."
    )


class _Chart:
    """Where time lies on the picture."""

    def __init__(self, run: Run, width: float) -> None:
        self.left, self.right, self.width = _EDGE + _LEFT, width - _EDGE - _RIGHT, width
        self.span_s = max(run.span_s, 0.001)

    def x(self, at_s: float) -> float:
        share = min(1.0, max(0.0, at_s / self.span_s))
        return self.left + share * (self.right - self.left)

    def box(self, begin_s: float, end_s: float, y: float, height: float) -> Box:
        """Return a box over a time, wide enough to be seen, within the axis."""
        width = max(1.5, self.x(end_s) - self.x(begin_s))
        return min(self.x(begin_s), self.right - width), y, width, height

    def axis(self, top: float, bottom: float) -> str:
        ticks = time_ticks(self.span_s)
        return "".join(
            line((self.x(each.at), top), (self.x(each.at), bottom), LINES)
            + text(self.x(each.at), bottom + 16, each.label, colour=QUIET, anchor="middle")
            for each in ticks
        )

    def right_text(self, y: float, said: str, colour: str = QUIET) -> str:
        room = _RIGHT - 10
        return text(self.width - _EDGE, y, fitted(said, room), colour=colour, anchor="end")


def _lines(lines: Sequence[Line], run: Run, width: float) -> Picture:
    chart = _Chart(run, width)
    kinds: set[Kind] = {bar.kind for each in lines for bar in each.bars}
    marks = [STEP, *entries_of(kinds, "hollow")]
    head, top = _head(marks, any(is_hit(each.row) for each in lines), width)
    drawn, y = list[str](), top
    for each in lines:
        drawn.append(_line(each, chart, y))
        y += _LINE + _LANE * (each.lanes - 1)
    return Picture(
        f"{len(lines)} steps over {shown_ms(1000 * run.span_s)}",
        width,
        y + _AXIS,
        head + chart.axis(top - 4, y) + "".join(drawn),
    )


def _line(each: Line, chart: _Chart, y: float) -> str:
    row, middle = each.row, y + _LINE / 2
    label = text(_EDGE, middle + 4, fitted(row.step, _LEFT - 8, NORMAL), size=NORMAL)
    said = chart.right_text(middle + 4, _said(row), QUIET if row.outcome == "ok" else FAILED)
    if is_hit(row):
        x = chart.box(each.begin_s, each.begin_s, 0, 0)[0]
        return label + rect((x, y + 3, 2, _LINE - 6), INK, title=HITS[row.cache]) + said
    height = _BAR + _LANE * (each.lanes - 1)
    whole = chart.box(each.begin_s, each.end_s, y + (_LINE - _BAR) / 2, height)
    around = rect(
        whole, PALE, radius=2, stroke="" if row.outcome == "ok" else FAILED, title=_said(row)
    )
    return label + around + "".join(_bar(bar, each.lanes, whole, chart) for bar in each.bars) + said


def _bar(bar: Bar, lanes: int, whole: Box, chart: _Chart) -> str:
    height = whole[3] / lanes
    x, y, width, height = chart.box(
        bar.begin_s, bar.end_s, whole[1] + bar.lane * height + 1.5, height - 3
    )
    title = f"{NAMES[bar.kind]}, {shown_ms(1000 * (bar.end_s - bar.begin_s))}"
    if bar.kind == "failed":
        return hollow((x + 0.5, y + 0.5, max(1.0, width - 1), height - 1), title)
    return rect((x, y, width, height), COLOURS[bar.kind], radius=1.5, title=title)


def _said(row: Row) -> str:
    if row.outcome != "ok":
        return row.outcome
    if is_hit(row):
        return HITS[row.cache]
    price = "no price" if row.cost_usd is None else usd(row.cost_usd)
    return f"{shown_ms(row.latency_ms)} · {price}"


def _bands(bands: Sequence[Band], run: Run, width: float) -> Picture:
    chart = _Chart(run, width)
    marks = [STEP, *entries_of(kind for each in bands for kind in each.calls)]
    head, top = _head(marks, any(sum(each.hits) for each in bands), width)
    bottom = top + _BAND * len(bands)
    drawn = (_band(each, chart, top + _BAND * at) for at, each in enumerate(bands))
    return Picture(
        f"{len(run.rows):,} steps over {shown_ms(1000 * run.span_s)}, by name",
        width,
        bottom + _AXIS,
        head + chart.axis(top - 4, bottom) + "".join(drawn),
    )


def _band(band: Band, chart: _Chart, y: float) -> str:
    base = y + 12 + _CURVE
    per_px = max(band.most, 1e-9) / _CURVE
    width = (chart.right - chart.left) / BINS

    def columns(heights: Iterable[float], floors: Iterable[float]) -> list[Box]:
        return [
            (chart.left + at * width, base - (low + height) / per_px, width, height / per_px)
            for at, (height, low) in enumerate(zip(heights, floors, strict=True))
        ]

    drawn = [boxes(columns(band.steps, [0.0] * BINS), PALE)]
    floors = [0.0] * BINS
    for kind, heights in band.calls.items():
        drawn.append(boxes(columns(heights, floors), COLOURS[kind]))
        floors = [low + height for low, height in zip(floors, heights, strict=True)]
    drawn.append(line((chart.left, base), (chart.right, base), QUIET))
    drawn.append(_ticks(band.hits, chart, base + 2, INK))
    drawn.append(_ticks(band.failures, chart, y + 4, FAILED))
    drawn.append(text(_EDGE, y + 24, fitted(band.name, _LEFT - 8, NORMAL), size=NORMAL))
    drawn.append(text(_EDGE, y + 39, fitted(_counted(band), _LEFT - 8), colour=QUIET))
    if failures := sum(band.failures):
        drawn.append(text(_EDGE, y + 53, f"{failures:,} failures", colour=FAILED))
    most = f"{band.most:,.1f}" if band.most < 10 else f"{band.most:,.0f}"
    drawn.append(chart.right_text(y + 28, f"up to {most} at once"))
    return "".join(drawn)


def _ticks(counts: Sequence[int], chart: _Chart, y: float, colour: str) -> str:
    width = (chart.right - chart.left) / BINS
    ticks = ((chart.left + at * width, y, width - 1, _TICKS) for at, n in enumerate(counts) if n)
    return boxes(ticks, colour)


def _counted(band: Band) -> str:
    hits = sum(band.hits)
    return f"{band.answers:,}" + (f" · {hits:,} hits" if hits else "")


def _head(marks: Sequence[Entry], has_hits: bool, width: float) -> tuple[str, float]:
    entries = [*marks, HIT] if has_hits else marks
    drawn, bottom = legend(entries, _EDGE, width - _EDGE, _EDGE)
    return drawn, bottom + 10
