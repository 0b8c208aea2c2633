"""Scale: where the ticks of an axis are, and how times are written. Knows no pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_UNITS = ((3600.0, "h", 7200.0), (60.0, "min", 120.0), (1.0, "s", 1.0), (0.001, "ms", 0.0))
"""Length in seconds, name, and from how many seconds on it is used."""

_SIXTIETHS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600)


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis, in the axis's own unit."""

    at: float
    label: str


def time_ticks(span_s: float, most: int = 6) -> list[Tick]:
    """Return ticks of an axis from 0 to `span_s` seconds, `most` at the most."""
    unit_s, name, _ = next(each for each in _UNITS if span_s >= each[2])
    step = _step(span_s / unit_s, most, sixtieths=unit_s > 1)
    count = int(span_s / unit_s / step * (1 + 1e-9))
    return [Tick(at * step * unit_s, f"{at * step:g} {name}") for at in range(count + 1)]


def _step(length: float, most: int, *, sixtieths: bool) -> float:
    least = max(length, 1e-9) / (most - 1)
    if sixtieths and least <= _SIXTIETHS[-1]:
        return next(step for step in _SIXTIETHS if step >= least)
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9))


def decades(values: Sequence[float]) -> tuple[float, float]:
    """Return the powers of ten between which all values above 0 lie; a decade at least."""
    above = [value for value in values if value > 0] or [1.0]
    low, high = math.floor(math.log10(min(above))), math.ceil(math.log10(max(above)))
    return 10.0**low, 10.0 ** max(high, low + 1)


def shown_ms(milliseconds: float) -> str:
    """Return a time for readers: about three digits, in the unit that suits it."""
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 99.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
