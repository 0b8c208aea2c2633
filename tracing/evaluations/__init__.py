"""evaluations: was the answer good? What people, judges and functions found, and how often."""

from .evaluation import Evaluation, Source, evaluation_of, is_word
from .opening import open_evaluations, scores_of
from .rates import By, Measure, measures
from .store import Counted, Evaluations
from .telling import tell

__all__ = [
    "By",
    "Counted",
    "Evaluation",
    "Evaluations",
    "Measure",
    "Source",
    "evaluation_of",
    "is_word",
    "measures",
    "open_evaluations",
    "scores_of",
    "tell",
]
