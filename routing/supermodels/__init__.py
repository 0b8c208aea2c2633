"""supermodels: cascade routing. Which model next, whose answer, from recorded answers."""

from .estimates import Reply
from .fit import Lesson, fit, study
from .strategy import Costs, Decision, Outcome, Reach, Run, State, Stop, Strategy, Tables, replay

__all__ = [
    "Costs",
    "Decision",
    "Lesson",
    "Outcome",
    "Reach",
    "Reply",
    "Run",
    "State",
    "Stop",
    "Strategy",
    "Tables",
    "fit",
    "replay",
    "study",
]
