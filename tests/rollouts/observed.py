"""Observed: rollouts, their states, and what their arms showed, for tests of the controller."""

from typing import Any

import numpy as np

from tierflow.rollouts import Rollout, Variant, error_rate, quality
from tierflow.rollouts.observations import Arm, Observation, Observed, PairSeen
from tierflow.rollouts.state import RolloutState
from tierflow.rollouts.verbs import start

NOW = 1_800_000_000.0
STEP_S = 600.0


def a_rollout(**options: Any) -> Rollout:
    given: dict[str, Any] = {
        "name": "triage-v2",
        "candidate": Variant(tier="frontier"),
        "steps": (10, 50, 100),
        "guardrails": (error_rate(1.0), quality("helpful")),
        "min_step_s": STEP_S,
        "max_step_s": 10 * STEP_S,
        **options,
    }
    return Rollout(**given)


def begun(rollout: Rollout, at: float = NOW) -> RolloutState:
    return start(rollout, RolloutState(rollout=rollout.name), "me", at)


def seen(
    state: RolloutState,
    units: int,
    *,
    errors: tuple[float, float] = (0.02, 0.02),
    scores: tuple[float, float] = (0.8, 0.8),
    seed: int = 0,
    calls: int = 1,
) -> list[Observation]:
    """What so many units of a state's epoch showed; rates and means with the candidate's first."""
    random, found = np.random.default_rng(seed), list[Observation]()
    for unit in range(units):
        arm: Arm = "candidate" if random.random() < state.weight else "baseline"
        at = 0 if arm == "candidate" else 1
        for call in range(calls):
            found.append(
                Observation(
                    unit=f"{state.epoch}-{unit}",
                    arm=arm,
                    epoch=state.epoch,
                    ref=f"{state.epoch}-{unit}-{call}",
                    at=state.since + unit,
                    failed=bool(random.random() < errors[at]),
                    latency_ms=float(random.lognormal(6, 0.3)),
                    cost_usd=0.01,
                    scores={"helpful": float(np.clip(random.normal(scores[at], 0.1), 0, 1))},
                )
            )
    return found


def pairs(count: int, drop: float, seed: int = 0) -> list[PairSeen]:
    random, found = np.random.default_rng(seed), list[PairSeen]()
    for number in range(count):
        score = float(random.uniform(0.3, 0.9))
        other = score - drop + float(random.uniform(-0.05, 0.05))
        baseline, candidate = _half(number, "baseline", score), _half(number, "candidate", other)
        found.append(PairSeen(baseline, candidate, same=False))
    return found


def _half(number: int, arm: Arm, score: float) -> Observation:
    scores = {"helpful": max(0.0, score)}
    return Observation(f"u{number}", arm, 1, f"{arm}{number}", NOW, scores=scores)


def evidence(*observations: Observation) -> Observed:
    return Observed(observations)
