"""Step picture: cost, latency and quality of each step, side by side."""

import math
from collections.abc import Sequence

from ..pictures import LINES, MAIN, PALE, QUIET, THIRD, WASH
from ..report import usd
from .figures import StepFigures
from .kinds import COLOURS, Kind
from .legend import Entry, entries_of, legend
from .scale import decades, shown_ms
from .svg import NORMAL, Picture, dot, fitted, line, rect, text

MOST_STEPS = 16
_EDGE, _LEFT, _GAP = 16.0, 120.0, 14.0
_ROW, _BAR, _AXIS = 30.0, 14.0, 24.0
_SAID = {"cost": 76.0, "latency": 112.0, "quality": 104.0}
"""Width of the words at the right of each panel."""

_LEAST_MS = 0.1
"""What is shorter is written as 0.0 ms, and lies at the axis's beginning."""

_STRONGEST = Entry("the same tokens at the strongest tier's price", WASH)


class _Panel:
    """A part of the picture in which each step has a mark, and words at its right."""

    def __init__(self, left: float, right: float, said: float) -> None:
        self.left, self.right, self.edge = left, right - said, right

    def x(self, share: float) -> float:
        return self.left + min(1.0, max(0.0, share)) * (self.right - self.left)

    def head(self, y: float, said: str) -> str:
        return text(self.left, y, said, bold=True)

    def said(self, y: float, said: str) -> str:
        return text(self.right + 8, y + 4, fitted(said, self.edge - self.right - 8), colour=QUIET)


def chosen(steps: Sequence[StepFigures]) -> list[StepFigures]:
    """Return the steps that the picture shows, in their order: those that cost most, if many."""
    by_weight = sorted(
        range(len(steps)),
        key=lambda at: (-steps[at].summary.cost_usd, -steps[at].summary.calls, at),
    )
    return [steps[at] for at in sorted(by_weight[:MOST_STEPS])]


def step_picture(steps: Sequence[StepFigures], width: float) -> Picture:
    """Draw a row for each step: what it cost, how long it took, how good it was found."""
    shown = chosen(steps)
    is_scored = any(each.score for each in shown)
    names = ("cost", "latency", *(("quality",) if is_scored else ()))
    panels = dict(zip(names, _panels(names, width), strict=True))
    head, top = _legend(shown, width)
    top += 28
    bottom = top + _ROW * len(shown)
    drawn = [head]
    drawn += [
        panels["cost"].head(top - 12, "cost"),
        panels["latency"].head(top - 12, "latency, p50 to p95"),
    ]
    drawn += [_names(shown, top), _costs(shown, panels["cost"], top)]
    drawn.append(_latencies(shown, panels["latency"], top, bottom))
    if is_scored:
        drawn.append(panels["quality"].head(top - 12, "quality, 0 to 1"))
        drawn.append(_scores(shown, panels["quality"], top, bottom))
    title = f"Cost, latency{' and quality' if is_scored else ''} of {len(shown)} steps"
    return Picture(title, width, bottom + _AXIS, "".join(drawn))


def _panels(names: Sequence[str], width: float) -> list[_Panel]:
    weights = {"cost": 1.0, "latency": 1.0, "quality": 0.6}
    room = width - 2 * _EDGE - _LEFT - _GAP * (len(names) - 1) - sum(_SAID[name] for name in names)
    whole = sum(weights[name] for name in names)
    found: list[_Panel] = []
    left = _EDGE + _LEFT
    for name in names:
        right = left + room * weights[name] / whole + _SAID[name]
        found.append(_Panel(left, right, _SAID[name]))
        left = right + _GAP
    return found


def _legend(shown: Sequence[StepFigures], width: float) -> tuple[str, float]:
    kinds: set[Kind] = {kind for each in shown for kind in each.costs}
    strongest = [_STRONGEST] if any(each.summary.strongest_usd for each in shown) else []
    entries = [*entries_of(kinds), *strongest]
    return legend(entries, _EDGE, width - _EDGE, _EDGE) if entries else ("", _EDGE)


