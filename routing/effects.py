"""Effects: what routing asks of the outside world. A driver carries them out."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ..errors import AttemptError
from ..request import CachePlan, Chunk, Reply, Request
from ..settings import Deployment
from .metering import Meter
from .tiers import NamedTier

Role: TypeAlias = Literal["answer", "repair", "judge"]
"""Why a deployment is asked: for the step's answer, to mend a reply, or to judge one."""

OnChunk: TypeAlias = Callable[[Chunk], None]


@dataclass(frozen=True, slots=True)
class Admission:
    """Leave to ask a deployment after `wait_s`. `tokens`: how many were reserved for it.

    `probe`: names the one call that a half-open breaker lets through; empty for any other. `seat`:
    see Seat.
    """

    wait_s: float = 0.0
    tokens: int = 0
    probe: str = ""
    seat: int = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask one deployment. Sends back a Reply, or raises an AttemptError into the plan.

    `attempt`: 1 for the first call of a step, and so on. `on_chunk`: stream, and hand over each
    piece; None for a reply in one piece. `cache`: what the provider is told to keep of the prefix.
    `timeout_s`: what the step's deadline leaves, where that is less than the tier's timeout_s.
    `placed`: which replica of the deployment's pool it is; None where there is no pool.
    `meter`: what is known of the call, also when no reply comes of it.
    """

    deployment: Deployment
    tier: NamedTier
    request: Request
    role: Role
    attempt: int
    on_chunk: OnChunk | None = None
    cache: CachePlan | None = None
    timeout_s: float | None = None
    admission: Admission = Admission()
    placed: "Placed | None" = None
    meter: Meter = field(default_factory=Meter, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Hedge:
    """Ask `first`, and `second` too where there is no reply after `after_s`. Sends back a Raced.

    The driver asks the second only if few calls were hedged so far.
    """

    first: Ask
    second: Ask
    after_s: float


@dataclass(frozen=True, slots=True)
class Raced:
    """How a hedged call went. `reply`: of who was first, None where all that were asked failed.

    `paid`: the other's reply, where it came all the same. `cancelled`: who was not waited for.
    """

    reply: Reply | None
    failures: tuple[AttemptError, ...] = ()
    paid: tuple[Reply, ...] = ()
    cancelled: tuple[Ask, ...] = ()


@dataclass(frozen=True, slots=True)
class Rank:
    """Order deployments by readiness. Sends back a tuple of `Standing`s, the readiest first.

    `step`: whose usual latency counts. `tokens`: what the call would take of a tpm limit. `seated`:
    it will have to be seated.
    """

    deployments: tuple[Deployment, ...]
    step: str = ""
    tokens: int = 0
    seated: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """A deployment, and the seconds it is to be left alone (0: ready).

    `limit_s`: how long its own rate limit (rpm, tpm) makes a call wait. `guarded`: an Admit must
    be granted first. `p95_s`: within what 95 % of such calls are answered, None if unknown.
    `is_well`: it is neither failing nor slow, as far as is known. `crowd`: how many calls are under
    way or wait for each that may be; 0 where they are not counted.
    """

    deployment: Deployment
    wait_s: float
    limit_s: float = 0.0
    guarded: bool = False
    p95_s: float | None = None
    is_well: bool = True
    crowd: float = 0.0

    @property
    def delay_s(self) -> float:
        """How long a call would have to wait, for whatever reason."""
        return max(self.wait_s, self.limit_s)


@dataclass(frozen=True, slots=True)
class Admit:
    """Book a call to a guarded deployment. Sends back an Admission, or None for not now.

    Nothing is booked where its rate limit makes it wait longer than `most_wait_s`. `lease_s`: how
    long nobody else may probe, should nothing be heard of this call.
    """

    deployment: Deployment
    tokens: int
    most_wait_s: float
    lease_s: float


@dataclass(frozen=True, slots=True)
class Seat:
    """Leave to be one of the calls that are under way to a deployment. `ticket`: names it.

    0 for a call that needs none. `waited`: whether others had to end before.
    """

    ticket: int = 0
    waited: bool = False


@dataclass(frozen=True, slots=True)
class Seated:
    """Carry out a plan in a seat at a deployment. Sends back its result, or None without a seat.

    `plan`: makes the plan that asks; the seat is given back at its end. `most_wait_s`: it is not
    waited for longer. `batch`: which one it belongs to. `again`: a call of this request was
    refused, for want of room there.
    """

    deployment: Deployment
    request: Request
    most_wait_s: float
    plan: Callable[[Seat], Generator[Any, Any, Any]]
    batch: int = 0
    again: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Choose who of a deployment's pool answers a request. Sends back a Placed, None for nobody.

    `session`: the run that asks, which keeps to a replica, all else being equal. `excluded`: the
    api_bases of those that failed it. `lease_s`: as in Admit, for a replica that is half-open.
    """

    deployment: Deployment
    request: Request
    session: str = ""
    excluded: tuple[str, ...] = ()
    lease_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Placed:
    """A replica. `deployment`: the one to ask, at that replica.

    `pool`: the replica's; not the deployment's where a lane or a policy says that another serves
    it. `cached_tokens`: how many of the request's it likely holds. `ticket`: names the placement
    to the fleet that made it, None where there is no fleet. `probe`: see Admission. `headers`:
    hints for a gateway.
    """

    deployment: Deployment
    pool: str
    cached_tokens: int = 0
    ticket: int | None = None
    probe: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class RunTests:
    """Run unit tests of code, in a process of its own. Sends back a Ran.

    `code`: the module `solution`. `tests`: source of a module with the functions `names`.
    """

    code: str
    tests: str
    names: tuple[str, ...]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Ran:
    """How unit tests went. `passed`: how many. `fault`: why not all were run; empty if they were.

    Without any text of the code, or of what it printed.
    """

    passed: int
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell people something, once a process, or a flow run where one is named. Sends back None.

    `kind`, `about`: see `tracing.notices`. `message`: without any text of prompts or replies.
    """

    kind: str
    about: str
    message: str
    flow_run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Foreign:
    """Run code of another library, which may ask models in its midst. Sends back what it returns.

    `work`: is given a function that carries out a plan and returns the plan's result.
    """

    work: Callable[[Callable[[Generator[Any, Any, Any]], Any]], Any]


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait. Sends back None."""

    seconds: float
