"""Fit: a cost model from measured runs, and how far it is off on others. Asks no engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ...errors import SimulationError
from ...percentiles import percentile
from .cost import CostModel, Work
from .measurements import Measured, Setting, quiet_work, reading_work, typical

_TERMS = ("iteration_ms", "token_ms", "pair_ms", "decode_ms", "context_ms")
_ROUNDS = 20
_OUTLIER = 1.345
_SIMPLER = 1.05
_FAR_APART = 4


@dataclass(frozen=True, slots=True)
class Errors:
    """How far a cost model is off on runs of one setting, relative to what was measured.

    `gap`: on the 99th percentile of gaps while the prompt was read, `gap_median` on their median,
    both the median of all runs; `ttft`: on the mean time to first token.
    """

    setting: Setting
    runs: int
    gap: float
    gap_median: float
    ttft: float
    measured: Mapping[str, float]
    predicted: Mapping[str, float]


def fit(runs: Sequence[Measured], origin: str = "") -> CostModel:
    """Return the cost model that fits best. Raises SimulationError for runs that teach too little.

    Non-negative least squares of relative errors, over the median of each iteration, with Huber's
    weights against what another process of the machine did; of models that fit as well, the one
    with the fewest terms. Without gaps that can be told apart, time to first token is what it fits.
    """
    rows, ms = _equations(runs)
    if len(rows) < 2:
        raise SimulationError(
            f"{len(rows)} different iterations were measured, and a cost model has two terms at "
            "least. Measure more runs (--repeats), or a smaller chunk size."
        )
    known = _told_apart(runs)
    found = _solved(np.array(rows, np.float64)[:, known], np.array(ms, np.float64))
    cost = CostModel(**{_TERMS[at]: ms for at, ms in zip(known, found, strict=True)}, origin=origin)
    return cost.model_copy(update={"request_ms": _request_ms(runs)})


def errors_of(cost: CostModel, runs: Sequence[Measured]) -> list[Errors]:
    """Return how far a cost model is off, setting by setting."""
    return [
        _errors(cost, each)
        for each in by_setting(runs)
        if each[0].setting.prompt_tokens and each[0].setting.decodes
    ]


def by_setting(runs: Sequence[Measured]) -> list[list[Measured]]:
    """Return runs in groups of one setting each."""
    found: dict[Setting, list[Measured]] = {}
    for run in runs:
        found.setdefault(run.setting, []).append(run)
    return list(found.values())


def held_out(runs: Sequence[Measured], every: int = 3) -> tuple[list[Measured], list[Measured]]:
    """Return the runs to learn from, and every third of each setting to look at afterwards."""
    learnt, held = list[Measured](), list[Measured]()
    for group in by_setting(runs):
        for at, run in enumerate(group):
            (held if at % every == every - 1 else learnt).append(run)
    return learnt, held


def _equations(runs: Sequence[Measured]) -> tuple[list[list[int]], list[float]]:
    rows, ms = list[list[int]](), list[float]()
    for group in by_setting(runs):
        setting = group[0].setting
        quiet, gaps, ttft = typical(group)
        if quiet is not None:
            rows.append(_row(quiet_work(setting)))
            ms.append(quiet)
        if not setting.prompt_tokens:
            continue
        works = reading_work(setting)
        if gaps is not None:
            rows += map(_row, works)
            ms += gaps
        elif ttft is not None:
            rows.append([len(works), *_row(sum(works, Work()))[1:]])
            ms.append(ttft - (quiet or 0.0) / 2)
    return rows, ms


def _told_apart(runs: Sequence[Measured]) -> list[int]:
    """Return the terms that these runs can tell from an iteration's own time.

    What a stream costs shows where their number varies, what its context costs where that does.
    """
    settings = [run.setting for run in runs if run.setting.decodes]
    counts = {each.decodes for each in settings}
    contexts = {each.decode_context for each in settings}
    known = [0, 1, 2]
    if len(counts) > 1:
        known.append(3)
    if contexts and max(contexts) >= _FAR_APART * min(contexts):
        known.append(4)
    return known


def _row(work: Work) -> list[int]:
    return [1, work.tokens, work.pairs, work.decodes, work.context]


def _solved(rows: NDArray[np.float64], ms: NDArray[np.float64]) -> list[float]:
    relative, ones = rows / ms[:, None], np.ones(len(ms))
    weights = ones
    found = np.zeros(rows.shape[1])
    for _ in range(_ROUNDS):
        found = _simplest(relative * weights[:, None], weights)
        off = np.abs(relative @ found - 1)
        scale = max(float(np.median(off)) / 0.6745, 1e-9)
        weights = np.sqrt(np.minimum(1.0, _OUTLIER * scale / np.maximum(off, 1e-12)))
    return [float(each) for each in found]


def _simplest(rows: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the non-negative solution of the fewest terms that is about as good as the best.

    Five terms have 31 sets: trying each is exact, and short.
    """
    tried = list[tuple[float, int, NDArray[np.float64]]]()
    scale = np.maximum(np.abs(rows).max(axis=0), 1e-300)
    for size in range(1, rows.shape[1] + 1):
        for terms in combinations(range(rows.shape[1]), size):
            part = rows[:, terms] / scale[list(terms)]
            solved = cast("NDArray[np.float64]", np.linalg.lstsq(part, wanted, rcond=None)[0])
            if (solved < 0).any():
                continue
            whole = np.zeros(rows.shape[1])
            whole[list(terms)] = solved / scale[list(terms)]
            tried.append((float(np.linalg.norm(rows @ whole - wanted)), size, whole))
    bound = _SIMPLER * min(loss for loss, _, _ in tried) + 1e-9
    return min((each for each in tried if each[0] <= bound), key=lambda each: (each[1], each[0]))[2]


