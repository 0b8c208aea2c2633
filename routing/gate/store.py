"""Gate store: calibrations, audits, who closed a gate by hand. The contract of its backends."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .calibration import Calibration
from .tally import ALL


@dataclass(frozen=True, slots=True)
class Hand:
    """Somebody closed a gate, or took that back. `at`: seconds since 1970."""

    closed: bool
    why: str
    who: str
    at: float


@dataclass(frozen=True, slots=True)
class State:
    """What came after a step's newest calibration, whose id is `calibration`, None without one.

    `audited` answers accepted since, of which `right` were; `evidence` of drift, 0 to 1, the alarm.
    `alarmed_at`: when it was raised, seconds since 1970. `hand`: the last word of a person.
    """

    calibration: str | None = None
    audited: int = 0
    right: int = 0
    evidence: float = 0.0
    alarmed_at: float | None = None
    hand: Hand | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """An accepted answer that was checked. `at`: when it was accepted, seconds since 1970."""

    step: str
    stratum: str
    right: bool
    at: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a running step was told when its gate refused it. `cause`, `reason`: see Closed.

    `calibration`: the id of the newest one known to the step, None if none was; `at`: seconds
    since 1970.
    """

    step: str
    cause: str
    reason: str
    at: float
    calibration: str | None = None


class Calibrations(Protocol):
    """Keeps what is known of judges, by step. Raises StoreError where the store cannot be used.

    Processes may share it. What was written is durable when a call returns.
    """

    def newest(self, step: str) -> Calibration | None:
        """Return the calibration that was added last, None if none was.

        Raises StoreError, too, for one that cannot be read: the gate is closed then.
        """
        ...

    def add(self, calibration: Calibration) -> None:
        """Keep a calibration. Audits begin anew, and with them the watch for drift.

        Reviews of answers from before it go: what people say of those would not count.
        """
        ...

    def audit(self, step: str, *, right: bool, at: float, stratum: str = ALL) -> bool:
        """Keep an audit of an answer accepted at `at`. Return whether drift is seen, now or before.

        An answer from before the newest calibration is kept, but says nothing of that one.
        """
        ...

    def audits(self, step: str, limit: int = 1000) -> Sequence[Audit]:
        """Return a step's newest audits, at most `limit`, oldest first."""
        ...

    def state(self, step: str) -> State:
        """Return what came after the newest calibration."""
        ...

    def set_state(self, step: str, *, closed: bool, why: str, who: str, at: float) -> None:
        """Close a gate by hand, or take that back.

        Taking back opens nothing else: without proof, or with an alarm, a gate stays closed. A new
        calibration does not undo what a person closed.
        """
        ...

    def refuse(self, refusal: Refusal) -> None:
        """Keep what a running step was told. Only the last of a gate is kept."""
        ...

    def refusal(self, step: str) -> Refusal | None:
        """Return what was told last, None if nothing was."""
        ...

    def steps(self) -> Sequence[str]:
        """Return the steps that anything is known of, sorted."""
        ...

    def close(self) -> None:
        """Close what is open; the next call opens it again."""
        ...
