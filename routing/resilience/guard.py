"""Guard: who may be asked, and when, in this process. Breakers, rate limits and hedges as one.

Carries out Rank and Admit, and is told how each Ask ended. Calls nobody and never waits.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from ...errors import AttemptError, AttemptTimeoutError, RateLimitedError, StoreError
from ...request import Reply
from ...settings import BreakerSettings, Deployment
from ..effects import Admission, Admit, Ask, Rank, Standing
from .health import Condition, Health
from .hedging import HedgeShares
from .limits import Limits
from .shared import SharedStates

_LOG = logging.getLogger("tierflow")

Replicas: TypeAlias = Mapping[str, Deployment]
"""The replicas of a pool by their `instance`."""


class Guard:
    """What decides in this process who may be asked. Thread-safe.

    `clock`: monotonic seconds. `shared`: what all workers of a store have in common; None for
    this process alone. `replicas`: returns who serves the pool of a deployment, as far as is known.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        rules: BreakerSettings | None = None,
        shared: SharedStates | None = None,
        replicas: Callable[[Deployment], Replicas] = lambda _: {},
    ) -> None:
        self.clock = clock
        self._replicas = replicas
        self._shared = shared
        self._told = False
        self.health = Health(clock, rules, shared, self._lost)
        self.limits = Limits(clock, shared, self._lost)
        self._hedges = HedgeShares()

    @property
    def is_due(self) -> bool:
        """Whether the next `rank` reads the shared place."""
        return self.health.is_due

    @property
    def has_news(self) -> bool:
        """Whether there is something to publish."""
        return self.health.has_news

    def rank(self, rank: Rank) -> tuple[Standing, ...]:
        """Order deployments: the well as they were given, the wary, the slow, who must wait."""
        standings = [
            (*self._standing(rank, position, condition), position)
            for position, condition in enumerate(self._conditions(rank))
        ]
        standings.sort(key=lambda each: (each[0].delay_s, each[1], each[2]))
        return tuple(standing for standing, _, _ in standings)

    def barred(self, replicas: Replicas) -> list[str]:
        """Return the api_bases of those that are not to be asked now. Reads memory only."""
        ill = [replicas[name] for name in self.health.ailing() if name in replicas]
        conditions = self.health.conditions(ill, "") if ill else []
        return [
            each.api_base or ""
            for each, condition in zip(ill, conditions, strict=True)
            if condition.wait_s > 0
        ]

    def probe(self, replica: Deployment, lease_s: float) -> str | None:
        """Return leave to ask a replica: a half-open one's probe, empty for any other.

        None where another has the probe.
        """
        if replica.instance not in self.health.ailing():
            return ""
        (condition,) = self.health.conditions((replica,), "")
        if not condition.to_probe:
            return ""
        return self.health.begin_probe(replica, lease_s) or None

    def admit(self, admit: Admit) -> Admission | None:
        """Book a call to a deployment that is half-open or has a rate limit."""
        deployment, probe = admit.deployment, ""
        (condition,) = self.health.conditions((deployment,), "")
        if condition.to_probe and not (probe := self.health.begin_probe(deployment, admit.lease_s)):
            return None
        wait_s = self.limits.book(deployment, admit.tokens, admit.most_wait_s)
        if wait_s is None:
            if probe:
                self.health.cut_off(deployment, "", 0.0, probe=probe)
            return None
        return Admission(wait_s, admit.tokens, probe)

    def replied(self, ask: Ask, reply: Reply) -> None:
        """Note a reply."""
        took_s = None if ask.on_chunk is not None else reply.latency_ms / 1000
        self.health.replied(
            ask.deployment,
            ask.request.step,
            took_s,
            slow_call_s=ask.tier.tier.slow_call_s,
            probe=ask.admission.probe,
        )
        usage = reply.usage
        self._settle(ask, usage.input_tokens + usage.output_tokens)

    def failed(self, ask: Ask, error: BaseException, after_s: float) -> None:
        """Note how a call ended that has no reply: it failed, or was not waited for."""
        probe = ask.admission.probe
        if isinstance(error, AttemptError) and not _was_cut_off(ask, error):
            self.health.failed(ask.deployment, error, probe=probe)
            refused = isinstance(error, RateLimitedError) or not error.counts_against_deployment
            # What it refused to read was not used. Of a pool another replica is asked for it, if it
            # does not wait for its turn again.
            if refused and (ask.placed is None or error.was_crowded):
                self._settle(ask, 0)
            return
        self.health.cut_off(
            ask.deployment,
            ask.request.step,
            after_s,
            slow_call_s=ask.tier.tier.slow_call_s,
            probe=probe,
        )

    def may_hedge(self, ask: Ask) -> bool:
        """Tell whether a second call may be made besides this one; counts it if so."""
        return self._hedges.take(ask.tier.name)

    def hedging(self, ask: Ask) -> None:
        """Count a call that will be hedged if it is late."""
        self._hedges.called(ask.tier.name, ask.tier.tier.hedge_share)

    def publish(self) -> None:
        """Tell other workers what changed here."""
        self.health.publish()

    def close(self) -> None:
        """Tell what is left to tell, and close the shared place."""
        self.health.publish()
        self.limits.close()
        if self._shared is not None:
            self._shared.close()

    def _conditions(self, rank: Rank) -> list[Condition]:
        conditions = self.health.conditions(rank.deployments, rank.step)
        pairs = zip(rank.deployments, conditions, strict=True)
        return [self._best(*each) if each[0].pool else each[1] for each in pairs]

    def _best(self, deployment: Deployment, condition: Condition) -> Condition:
        """Return how the best of a pool's replicas does, where all of them ail."""
        replicas = self._replicas(deployment)
        if not replicas or not replicas.keys() <= self.health.ailing():
            return condition
        each = self.health.conditions(tuple(replicas.values()), "")
        best = min(each, key=lambda one: (one.wait_s, one.place))
        # Its probe is taken when it is placed.
        return replace(best, to_probe=False, usual=condition.usual)

    def _standing(self, rank: Rank, position: int, condition: Condition) -> tuple[Standing, int]:
        deployment, usual = rank.deployments[position], condition.usual
        is_limited = deployment.rpm is not None or deployment.tpm is not None
        standing = Standing(
            deployment,
            condition.wait_s,
            self.limits.wait_s(deployment, rank.tokens) if is_limited else 0.0,
            condition.to_probe or is_limited,
            None if usual is None else usual.p95_s,
            condition.place == 0 and not condition.to_probe,
        )
        return standing, condition.place

    def _settle(self, ask: Ask, used: int) -> None:
        if ask.admission.tokens:
            self.limits.settle(ask.deployment, ask.admission.tokens, used)

    def _lost(self, error: StoreError) -> None:
        if not self._told:
            self._told = True
            _LOG.warning("%s Until then breakers and rate limits are this process's alone.", error)


def _was_cut_off(ask: Ask, error: AttemptError) -> bool:
    # The deadline ended it, perhaps before the deployment could reply.
    return isinstance(error, AttemptTimeoutError) and ask.timeout_s is not None
