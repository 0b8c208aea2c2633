"""evaluators: how good was an answer that was given? A sample of them is looked at afterwards."""

from .checked import checked
from .evaluator import Answered, Evaluator, Found
from .judged import groundedness, judged, safety
from .of_autoevals import autoevals_scorer
from .of_pydantic import pydantic_evaluator

__all__ = [
    "Answered",
    "Evaluator",
    "Found",
    "autoevals_scorer",
    "checked",
    "groundedness",
    "judged",
    "pydantic_evaluator",
    "safety",
]
