"""Sessions: the replica that each run's requests went to last. Pure: the clock is an argument."""

from collections import OrderedDict

_MOST = 65_536


class Sessions:
    """Pins of sessions to replicas, for `ttl_s` after the last request of each."""

    def __init__(self, ttl_s: float, most: int = _MOST) -> None:
        self._ttl_s = ttl_s
        self._most = most
        # The pin that was not used for longest is first.
        self._pins: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pins)

    def of(self, session: str, now: float) -> str | None:
        """Return the replica that a session is pinned to, if it is."""
        name, until = self._pins.get(session, (None, now))
        return name if until > now else None

    def pin(self, session: str, name: str, now: float) -> None:
        """Pin a session to a replica, whatever it was pinned to before."""
        self._pins[session] = (name, now + self._ttl_s)
        self._pins.move_to_end(session)
        while len(self._pins) > self._most or next(iter(self._pins.values()))[1] <= now:
            self._pins.popitem(last=False)
