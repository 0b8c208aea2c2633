"""Backlog: what a replica still has to read, guessed from what was sent and what was heard. Pure.

A replica is taken to read one request after the other, in the order they came, at a pace that is
learned. What is heard of it is late and coarse: it puts that guess right where the two disagree.
"""

from collections import deque
from itertools import islice
from math import ceil, inf
from typing import NamedTuple

_USUAL_PACE = 8_000.0
_PRIOR_S = 0.5
_FLEET_PRIOR_S = 5.0
_LEAST = 1e-6
_MOST_QUEUED = 4_096
_MOST_SINCE = 256
_KEPT = 0.98
"""Of what was seen of a pace before, this much counts after the next sight of it."""


class Pace:
    """How fast requests are read, in tokens a second.

    `beyond`: a wider one that this is taken from, as long as little was seen of this one.
    """

    def __init__(self, beyond: "Pace | None" = None) -> None:
        self._beyond = beyond
        # Before anything is seen, the widest one is as if it had seen a usual engine for a moment.
        self._seconds = _PRIOR_S if beyond is None else 0.0
        self._tokens = _USUAL_PACE * self._seconds
        self.per_s: float = _USUAL_PACE if beyond is None else beyond.per_s
        """Tokens a second; never 0."""

    def seen(self, tokens: float, seconds: float) -> None:
        """Learn that so many tokens took so long."""
        self._tokens = _KEPT * self._tokens + tokens
        self._seconds = _KEPT * self._seconds + seconds
        if self._beyond is None:
            self.per_s = max(_LEAST, self._tokens / self._seconds)
            return
        self._beyond.seen(tokens, seconds)
        self.follow()

    def follow(self) -> None:
        """Follow the wider one, of which others may have taught since."""
        if self._beyond is not None:
            known = self._tokens + self._beyond.per_s * _FLEET_PRIOR_S
            self.per_s = max(_LEAST, known / (self._seconds + _FLEET_PRIOR_S))


class _Sent(NamedTuple):
    ticket: int
    at: float
    tokens: float


class _Event(NamedTuple):
    """At a time no fewer than `least` tokens were left, no more than `most`, and `sent` came."""

    at: float
    sent: float
    least: float = 0.0
    most: float = inf


class Backlog:
    """What one replica still has to read. Times are of one clock, in seconds."""

    def __init__(self, pace: Pace, now: float) -> None:
        self.done_at = now
        """When it has read everything, if nothing more is sent. It may have been before."""
        self._pace = pace
        # Sent, and not known to be read; in the order they were sent.
        self._queue: deque[_Sent] = deque(maxlen=_MOST_QUEUED)
        # Tokens left at a time in the past, and what happened since: hearing of a time in between
        # lets the guess start anew from there.
        self._left = 0.0
        self._left_at = now
        self._since: deque[_Event] = deque()
        # What others had sent, when that was heard.
        self._others = 0.0
        self._others_at = now
        self._read_at = now
        self._tells_first_tokens = False
        self._mean_tokens = 0.0

    def sent(self, ticket: int, tokens: float, now: float) -> None:
        """Count a request that was just sent, by the tokens that must be read anew."""
        self._pace.follow()
        self._mean_tokens += (tokens - self._mean_tokens) / (16 if self._mean_tokens else 1)
        least = 0.0
        if self._tells_first_tokens and self._queue:
            # All but the first wait however much time went by: a replica may have come to a stop.
            least = sum(each.tokens for each in islice(self._queue, 1, None))
        self._queue.append(_Sent(ticket, now, tokens))
        self._happened(_Event(now, tokens, least))

    def began(self, ticket: int, now: float) -> None:
        """Note that the first token of a request came, so all of it was read."""
        self._tells_first_tokens = True
        self._read(ticket, now, teaches=True)

    def ended(self, ticket: int, now: float) -> None:
        """Note that a request ended well. Without its first token that is when it was read."""
        self._read(ticket, now, teaches=True)

    def failed(self, ticket: int, now: float) -> None:
        """Note that a request failed. That tells nothing about the pace."""
        self._read(ticket, now, teaches=False)

    def heard(self, waiting: float, at: float) -> None:
        """Note how many requests waited at a time in the past. One more may have been in reading.

        Of what we had sent until then, the last ones wait. What waits beyond that others sent.
        """
        if at < self._others_at:
            return
        before = sum(1 for each in self._queue if each.at < at)
        ours = min(before, ceil(waiting))
        for _ in range(before - ours - 1):
            self._queue.popleft()
        known = list(islice(self._queue, min(before, ours + 1)))
        self._others, self._others_at = max(0.0, waiting - before) * self._mean_tokens, at
        least = self._others + sum(each.tokens for each in known[len(known) - ours :])
        most = self._others + sum(each.tokens for each in known)
        if self._others:
            most += self._mean_tokens
        if at < self._left_at:
            return
        left, given, busy_s = self._guess(at)
        right = min(max(left, least), most)
        if right != left and not self._others and busy_s > 0:
            self._pace.seen(max(0.0, given - right), busy_s)
        self._start(right, at)

    def _guess(self, at: float) -> tuple[float, float, float]:
        """Return tokens left at a time, what there was to read by then, and seconds of reading."""
        left, then, given, busy_s = self._left, self._left_at, self._left, 0.0
        pace = self._pace.per_s
        for event in self._since:
            if event.at >= at:
                break
            busy_s += min(event.at - then, left / pace)
            rest = max(0.0, left - pace * (event.at - then))
            left = min(max(rest, event.least), event.most)
            given += event.sent + left - rest
            left += event.sent
            then = event.at
        busy_s += min(at - then, left / pace)
        return max(0.0, left - pace * (at - then)), given, busy_s

    def _read(self, ticket: int, now: float, *, teaches: bool) -> None:
        request = next((each for each in self._queue if each.ticket == ticket), None)
        if request is None:
            return
        self._queue.remove(request)
        if teaches:
            if (took_s := now - max(request.at, self._read_at)) > 0:
                self._pace.seen(request.tokens, took_s)
            self._read_at = now
            if request.at >= self._others_at:
                # It came after what others had sent, so that was read before it.
                self._others = 0.0
        most = self._others + sum(each.tokens for each in self._queue)
        self._happened(_Event(now, 0.0, most=most))

    def _happened(self, event: _Event) -> None:
        self._since.append(event)
        self._go_on(event)
        if len(self._since) > _MOST_SINCE:
            self._start(max(0.0, self.done_at - event.at) * self._pace.per_s, event.at)
            self._since.clear()

    def _start(self, left: float, at: float) -> None:
        self._left, self._left_at = left, at
        self.done_at = at + left / self._pace.per_s
        while self._since and self._since[0].at < at:
            self._since.popleft()
        for event in self._since:
            self._go_on(event)

    def _go_on(self, event: _Event) -> None:
        pace = self._pace.per_s
        left = max(0.0, self.done_at - event.at) * pace
        left = min(max(left, event.least), event.most) + event.sent
        self.done_at = event.at + left / pace