def _request_ms(runs: Sequence[Measured]) -> float:
    """Return what a prompt's time to first token has beside the iterations that read it."""
    rest = [
        run.ttft_ms - sum(run.gaps_ms) - (fmean(run.quiet_ms) / 2 if run.quiet_ms else 0.0)
        for run in runs
        if run.ttft_ms is not None and len(run.gaps_ms) == len(reading_work(run.setting))
    ]
    return max(0.0, median(rest)) if rest else 0.0


def _errors(cost: CostModel, runs: Sequence[Measured]) -> Errors:
    setting = runs[0].setting
    predicted = predict(cost, setting)
    waits = [run.ttft_ms for run in runs if run.ttft_ms is not None]
    seen = [run.gaps_ms for run in runs if run.gaps_ms]
    measured = {
        "gap_p99_ms": median(percentile(each, 0.99) for each in seen) if seen else 0.0,
        "gap_median_ms": median(median(each) for each in seen) if seen else 0.0,
        "ttft_mean_ms": fmean(waits) if waits else 0.0,
    }
    off = {
        name: abs(predicted[name] - value) / value if value else 0.0
        for name, value in measured.items()
    }
    return Errors(
        setting,
        len(runs),
        off["gap_p99_ms"],
        off["gap_median_ms"],
        off["ttft_mean_ms"],
        measured,
        predicted,
    )


def predict(cost: CostModel, setting: Setting) -> dict[str, float]:
    """Return the gaps and the time to first token that the simulated scheduler gives a setting.

    A prompt finds an iteration of the streams under way, and waits half of it on average.
    """
    gaps = [cost.ms(each) for each in reading_work(setting)]
    quiet = cost.ms(quiet_work(setting)) if setting.decodes else 0.0
    return {
        "gap_p99_ms": percentile(gaps, 0.99),
        "gap_median_ms": median(gaps),
        "ttft_mean_ms": cost.request_ms + quiet / 2 + sum(gaps),
    }
