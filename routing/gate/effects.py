"""Gate: what a plan asks of the store of calibrations. A driver carries it out."""

from dataclasses import dataclass, field

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
class ForReview:
    """Have people say whether an answer accepted at `at` (Unix seconds) is right. Sends back None.

    `ask`: what of the request varies. `answer`: the accepted reply.
    """

    gate: str
    stratum: str
    at: float
    ask: str = field(repr=False)
    answer: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TellClosed:
    """Tell people why a judge may not accept, and keep it. Sends back None.

    Once a flow run, or process, for each cause and `calibration` (its id, None without one). `at`:
    Unix seconds.
    """

    gate: str
    cause: str
    reason: str
    flow_run_id: str | None
    at: float
    calibration: str | None
