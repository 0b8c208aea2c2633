"""Pairs: both arms answered the same question, and a judge scored both. Exact at any number.

Harm bets that the candidate scores lower by more than `allowed` on average, no harm that it scores
lower by less than `margin`; each stake is fixed before the pair is seen, by the mean and spread of
those before it.

Source: betting, arXiv 2010.09686.
"""

from dataclasses import dataclass
from math import log1p

_MOST = 0.5
_PRIOR_SQUARE = 0.25


@dataclass(slots=True)
class Pairs:
    """Log evidence of harm and of none, pair by pair. Scores lie in [0, 1].

    `allowed`: a greater mean loss of score is harm. `margin`: less than that is none.
    """

    allowed: float
    margin: float
    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    harm: float = 0.0
    no_harm: float = 0.0

    def add(self, candidate: float, baseline: float) -> None:
        """Take in a pair."""
        gain = candidate - baseline
        self.harm += log1p(self._stake(-1, -self.allowed) * (-gain - self.allowed))
        self.no_harm += log1p(self._stake(1, self.margin) * (gain + self.margin))
        self.count += 1
        self.total += gain
        self.squares += gain * gain

    @property
    def mean(self) -> float:
        """The mean difference of scores, 0 without pairs."""
        return self.total / self.count if self.count else 0.0

    def _stake(self, sign: int, shift: float) -> float:
        """Return the share of the capital to bet on `sign` * gain + `shift` with the next pair."""
        expected = (sign * self.total + self.count * shift) / (self.count + 1)
        spread = self.squares - self.count * self.mean**2 + _PRIOR_SQUARE
        variance = max(spread, 0.0) / (self.count + 1)
        best = expected / (variance + expected**2) if variance + expected**2 else 0.0
        # No pair may cost all of the capital: a bet loses 1 + |shift| at most.
        return min(max(best, 0.0), _MOST)
