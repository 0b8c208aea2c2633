"""linting: what a tree of Python files says of its steps and rollouts. Runs none of them."""

from .found import Place, StepFound
from .rollouts import RolloutFound, read_rollouts
from .rules import Finding, Known, Linted, Note, lint_source
from .scope import Scope, Unknown
from .steps import read_source

__all__ = [
    "Finding",
    "Known",
    "Linted",
    "Note",
    "Place",
    "RolloutFound",
    "Scope",
    "StepFound",
    "Unknown",
    "lint_source",
    "read_rollouts",
    "read_source",
]
