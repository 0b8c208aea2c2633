"""Store: where rollouts stand, and what their arms showed. The contract of its backends."""

from collections.abc import Sequence
from typing import Protocol

from .observations import Observation, Observed, PairSeen
from .state import RolloutState


class Rollouts(Protocol):
    """Keeps states by rollout and revision, and what was seen. Raises StoreError.

    Processes and machines may share it. A revision is written once and never changed, so that of
    two who go on from the same one only one gets through.
    """

    def newest(self, rollout: str) -> RolloutState | None:
        """Return the state of the highest revision, None of a rollout that nobody started."""
        ...

    def put(self, state: RolloutState) -> bool:
        """Keep a new revision. Return False where somebody else has written it before."""
        ...

    def history(self, rollout: str) -> Sequence[RolloutState]:
        """Return all revisions that are still kept, oldest first."""
        ...

    def names(self) -> Sequence[str]:
        """Return the rollouts that were ever started, sorted."""
        ...

    def observe(self, rollout: str, seen: Sequence[Observation]) -> None:
        """Keep what calls showed. The same `ref` of a rollout counts once."""
        ...

    def pair(self, rollout: str, pair: PairSeen) -> None:
        """Keep what both arms made of one question, in the shadow.

        The same `ref` of the candidate's counts once.
        """
        ...

    def score(self, rollout: str, ref: str, evaluation: str, score: float) -> None:
        """Keep what was found of an answer, be it before or long after it was observed.

        `score`: in [0, 1]. The last one of an evaluation counts, and goes over the one that the
        observation came with.
        """
        ...

    def seen(self, rollout: str, since: int) -> Observed:
        """Return all that was observed in epochs from `since` on, with the scores so far.

        Oldest first.
        """
        ...

    def forget(self, rollout: str, before_epoch: int) -> None:
        """Delete what was observed in earlier epochs, with its scores. States are kept."""
        ...

    def close(self) -> None:
        """Close what is open; the next call opens it again."""
        ...
