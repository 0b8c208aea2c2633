"""Prefect rollout store: states and observations as Variables, for teams that share nothing else.

Each is created once and never changed: a revision of a state, a batch of observations, a score.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import groupby, takewhile
from operator import attrgetter
from typing import Any, TypeVar
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError
from slugify import slugify

from ..errors import StoreError
from .observations import Observation, Observed, PairSeen
from .prefect_variables import MOST_BYTES, Variable, Variables, size_of
from .state import RolloutState
from .written import observation_of, observed, pair_of, pair_row_of, row_of

T = TypeVar("T")

KEPT_REVISIONS = 50


class PrefectRollouts:
    """Rollouts in the Variables of the Prefect server in force; opened on first use."""

    def __init__(self) -> None:
        self._variables = Variables()
        self._named = set[str]()

    def newest(self, rollout: str) -> RolloutState | None:
        """See Rollouts."""
        found = self._variables.last(_prefix("", rollout))
        return None if found is None else _state(found)

    def put(self, state: RolloutState) -> bool:
        """See Rollouts. Raises StoreError for a state that is too long for a Variable."""
        rollout, prefix = state.rollout, _prefix("", state.rollout)
        name = f"{prefix}{state.revision:09d}"
        value = {"rollout": rollout, "put": uuid4().hex, "state": state.model_dump(mode="json")}
        _check_size(f"Revision {state.revision} of rollout {rollout!r}", value)
        if rollout not in self._named:
            self._variables.create(f"tierflow_rollout_name__{_slug(rollout)}", {"rollout": rollout})
            self._named.add(rollout)
        is_new = self._variables.create(name, value)
        # The client tries again when a reply is lost, and may then find what it wrote itself.
        if not is_new and self._variables.read(name) != value:
            return False
        old = self._variables.find(prefix, newest=True, skip=KEPT_REVISIONS)
        names = [each.name for each in old]
        for each in names:
            self._variables.delete(each)
        # So far behind, its revision may have been somebody else's and deleted since.
        return name not in names

    def history(self, rollout: str) -> Sequence[RolloutState]:
        """See Rollouts."""
        found = {each.name: each for each in self._find("", rollout)}
        return [_state(each) for _, each in sorted(found.items())]

    def names(self) -> Sequence[str]:
        """See Rollouts."""
        named = self._variables.find("tierflow_rollout_name__", newest=False)
        return sorted({_read(each, "rollout", _NAME.validate_python) for each in named})

    def observe(self, rollout: str, seen: Sequence[Observation]) -> None:
        """See Rollouts."""
        epoch = attrgetter("epoch")
        for number, of_epoch in groupby(sorted(seen, key=epoch), key=epoch):
            for rows in _batches(rollout, [row_of(each) for each in of_epoch]):
                self._keep("seen", rollout, f"{number:09d}_", {"rows": rows})

    def pair(self, rollout: str, pair: PairSeen) -> None:
        """See Rollouts."""
        value = {"pair": pair_row_of(pair)}
        self._keep("pair", rollout, f"{pair.candidate.epoch:09d}_", value)

    def score(self, rollout: str, ref: str, evaluation: str, score: float) -> None:
        """See Rollouts."""
        self._keep("score", rollout, "", {"score": [ref, evaluation, score]})

    def seen(self, rollout: str, since: int) -> Observed:
        """See Rollouts."""
        calls, pairs = dict[str, Observation](), dict[str, PairSeen]()
        for batch in self._from("seen", rollout, since):
            for each in _calls_in(batch):
                calls.setdefault(each.ref, each)
        for kept in self._from("pair", rollout, since):
            pair = _pair_in(kept)
            pairs.setdefault(pair.candidate.ref, pair)
        scores = defaultdict[str, dict[str, float]](dict)
        for kept in _by_age(self._find("score", rollout)):
            ref, evaluation, score = _score_in(kept)
            scores[ref][evaluation] = score
        return observed(calls.values(), pairs.values(), scores)

    def forget(self, rollout: str, before_epoch: int) -> None:
        """See Rollouts."""
        names, refs = set[str](), set[str]()
        for batch in self._before("seen", rollout, before_epoch):
            names.add(batch.name)
            refs |= {each.ref for each in _calls_in(batch)}
        for kept in self._before("pair", rollout, before_epoch):
            names.add(kept.name)
            pair = _pair_in(kept)
            refs |= {pair.candidate.ref, pair.baseline.ref}
        scores = {each.name for each in self._find("score", rollout) if _score_in(each)[0] in refs}
        # Scores first: after a failure they can still be found by what they belong to.
        for name in (*scores, *names):
            self._variables.delete(name)

    def close(self) -> None:
        """See Rollouts."""
        self._variables.close()

    def _find(self, kind: str, rollout: str, *, newest: bool = True) -> Iterator[Variable]:
        return self._variables.find(_prefix(kind, rollout), newest=newest)

    def _from(self, kind: str, rollout: str, since: int) -> list[Variable]:
        least = f"{_prefix(kind, rollout)}{since:09d}"
        found = self._find(kind, rollout)
        return _by_age(takewhile(lambda each: each.name >= least, found))

    def _before(self, kind: str, rollout: str, epoch: int) -> list[Variable]:
        least = f"{_prefix(kind, rollout)}{epoch:09d}"
        found = self._find(kind, rollout, newest=False)
        return list(takewhile(lambda each: each.name < least, found))

    def _keep(self, kind: str, rollout: str, order: str, value: dict[str, Any]) -> None:
        whole = {"rollout": rollout, **value}
        _check_size(f"What was observed of rollout {rollout!r}", whole)
        # Where its name is taken, it is by a try of ours whose reply was lost.
        self._variables.create(f"{_prefix(kind, rollout)}{order}{uuid4().hex}", whole)


def _slug(rollout: str) -> str:
    # The digest tells names apart whose letters and signs a Variable's name cannot have.
    return f"{slugify(rollout, max_length=60)}-{sha256(rollout.encode()).hexdigest()[:16]}"


def _prefix(kind: str, rollout: str) -> str:
    return f"tierflow_rollout{kind and '_'}{kind}__{_slug(rollout)}__"


def _by_age(found: Iterable[Variable]) -> list[Variable]:
    return sorted(found, key=attrgetter("created", "name"))


def _batches(rollout: str, rows: Iterable[list[Any]]) -> Iterator[list[list[Any]]]:
    """Split rows into as few values as may be."""
    empty = size_of({"rollout": rollout, "rows": []})
    batch, size = list[list[Any]](), empty
    for row in rows:
        more = size_of(row) + 1
        if batch and size + more > MOST_BYTES:
            yield batch
            batch, size = [], empty
        batch.append(row)
        size += more
    if batch:
        yield batch


def _check_size(what: str, value: object) -> None:
    size = size_of(value)
    if size > MOST_BYTES:
        raise StoreError(
            f"{what} has {size:,} bytes, and a Variable of Prefect holds {MOST_BYTES:,}. Start the "
            "rollout anew under another name, or keep rollouts in PostgreSQL: set "
            'TIERFLOW_STORE_URL, and TIERFLOW_ROLLOUT_STORE="".'
        )


_KEPT = TypeAdapter(dict[str, Any])
_ROWS = TypeAdapter(list[Any])
_NAME = TypeAdapter(str)
_SCORE = TypeAdapter(tuple[str, str, float])


def _state(kept: Variable) -> RolloutState:
    return _read(kept, "state", lambda value: RolloutState.from_json(json.dumps(value)))


def _calls_in(batch: Variable) -> list[Observation]:
    return _read(batch, "rows", lambda rows: list(map(observation_of, _ROWS.validate_python(rows))))


def _pair_in(kept: Variable) -> PairSeen:
    return _read(kept, "pair", pair_of)


def _score_in(kept: Variable) -> tuple[str, str, float]:
    return _read(kept, "score", _SCORE.validate_python)


def _read(kept: Variable, part: str, reader: Callable[[Any], T]) -> T:
    try:
        return reader(_KEPT.validate_python(kept.value).get(part))
    except (ValidationError, StoreError):
        # Their words may quote the value.
        raise StoreError(
            f"Prefect's Variable {kept.name} cannot be read: it is damaged or of another version. "
            "Delete it: an older revision, or the other observations, count then."
        ) from None
