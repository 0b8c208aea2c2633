"""validation: whether another way of serving is faster, and whether it says the same."""

from .consulting import ConsultingPolicies, open_policies
from .policy import Policy, Rule, Step
from .slices import Slice

__all__ = ["ConsultingPolicies", "Policy", "Rule", "Slice", "Step", "open_policies"]
