"""Effects: what routing asks of the outside world. A driver carries them out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..request import CachePlan, Chunk, Request
from ..settings import Deployment
from .tiers import NamedTier

Role: TypeAlias = Literal["answer", "repair", "judge"]
"""Why a deployment is asked: for the step's answer, to mend a reply, or to judge one."""

OnChunk: TypeAlias = Callable[[Chunk], None]


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask one deployment. Sends back a Reply, or raises an AttemptError into the plan.

    `attempt`: 1 for the first call of a step, and so on. `on_chunk`: stream, and hand over each
    piece; None for a reply in one piece. `cache`: what the provider is told to keep of the prefix.
    """

    deployment: Deployment
    tier: NamedTier
    request: Request
    role: Role
    attempt: int
    on_chunk: OnChunk | None = None
    cache: CachePlan | None = None


@dataclass(frozen=True, slots=True)
class Rank:
    """Order deployments by readiness. Sends back a tuple of `Standing`s, the readiest first."""

    deployments: tuple[Deployment, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """A deployment, and the seconds its provider asked us to leave it alone (0: ready)."""

    deployment: Deployment
    wait_s: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait. Sends back None."""

    seconds: float