def _names(shown: Sequence[StepFigures], top: float) -> str:
    return "".join(
        text(_EDGE, _middle(top, at) + 4, fitted(each.summary.step, _LEFT - 8, NORMAL), size=NORMAL)
        for at, each in enumerate(shown)
    )


def _costs(shown: Sequence[StepFigures], panel: _Panel, top: float) -> str:
    most = max(
        *(each.summary.strongest_usd or 0.0 for each in shown),
        *(each.summary.cost_usd for each in shown),
        1e-12,
    )
    drawn: list[str] = []
    for at, each in enumerate(shown):
        middle, summary = _middle(top, at), each.summary
        if summary.strongest_usd:
            width = panel.x(summary.strongest_usd / most) - panel.left
            drawn.append(rect((panel.left, middle - _BAR / 2, width, _BAR), WASH, radius=2))
        paid = 0.0
        for kind, cost in each.costs.items():
            left, right = panel.x(paid / most), panel.x((paid + cost) / most)
            box = (left, middle - _BAR / 2 + 2, max(1.0, right - left), _BAR - 4)
            drawn.append(rect(box, COLOURS[kind], title=f"{kind}: {usd(cost)}"))
            paid += cost
        drawn.append(panel.said(middle, _cost(each)))
    return "".join(drawn)


def _cost(each: StepFigures) -> str:
    summary = each.summary
    if summary.unpriced == summary.calls:
        return "no price"
    return usd(summary.cost_usd) + (f" +{summary.unpriced:,}?" if summary.unpriced else "")


def _latencies(shown: Sequence[StepFigures], panel: _Panel, top: float, bottom: float) -> str:
    ends_ms = [ms for each in shown for ms in (each.summary.p50_ms, each.summary.p95_ms)]
    low, high = decades([ms for ms in ends_ms if ms >= _LEAST_MS])

    def x(ms: float) -> float:
        return panel.x(math.log10(max(ms, low) / low) / math.log10(high / low))

    drawn = list[str]()
    ticks = [low * 10.0**power for power in range(round(math.log10(high / low)) + 1)]
    for at, ms in enumerate(ticks):
        drawn.append(line((x(ms), top), (x(ms), bottom), LINES))
        if len(ticks) <= 4 or at % 2 == 0:
            drawn.append(text(x(ms), bottom + 15, _decade(ms), colour=QUIET, anchor="middle"))
    for at, each in enumerate(shown):
        middle = _middle(top, at)
        left, right = x(each.summary.p50_ms), x(each.summary.p95_ms)
        drawn.append(rect((left, middle - 2, max(1.0, right - left), 4), PALE, radius=2))
        drawn.append(rect((right - 1, middle - 5, 2, 10), QUIET))
        drawn.append(dot(left, middle, 5, MAIN))
        ends = dict.fromkeys((shown_ms(each.summary.p50_ms), shown_ms(each.summary.p95_ms)))
        drawn.append(panel.said(middle, " to ".join(ends)))
    return "".join(drawn)


def _decade(ms: float) -> str:
    for unit_ms, name in ((1000.0, "s"), (1.0, "ms")):
        if ms >= unit_ms:
            return f"{ms / unit_ms:,.0f} {name}"
    return f"{ms:g} ms"


def _scores(shown: Sequence[StepFigures], panel: _Panel, top: float, bottom: float) -> str:
    drawn = [line((panel.x(at), top), (panel.x(at), bottom), LINES) for at in (0, 0.5, 1)]
    drawn += [
        text(panel.x(at), bottom + 15, f"{at:g}", colour=QUIET, anchor="middle")
        for at in (0, 0.5, 1)
    ]
    for at, each in enumerate(shown):
        middle = _middle(top, at)
        if each.score is None:
            drawn.append(panel.said(middle, "not scored"))
            continue
        mean, count = each.score
        drawn.append(line((panel.x(0), middle), (panel.x(mean), middle), PALE, width=2))
        drawn.append(dot(panel.x(mean), middle, 5, THIRD))
        drawn.append(panel.said(middle, f"{mean:.2f} of {count:,}"))
    return "".join(drawn)


def _middle(top: float, at: int) -> float:
    return top + _ROW * at + _ROW / 2
