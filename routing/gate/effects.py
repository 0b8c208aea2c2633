"""Gate: what a plan asks of the store of calibrations. A driver carries it out."""

from dataclasses import dataclass
from typing import Literal

from .calibration import Calibration
from .store import State
from .tally import ALL


@dataclass(frozen=True, slots=True)
class Consult:
    """Look up what is known of a judge. Sends back a `Known`, some seconds old at most."""

    gate: str


@dataclass(frozen=True, slots=True)
class Known:
    """A judge's newest calibration, None if there is none, and what came after it."""

    calibration: Calibration | None = None
    state: State | None = None


@dataclass(frozen=True, slots=True)
class Audited:
    """Keep whether an answer accepted at `at` (Unix seconds) was right. Sends back None."""

    gate: str
    right: bool
    at: float
    stratum: str = ALL


@dataclass(frozen=True, slots=True)
class TellClosed:
    """Tell people why a judge may not accept, or a route not be taken, once a flow run.

    Sends back None. `kind`: see `tracing.notices`.
    """

    gate: str
    cause: str
    reason: str
    flow_run_id: str | None
    kind: Literal["judge-closed", "route-closed"] = "judge-closed"
