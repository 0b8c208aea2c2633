"""Pools: carries out Place, and tells a pool how its requests went. One per process."""

import threading
import time
from collections.abc import Callable

from ...errors import AttemptError, AttemptTimeoutError, ProviderDownError
from ...request import Reply, Request
from ...routing import Ask, Place, Placed
from ...routing.admission import pool_for
from ...routing.affinity import BlockChain, Sent, Sharing, open_placements
from ...routing.expecting import sent_tokens
from ...routing.resilience import Guard, Replicas
from ...serving import TokenizePage
from ...serving.validation import ConsultingPolicies, open_policies
from ...settings import Deployment, Settings
from .obeying import Obeying
from .pool import PoolInUse
from .tokenised import Tokenised


class Pools:
    """The pools of the settings. Each is watched from its first request on.

    `guard`: whose breakers count, each replica having one. `clock`: monotonic seconds.
    """

    def __init__(
        self,
        settings: Settings,
        guard: Guard,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._guard, self._clock = settings, guard, clock
        self._tokenised = Tokenised(TokenizePage())
        self._in_use: dict[str, PoolInUse] = {}
        self._replicas: dict[tuple[str, str], tuple[tuple[str, ...], Replicas]] = {}
        self._sharing: Sharing | None = None
        self._obeying = Obeying(ConsultingPolicies(lambda: open_policies(settings), clock))
        self._lock = threading.Lock()

    def takes_long(self, place: Place) -> bool:
        """Tell whether it reaches a network or a store: a first look, a tokenizer, a probe."""
        name = place.deployment.pool or ""
        if self._settings.pools[name].affinity == "gateway":
            return bool(self._guard.health.ailing())
        if self._obeying.takes_long(name):
            return True
        lane = self._settings.pools[name].prefill_lane
        for each in filter(None, (name, lane, *self._obeying.others(name))):
            pool = self._in_use.get(each)
            if each in self._settings.pools and (pool is None or pool.takes_long):
                return True
        return bool(self._guard.health.ailing())

    def place(self, place: Place) -> Placed | None:
        """Choose the replica that is asked. Its ticket is to be given back by ended or failed."""
        name = place.deployment.pool or ""
        settings = self._settings.pools[name]
        if settings.affinity == "gateway":
            return self._through(settings.address, place)
        chosen = self._chosen(name, place)
        if chosen != name:
            other = self._using(chosen)
            placed = self._placed(other, place, other.chain(place))
            if placed is not None:
                return placed
        pool = self._using(name)
        chain = pool.chain(place)
        if settings.prefill_lane is not None:
            lane = self._using(pool_for(name, settings, pool.fleet.uncached(chain)))
            placed = None if lane is pool else self._placed(lane, place, lane.chain(place))
            if placed is not None:
                return placed
        return self._placed(pool, place, chain)

    def uncached(self, deployment: Deployment, request: Request) -> int:
        """Return how many tokens of a request would be read anew. As `place`, it may take long."""
        if not deployment.pool or self._settings.pools[deployment.pool].affinity == "gateway":
            return sent_tokens(request)
        pool = self._using(deployment.pool)
        return pool.fleet.uncached(pool.chain(Place(deployment, request)))

    def queue(self, deployment: Deployment) -> tuple[float, float] | None:
        """Return how many requests wait in the engines of a deployment's pool, and since when.

        None where nobody has told, or nobody could.
        """
        pool = self._in_use.get(deployment.pool or "")
        return None if pool is None else pool.queue

    def _chosen(self, name: str, place: Place) -> str:
        # Where a replica failed the request, nothing is tried but the plain way.
        if place.excluded:
            return name
        return self._obeying.served_by(
            name,
            place.request,
            under_way=lambda pool: self._using(pool).fleet.under_way,
            replicas=len(self._using(name).members),
            known=[
                each for each, pool in self._settings.pools.items() if pool.affinity != "gateway"
            ],
        )

    def _placed(self, pool: PoolInUse, place: Place, chain: BlockChain) -> Placed | None:
        replicas = self._replicas_in(pool.name, place.deployment)
        barred = [*place.excluded, *self._guard.barred(replicas)]
        while (placement := pool.place(chain, place.session, barred)) is not None:
            replica = place.deployment.at(placement.replica)
            probe = self._guard.probe(replica, place.lease_s)
            if probe is not None:
                if self._sharing is not None and not pool.is_precise:
                    self._sharing.sent(Sent(pool.name, placement.replica, chain.hashes))
                cached, ticket = placement.cached_tokens, placement.ticket
                return Placed(replica, pool.name, cached, ticket, probe)
            # Another call tries whether it is well again.
            pool.fleet.failed(placement.ticket)
            barred.append(placement.replica)
        return None

    def replicas(self, deployment: Deployment) -> Replicas:
        """Return who serves a deployment's pool, as far as is known: nobody before it is used."""
        return self._replicas_in(deployment.pool or "", deployment)

    def _replicas_in(self, name: str, deployment: Deployment) -> Replicas:
        settings, pool = self._settings.pools[name], self._in_use.get(name)
        now = pool.members if pool is not None else ()
        if settings.affinity == "gateway":
            now = (settings.address,)
        members, known = self._replicas.get((name, deployment.name), ((), {}))
        if members != now:
            members = now
            known = {each.instance: each for each in map(deployment.at, members)}
            self._replicas[name, deployment.name] = members, known
        return known

    def began(self, ask: Ask) -> None:
        """Note the first token of a reply. Does nothing for an ask that was not placed."""
        if (taken := self._taken(ask.placed)) is not None:
            pool, ticket = taken
            pool.fleet.began(ticket)

    def replied(self, ask: Ask, reply: Reply) -> None:
        """Note a reply. Does nothing for an ask that was not placed."""
        if (taken := self._taken(ask.placed)) is not None:
            pool, ticket = taken
            pool.ended(ticket, reply.usage)
        if ask.placed is not None and ask.placed.ticket is not None:
            self._obeying.replied(ask.request, reply.usage)

    def failed(self, ask: Ask, error: BaseException) -> None:
        """Note that no reply came, or that nobody waits for it any more."""
        if (taken := self._taken(ask.placed)) is None:
            return
        pool, ticket = taken
        stream = ask.meter.stream
        if not isinstance(error, AttemptError) and stream is not None and stream.so_far().text:
            # Its prompt was read; only the listener left.
            pool.fleet.ended(ticket)
            return
        may_be_down = isinstance(error, ProviderDownError | AttemptTimeoutError)
        pool.failed(ticket, may_be_down=may_be_down)

    def give_back(self, placed: Placed | None) -> None:
        """Note that nobody asks a replica that was placed."""
        if (taken := self._taken(placed)) is not None:
            pool, ticket = taken
            pool.fleet.failed(ticket)

    def close(self) -> None:
        """End all watching; the next request begins it anew."""
        with self._lock:
            in_use, self._in_use = self._in_use, {}
            sharing, self._sharing = self._sharing, None
        for pool in in_use.values():
            pool.close()
        self._tokenised.close()
        if sharing is not None:
            sharing.close()
        self._obeying.close()

    def _through(self, address: str, place: Place) -> Placed | None:
        replica = place.deployment.at(address)
        probe = None if address in place.excluded else self._guard.probe(replica, place.lease_s)
        if probe is None:
            return None
        pool = place.deployment.pool or ""
        return Placed(replica, pool, probe=probe, headers=hints(place.session))

    def _taken(self, placed: Placed | None) -> tuple[PoolInUse, int] | None:
        """Return who placed, and the ticket; None without one, or where it was closed since."""
        if placed is None or placed.ticket is None:
            return None
        pool = self._in_use.get(placed.pool)
        return None if pool is None else (pool, placed.ticket)

    def _using(self, name: str) -> PoolInUse:
        if (pool := self._in_use.get(name)) is not None:
            return pool
        with self._lock:
            if (pool := self._in_use.get(name)) is None:
                settings = self._settings.pools[name]
                pool = PoolInUse(name, settings, self._clock, self._tokenised)
                self._in_use[name] = pool
                if settings.affinity == "approximate" and self._sharing is None:
                    self._sharing = Sharing(open_placements(self._settings), self._hear)
                    self._sharing.begin()
            return pool

    def _hear(self, sent: Sent) -> None:
        pool = self._in_use.get(sent.pool)
        if pool is not None and not pool.is_precise:
            pool.fleet.sent_elsewhere(sent.replica, sent.blocks)


def hints(session: str) -> dict[str, str]:
    """Return the headers by which a gateway keeps a run to a replica; none without a run.

    X-SMG-Routing-Key is what SGLang's router reads (policies manual, consistent_hashing, and its
    routing-key override); X-Session-Id is what proxies are mostly told to hash (Caddy, Envoy);
    x-gateway-inference-fairness-id, formerly x-llm-d-…, is what llm-d's endpoint picker shares
    capacity by. llm-d's own session affinity is a cookie, and prefixes it reads from the body.
    """
    if not session:
        return {}
    named = ("X-SMG-Routing-Key", "X-Session-Id", "x-gateway-inference-fairness-id")
    return dict.fromkeys((*named, "x-llm-d-inference-fairness-id"), session)
