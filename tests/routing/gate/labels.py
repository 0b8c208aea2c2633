"""Labelled items and calibrations to try the gate with."""

from tierflow.routing.gate import Binding, Calibration, Compared, Judged, Pairs, calibrate

NOW = 1_800_000_000.0
BOUND_TO = Binding(models=("cheap", "strong"), prompt="p1", judge="model(strong)", rubric="r1")
FAIR = Pairs(both=500, weak_only=100, strong_only=150, neither=250)
"""Tiers with r* = 0.6."""


def judged(
    tar: float, far: float, count: int = 400, weak: float = 0.6, stratum: str = "all"
) -> list[Judged]:
    """Replies of which a share `weak` is right, accepted in exactly these shares."""
    right = round(count * weak)
    items = [
        Judged(place < round(tar * right), right=True, stratum=stratum) for place in range(right)
    ]
    wrong = count - right
    return items + [
        Judged(place < round(far * wrong), right=False, stratum=stratum) for place in range(wrong)
    ]


def compared(right: int, wrong: int, abstained: int = 0, stratum: str = "all") -> list[Compared]:
    return [
        *(Compared("1", "1", "1", stratum) for _ in range(right)),
        *(Compared("2", "2", "1", stratum) for _ in range(wrong)),
        *(Compared("1", "2", "1", stratum) for _ in range(abstained)),
    ]


def a_calibration(step: str = "triage", at: float = NOW, **more: object) -> Calibration:
    """A calibration that opens."""
    bound_to = BOUND_TO.model_copy(update=more)
    return calibrate(step, compared(95, 5), bound_to, at=at, threshold=0.7)
