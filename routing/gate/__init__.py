"""gate: has this judge proven itself? Bounds, break-even, calibrations, drift and their store."""

from .calibration import Binding, Calibration, Stratum, calibrate
from .consulting import Consulting
from .decision import Cause, Closed, Open, decide
from .drift import Drift
from .effects import Audited, Consult, ForReview, Known, TellClosed
from .opening import open_calibrations, open_reviews
from .pairs import Pairs, balance_lower, loses_less, loss_upper, precision_floor
from .reliability import Reliability, auroc, calibration_error, kappa_of, reliability
from .reviews import Review, Reviewed, Reviews
from .store import Audit, Calibrations, Hand, Refusal, State
from .tally import ALL, Choices, Compared, Counts, Judged, Tally, total

__all__ = [
    "ALL",
    "Audit",
    "Audited",
    "Binding",
    "Calibration",
    "Calibrations",
    "Cause",
    "Choices",
    "Closed",
    "Compared",
    "Consult",
    "Consulting",
    "Counts",
    "Drift",
    "ForReview",
    "Hand",
    "Judged",
    "Known",
    "Open",
    "Pairs",
    "Refusal",
    "Reliability",
    "Review",
    "Reviewed",
    "Reviews",
    "State",
    "Stratum",
    "Tally",
    "TellClosed",
    "auroc",
    "balance_lower",
    "calibrate",
    "calibration_error",
    "decide",
    "kappa_of",
    "loses_less",
    "loss_upper",
    "open_calibrations",
    "open_reviews",
    "precision_floor",
    "reliability",
    "total",
]
