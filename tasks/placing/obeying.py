"""Obeying: which pool serves a request, where a policy says that another does. Asks no engine."""

import logging
import math
import time
from collections.abc import Callable, Collection

from ...errors import StoreError
from ...request import Request, Usage
from ...serving.validation import ConsultingPolicies, Policy
from .lengths import Lengths

_LOG = logging.getLogger("tierflow")

UnderWay = Callable[[str], int]
"""How many requests a pool has under way."""


class Obeying:
    """Policies, and what they need to know of requests. Thread-safe.

    `now`: Unix seconds, which policies expire by.
    """

    def __init__(self, policies: ConsultingPolicies, now: Callable[[], float] = time.time) -> None:
        self._policies, self._now = policies, now
        self._lengths = Lengths()
        self._told = False

    def takes_long(self, pool: str) -> bool:
        """Tell whether `served_by` reads the store."""
        return self._policies.is_due(pool)

    def others(self, pool: str) -> set[str]:
        """Return the pools that may serve requests of this one."""
        policy = self._policy(pool)
        return set() if policy is None else policy.others

    def served_by(
        self,
        pool: str,
        request: Request,
        under_way: UnderWay,
        replicas: int,
        known: Collection[str],
    ) -> str:
        """Return the pool that serves a request of `pool`: itself, or one that was adopted for it.

        What was measured at one replica holds for each, so what is under way is shared among
        `replicas`. `known`: the pools there are; a policy may name one that is gone.
        """
        policy, expected = self._policy(pool), self._lengths.expected(request)
        if policy is None or expected is None:
            return pool
        others = policy.others & set(known)
        at_once = 1 + sum(map(under_way, {pool, *others}))
        chosen = policy.pool_for(
            request.step,
            request.template or request.stratum,
            input_tokens=expected.input_tokens,
            output_tokens=expected.output_tokens,
            under_way=math.ceil(at_once / max(1, replicas)),
            now=self._now(),
        )
        return chosen if chosen in others else pool

    def replied(self, request: Request, usage: Usage) -> None:
        """Learn how long a step's requests and replies are."""
        self._lengths.replied(request, usage)

    def close(self) -> None:
        """Close the store; the next request opens it again."""
        self._policies.close()

    def _policy(self, pool: str) -> Policy | None:
        try:
            return self._policies.known(pool)
        except StoreError as error:
            if not self._told:
                self._told = True
                _LOG.warning("%s Until then each pool serves its requests itself.", error)
            return None
