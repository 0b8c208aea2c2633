"""Gate: drift. Watches audited answers for a reliability that has fallen. No I/O.

Each audit of an accepted answer, right or wrong, feeds bets against "of every next audit, given
all before it, at least `floor` is right". A bet that the share fell to q multiplies its capital by
q / floor after a right one and (1 - q) / (1 - floor) after a wrong one: on average by 1 at most as
long as the claim holds. A unit is put in anew before each audit (Shiryaev & Roberts), so a fall is
seen whenever it comes. An alarm is raised when the mean capital of all bets reaches 1 / odds.

While the claim holds, capital minus audits does not rise on average, hence (Ville; Shin, Ramdas &
Rinaldo, e-detectors, arXiv 2203.03532): the first alarm comes after 1 / odds audits or more on
average, and within n audits with probability n * odds at most. Far above the floor alarms are much
rarer than that. This is about audits taken at random, whatever the share of answers audited.
"""

from typing import Any, Self

ODDS = 1e-4
"""False alarms per audit at most, at the floor itself."""

_WORSE = (1.2, 1.5, 2.0, 3.0)
"""What the bets are on: so many times the wrong answers that the floor allows."""

_LEAST = 0.25
"""No bet is on less than this part of the floor."""

_VERSION = 1


class Drift:
    """Evidence that fewer than `floor` of the audited answers are right. Not thread-safe."""

    def __init__(self, floor: float = 0.80, odds: float = ODDS) -> None:
        if not 0 < floor < 1 or not 0 < odds < 1:
            raise ValueError(f"floor {floor} and odds {odds} must lie between 0 and 1.")
        self.floor = floor
        self.odds = odds
        self.count = 0
        self.right = 0
        shares = [max(1 - worse * (1 - floor), _LEAST * floor) for worse in _WORSE]
        self._factors = (
            [(1 - share) / (1 - floor) for share in shares],
            [share / floor for share in shares],
        )
        self._needed = len(shares) / odds
        self._capital = [0.0] * len(shares)
        self._alarm = False

    @property
    def alarm(self) -> bool:
        """Whether it was raised. It stays: only a new calibration begins anew."""
        return self._alarm

    @property
    def evidence(self) -> float:
        """How far it is to an alarm: 0 at the start, 1 at the alarm."""
        return min(1.0, sum(self._capital) / self._needed)

    def add(self, right: bool) -> bool:
        """Take in an audit. Return whether there is an alarm, now or since before."""
        self.count += 1
        self.right += right
        if not self._alarm:
            factors = self._factors[right]
            self._capital = [
                (capital + 1) * factor
                for capital, factor in zip(self._capital, factors, strict=True)
            ]
            self._alarm = sum(self._capital) >= self._needed
        return self._alarm

    def state(self) -> dict[str, Any]:
        """Return all of it as JSON data."""
        return {
            "version": _VERSION,
            "floor": self.floor,
            "odds": self.odds,
            "count": self.count,
            "right": self.right,
            "capital": self._capital,
            "alarm": self._alarm,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Go on from what `state` gave. Raises ValueError for that of another version."""
        if state.get("version") != _VERSION or len(state["capital"]) != len(_WORSE):
            raise ValueError(
                f"A drift state of version {state.get('version')} cannot be read by this version "
                f"({_VERSION}). Calibrate anew: `tierflow judge calibrate`."
            )
        drift = cls(state["floor"], state["odds"])
        drift.count, drift.right = state["count"], state["right"]
        drift._capital = [float(each) for each in state["capital"]]
        drift._alarm = bool(state["alarm"])
        return drift
