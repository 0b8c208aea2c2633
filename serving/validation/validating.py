"""Validating: from recorded requests to a policy. Measures by the endpoints that it is given."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ...cassette import RecordedRequest
from ...errors import ConfigError
from .decision import Compared, Decision, compare, decide
from .measured import Trial
from .policy import Policy
from .slices import DIMENSIONS, Dimension, Slice, sliced
from .trials import Endpoint, Extent, blocks_of, trials

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be decided. `by`: what slices differ in; without `concurrency` only the smallest.

    `lossy`: which of the other ways relax what they accept. `limit`: at most so many requests of
    a slice are replayed, and slices of fewer than `least` are left to the plain pool.
    """

    pool: str
    by: frozenset[Dimension] = frozenset(DIMENSIONS)
    extent: Extent = field(default_factory=Extent)
    lossy: frozenset[str] = frozenset()
    accept_lossy: bool = False
    limit: int = 200
    least: int = 6
    seed: int = 0

    @property
    def measured(self) -> Extent:
        """The extent, with one concurrency where slices do not differ in that."""
        if "concurrency" in self.by:
            return self.extent
        lowest = min(self.extent.concurrencies)
        return Extent((lowest,), self.extent.pairs, self.extent.per_place)

    def slices(
        self, requests: Sequence[RecordedRequest]
    ) -> Mapping[Slice, Sequence[RecordedRequest]]:
        """Return the requests to replay by slice, the largest first. Raises ConfigError."""
        found = sliced(requests, self.by - {"concurrency"})
        enough = {
            each: rows[: self.limit] for each, rows in found.items() if len(rows) >= self.least
        }
        if not enough:
            largest = max(map(len, found.values()), default=0)
            raise ConfigError(
                f"No slice has {self.least} recorded requests; the largest of {len(found)} has "
                f"{largest}. Record more, or tell fewer slices apart with --slices."
            )
        return enough

    def blocks(self, requests: Sequence[RecordedRequest], others: int) -> int:
        """Return how many blocks are served at least, for showing progress."""
        return len(self.slices(requests)) * blocks_of(self.measured, others)


async def decisions(
    question: Question,
    requests: Sequence[RecordedRequest],
    plain: Endpoint,
    others: Mapping[str, Endpoint],
    served: Callable[[], None] = lambda: None,
) -> AsyncIterator[Decision]:
    """Yield a decision per slice, the largest first: what was decided is kept when this ends.

    Raises ConfigError, or EngineUnreadableError where an endpoint fails.
    """
    for slice_, rows in question.slices(requests).items():
        measured = trials(rows, plain, others, question.measured, seed=question.seed, served=served)
        found = [_compared(question, trial, len(others)) async for trial in measured]
        yield decide(slice_, found)


def _compared(question: Question, trial: Trial, rivals: int) -> Compared:
    return compare(
        trial,
        rivals=rivals,
        seed=question.seed,
        lossy=trial.against in question.lossy,
        accept_lossy=question.accept_lossy,
    )


def policy_of(
    question: Question, found: Collection[Decision], *, now: float, valid_days: float, setup: str
) -> Policy:
    """Return the policy that comes of decisions. `now`: Unix seconds."""
    return Policy(
        pool=question.pool,
        rules=tuple(each.rule for each in found),
        decided_at=now,
        expires_at=now + valid_days * _DAY_S,
        setup=setup,
    )
