"""rollouts: which version answers? Sticky assignment of flow runs to baseline or candidate."""

from .assignment import Arm, Rollout, Variant, position

__all__ = ["Arm", "Rollout", "Variant", "position"]
