"""rollout: the verbs of rollouts. Part of the command line."""

from .commands import rollout

__all__ = ["rollout"]
