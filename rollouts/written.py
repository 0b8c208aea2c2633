"""Written: observations and pairs as arrays of JSON, which stores keep. Opens no store."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from pydantic import TypeAdapter, ValidationError

from ..errors import StoreError
from .observations import Arm, Observation, Observed, PairSeen

_Row: TypeAlias = tuple[
    str, Arm, int, str, float, bool, bool, float | None, float | None, dict[str, float]
]
# There are many of them, and names of fields would be most of their text.
_ROW: TypeAdapter[_Row] = TypeAdapter(_Row)
_PAIR: TypeAdapter[tuple[_Row, _Row, bool]] = TypeAdapter(tuple[_Row, _Row, bool])

Scores: TypeAlias = Mapping[str, Mapping[str, float]]
"""Of evaluations by name, by the `ref` of the answer."""


def row_of(seen: Observation) -> list[Any]:
    """Return an observation as it is kept."""
    return [
        seen.unit,
        seen.arm,
        seen.epoch,
        seen.ref,
        seen.at,
        seen.failed,
        seen.hit,
        seen.latency_ms,
        seen.cost_usd,
        dict(seen.scores),
    ]


def pair_row_of(pair: PairSeen) -> list[Any]:
    """Return a pair as it is kept."""
    return [row_of(pair.baseline), row_of(pair.candidate), pair.same]


def observation_of(row: object) -> Observation:
    """Return what `row_of` wrote, from JSON's text or its values. Raises StoreError."""
    return Observation(*_checked(_ROW, row))


def pair_of(row: object) -> PairSeen:
    """Return what `pair_row_of` wrote, from JSON's text or its values. Raises StoreError."""
    baseline, candidate, same = _checked(_PAIR, row)
    return PairSeen(Observation(*baseline), Observation(*candidate), same)


def observed(
    observations: Iterable[Observation], pairs: Iterable[PairSeen], scores: Scores
) -> Observed:
    """Return the evidence, oldest first. `scores` go over those that an observation came with."""

    def scored(seen: Observation) -> Observation:
        later = scores.get(seen.ref)
        return replace(seen, scores={**seen.scores, **later}) if later else seen

    return Observed(
        sorted(map(scored, observations), key=_age),
        sorted(
            (
                replace(each, baseline=scored(each.baseline), candidate=scored(each.candidate))
                for each in pairs
            ),
            key=lambda pair: _age(pair.candidate),
        ),
    )


def _age(seen: Observation) -> tuple[float, str]:
    return seen.at, seen.ref


def _checked(kind: TypeAdapter[Any], row: object) -> Any:
    try:
        return kind.validate_json(row) if isinstance(row, str) else kind.validate_python(row)
    except ValidationError:
        # Its words would quote the row.
        raise StoreError(
            "An observation of a rollout cannot be read: it is damaged or of another version. "
            "`tierflow rollout abort` and `tierflow rollout retry` it: what was seen before does "
            "not count then."
        ) from None
