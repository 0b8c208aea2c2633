"""Route effects: what a plan asks of the store of learned routes. A driver carries it out."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConsultRoute:
    """Look up what was learned of a step's tiers. Sends back `LearnedRoute | None`."""

    step: str
