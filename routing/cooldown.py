"""Cooldown: who failed lately, in this process. Orders deployments; remembers Retry-After."""

import threading
from collections.abc import Callable, Sequence

from ..errors import AttemptError
from ..settings import Deployment
from .effects import Standing

_WARY_S = 30.0


class Cooldowns:
    """Remembers failures by deployment.

    After a failure a deployment stands behind its tier's others for 30 s. After a Retry-After it
    is not asked at all until that time has passed. `clock`: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wary_until: dict[str, float] = {}
        self._closed_until: dict[str, float] = {}
        self._lock = threading.Lock()

    def failed(self, deployment: Deployment, error: AttemptError) -> None:
        """Note a failure. One that only concerns the request itself is not held against it."""
        if not error.counts_against_deployment:
            return
        now = self._clock()
        with self._lock:
            self._wary_until[deployment.name] = now + _WARY_S
            if error.retry_after_s is not None:
                self._closed_until[deployment.name] = now + error.retry_after_s

    def replied(self, deployment: Deployment) -> None:
        """Note a reply: the deployment is well again.

        A Retry-After stands: the reply may have been under way before it was given.
        """
        if deployment.name in self._wary_until:
            with self._lock:
                self._wary_until.pop(deployment.name, None)

    def rank(self, deployments: Sequence[Deployment]) -> tuple[Standing, ...]:
        """Return standings: the well in their given order, then the wary, then the closed."""
        now = self._clock()
        with self._lock:
            standings = [
                (
                    max(0.0, self._closed_until.get(each.name, now) - now),
                    self._wary_until.get(each.name, now) > now,
                    position,
                )
                for position, each in enumerate(deployments)
            ]
        return tuple(
            Standing(deployments[position], wait_s) for wait_s, _, position in sorted(standings)
        )
