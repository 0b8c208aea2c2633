"""Limiter: how many calls to one deployment may be under way at once. Pure: takes the time.

Additive increase, multiplicative decrease (Chiu and Jain, 1989), with TCP's slow start (RFC 5681)
until the first sign of too many. Signs are refusals (HTTP 429), timeouts and overload, replies that
stay longer than is usual (stays.py), and a queue that stands in the engine: as in CoDel (RFC 8289)
one that was there at two looks, because a short one is how engines work.
"""

import math

from .stays import Finding, Sample, Stays

FIRST = 8
"""So many at once to begin with: few providers refuse as many, and three rounds make 64 of them."""
_CUT = 0.7
"""As TCP CUBIC (RFC 9438): half would leave places empty for long."""
_REMEMBERED_S = 30.0
_ALIVE_S = 60.0
_FIRST_HOLD_S = 0.1
MOST_HOLD_S = 5.0


class Limiter:
    """A limit between 1 and `most`. All times: monotonic seconds.

    A limit that nobody uses is not raised: that nothing went wrong says nothing then.
    """

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._limit = min(float(FIRST), self._most)
        self._stays = Stays()
        self._is_searching = True
        self._cut_at, self._is_settled = -math.inf, True
        self._ceiling, self._ceiling_ends = math.inf, -math.inf
        self._replied_at, self._hold_ends, self._holds = -math.inf, -math.inf, 0
        self._queue = 0.0

    @property
    def places(self) -> int:
        """How many calls may be under way."""
        return max(1, int(self._limit + 1e-9))

    def hold_s(self, now: float) -> float:
        """Return how long no call is to be sent: one that was alone has been refused."""
        return max(0.0, self._hold_ends - now)

    def replied(
        self, now: float, sent_at: float, under_way: int, sample: Sample | None = None
    ) -> None:
        """Note a reply. `under_way`: with it. `sample`: what it took, None for unknown."""
        self._replied_at, self._holds = now, 0
        self._is_settled = self._is_settled or sent_at >= self._cut_at
        finding = self._stays.add(sample) if sample is not None else None
        if finding is not None and self._heeds(now, sent_at, finding):
            return
        if under_way >= self.places:
            self._limit += 1.0 if self._is_searching else 1.0 / self._limit
            self._bound(now)

    def refused(self, now: float, sent_at: float, under_way: int) -> bool:
        """Note that the provider has too many calls. `under_way`: with the one it refused.

        Return whether it may well be answered later: others are, or were a moment ago.
        """
        is_alive = under_way > 1 or now - self._replied_at < _ALIVE_S
        if under_way <= 1:
            self._hold_ends = now + min(MOST_HOLD_S, _FIRST_HOLD_S * 2**self._holds)
            self._holds += 1
        # Of calls that were sent together each refusal says that the limit is lower still.
        self._cap(now, under_way - 1.0)
        self._cut(now, sent_at, _CUT)
        return is_alive

    def strained(self, now: float, sent_at: float) -> None:
        """Note a call that timed out, or that an overloaded deployment could not take."""
        self._cut(now, sent_at, _CUT)

    def queued(self, now: float, waiting: float, under_way: int) -> None:
        """Note how many requests wait in the engine itself. `under_way`: ours, in all."""
        standing, self._queue = min(self._queue, waiting), waiting
        if standing < 1 or under_way <= 1 or not self._is_settled:
            return
        # Who else sends there is not known, so at most half is given up at a time.
        runs = max(under_way - standing, self._limit / 2)
        if runs < self._limit:
            self._cap(now, runs)
            self._cut(now, now, runs / self._limit)

    def _heeds(self, now: float, sent_at: float, finding: Finding) -> bool:
        """Do what a window of replies says. Tell whether that was to lower the limit."""
        if finding.is_long:
            self._cut(now, sent_at, finding.cut)
            return True
        if finding.enough is not None and finding.enough < self._limit:
            self._is_searching = False
            self._cap(now, math.ceil(finding.enough))
            self._bound(now)
            return True
        return False

    def _cut(self, now: float, sent_at: float, factor: float) -> None:
        self._is_searching = False
        # What was sent before the last cut says nothing about what that has changed.
        if sent_at >= self._cut_at:
            self._limit *= factor
            self._cut_at, self._is_settled = now, False
        self._bound(now)

    def _cap(self, now: float, level: float) -> None:
        """Remember for a while that no more than so many are of use."""
        before = self._ceiling if now < self._ceiling_ends else math.inf
        self._ceiling, self._ceiling_ends = min(before, max(1.0, level)), now + _REMEMBERED_S

    def _bound(self, now: float) -> None:
        most = min(self._most, self._ceiling if now < self._ceiling_ends else self._most)
        self._limit = min(most, max(1.0, self._limit))
