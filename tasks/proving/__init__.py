"""proving: what labelled items prove of a step's judge, and teach its judge and its route."""

from .collecting import Calibrated, calibrate_judge
from .items import read_items
from .routes import RouteLearned, learn_step_route
from .training import Training, train_judge

__all__ = [
    "Calibrated",
    "RouteLearned",
    "Training",
    "calibrate_judge",
    "learn_step_route",
    "read_items",
    "train_judge",
]
