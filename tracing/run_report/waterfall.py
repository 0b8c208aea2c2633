"""Waterfall: when the steps of a run ran, and the calls within them. Places bars; draws nothing.

A short run has a line for each step. A longer one would be a hairball: then each step's name has
one band, with how much was under way at a time.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from ..ledger import Call, Row
from .kinds import KINDS, Kind, kind_of
from .run import Run, is_hit, span_of

MOST_LINES = 40
BINS = 120
_MOST_BANDS = 12
_ROUNDING_S = 0.002
"""The ledger's times are whole milliseconds: what overlaps by less came one after the other."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A call, in seconds since the run began. Bars of the same lane do not overlap."""

    kind: Kind
    begin_s: float
    end_s: float
    lane: int


@dataclass(frozen=True, slots=True)
class Line:
    """One step and its calls. `lanes`: how many calls were under way at once, at least 1."""

    row: Row
    begin_s: float
    end_s: float
    bars: Sequence[Bar]
    lanes: int


@dataclass(frozen=True, slots=True)
class Band:
    """All steps of one name, in bins of the same length.

    `answers`: how many ended, well or badly. `steps`, `calls`: the mean number under way in each
    bin, `calls` by kind, for kinds that there are. `hits`, `failures`: how many answers came from
    a cache, and how many calls or steps failed, by the bin in which they ended.
    """

    name: str
    answers: int
    steps: Sequence[float]
    calls: dict[Kind, Sequence[float]]
    hits: Sequence[int]
    failures: Sequence[int]

    @property
    def most(self) -> float:
        """The most that was under way in any bin."""
        stacked = [math.fsum(column) for column in zip(*self.calls.values(), strict=True)]
        return max([*self.steps, *stacked])


def lines_of(run: Run) -> list[Line]:
    """Return a line for each step, in the order in which they began."""
    lines = (_line(row, run.calls.get(row.ref, ()), run.began) for row in run.rows)
    return sorted(lines, key=lambda line: line.begin_s)


def _line(row: Row, calls: Sequence[Call], began: float) -> Line:
    begin, end = _since(began, row)
    spans: list[tuple[Kind, float, float]] = [
        (kind_of(call), *_since(began, call)) for call in calls
    ]
    bars = list(_in_lanes(spans))
    return Line(row, begin, end, bars, 1 + max((bar.lane for bar in bars), default=0))


def _in_lanes(spans: Iterable[tuple[Kind, float, float]]) -> Iterator[Bar]:
    """Put each into the first lane that is free when it begins."""
    ends: list[float] = []
    for kind, begin, end in sorted(spans, key=lambda span: span[1:]):
        free = (at for at, until in enumerate(ends) if until <= begin + _ROUNDING_S)
        lane = next(free, len(ends))
        if lane == len(ends):
            ends.append(begin)
        start = max(begin, ends[lane])
        ends[lane] = max(start, end)
        yield Bar(kind, start, ends[lane], lane)


def bands_of(run: Run) -> list[Band]:
    """Return a band for each step's name in order of appearance; the smallest share the last."""
    by_name = _grouped(run.rows)
    kept = sorted(by_name, key=lambda name: -len(by_name[name]))
    if len(kept) > _MOST_BANDS:
        kept = kept[: _MOST_BANDS - 1]
    bands = [_band(name, by_name[name], run) for name in by_name if name in set(kept)]
    others = [name for name in by_name if name not in set(kept)]
    if others:
        rest = [row for name in others for row in by_name[name]]
        bands.append(_band(f"{len(others)} other steps", rest, run))
    return bands


def _grouped(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.step, []).append(row)
    return found


def _band(name: str, rows: Sequence[Row], run: Run) -> Band:
    calls = [call for row in rows for call in run.calls.get(row.ref, ())]
    by_kind: dict[Kind, list[Call]] = {
        kind: list(found)
        for kind, found in groupby(
            sorted(calls, key=lambda call: KINDS.index(kind_of(call))), kind_of
        )
    }
    both: list[Row | Call] = [*rows, *calls]
    failed = [each for each in both if each.outcome != "ok"]
    return Band(
        name=name,
        answers=len(rows),
        steps=_under_way(rows, run),
        calls={kind: _under_way(found, run) for kind, found in by_kind.items()},
        hits=_ended([row for row in rows if is_hit(row)], run),
        failures=_ended(failed, run),
    )


def bin_s(run: Run) -> float:
    """Return how long a bin is, above 0."""
    return max(run.span_s, 0.001) / BINS


def _under_way(each: Iterable[Row | Call], run: Run) -> list[float]:
    """Return the mean number under way in each bin; times the bin's length they are all time."""
    width = bin_s(run)
    changes = [0.0] * (BINS + 1)
    parts = [0.0] * BINS
    for one in each:
        begin, end = (at / width for at in _since(run.began, one))
        first, last = _bin(begin), _bin(end)
        if first == last:
            parts[first] += end - begin
            continue
        parts[first] += first + 1 - begin
        parts[last] += end - last
        changes[first + 1] += 1
        changes[last] -= 1
    whole = 0.0
    for at in range(BINS):
        whole += changes[at]
        parts[at] += whole
    return parts


def _ended(each: Iterable[Row | Call], run: Run) -> list[int]:
    counts = [0] * BINS
    for one in each:
        counts[_bin(_since(run.began, one)[1] / bin_s(run))] += 1
    return counts


def _bin(at: float) -> int:
    return min(BINS - 1, max(0, int(at)))


def _since(began: float, each: Row | Call) -> tuple[float, float]:
    begin, end = span_of(each)
    return begin - began, end - began
