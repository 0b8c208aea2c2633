"""Trained: a scorer that was learned from labelled items, as a judge. Learns nothing itself.

`tierflow judge train` writes the scorer's file. numpy is loaded when the first reply is judged.
"""

import hashlib
from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .asking import ask_tier
from .judges import Case, Judge, Score
from .texts import ask_of, text_of

if TYPE_CHECKING:
    from .learned import GainScorer

STRATUM = "all"
"""Of questions whose prompt names none."""

_LEAST, _MOST = -1.0, 1.5
"""What an estimate's score lies between: half a chance, less a gain in [-1, 1]."""


@dataclass(frozen=True, slots=True)
class TrainedJudge:
    """A judge by a scorer's file, which is read again when it changes. See `trained`."""

    path: Path
    tiers: tuple[str, ...] = ()
    threshold: float = 0.5
    name: str = "trained"
    logprobs: bool = False

    @property
    def identity(self) -> str:
        """A hash of the file: what was proven of another scorer says nothing of this one."""
        return f"trained({self._read()[1]},{','.join(self.tiers)})"

    def score(self, case: Case[Any]) -> Generator[Any, Any, Score]:
        """Score by what the scorer expects of escalating. Raises ConfigError."""
        scorer, _ = self._read()
        request, other = case.question.request, None
        if self.tiers:
            question = replace(case.question, role="judge", on_chunk=None)
            helped = yield from ask_tier(question, case.helpers[self.tiers[0]])
            other = text_of(helped.value)
        reply, value = case.parsed.reply.text, text_of(case.parsed.value)
        stratum = request.stratum or STRATUM
        found = scorer.estimate(ask_of(request), stratum, reply, value, other)
        reason = f"right with a chance of {found.right:.2f}, escalating gains {found.gain:+.2f}"
        return Score(_from_0_to_1(found.score), reason)

    def _read(self) -> "tuple[GainScorer, str]":
        try:
            known = self.path.stat()
            read = _read(self.path.absolute(), known.st_mtime_ns, known.st_size, known.st_ino)
        except OSError as exc:
            raise ConfigError(f"{self.path} cannot be read: {exc.strerror}. {_REMEDY}") from exc
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as exc:
            raise ConfigError(f"{self.path} holds no scorer: {exc}. {_REMEDY}") from exc
        if read[0].needs_helper != bool(self.tiers):
            wanted = "helper=..." if read[0].needs_helper else "no helper"
            raise ConfigError(f"{self.path} was learned with {wanted}: say so in trained().")
        return read


def trained(path: str | Path, *, helper: str | None = None, threshold: float = 0.5) -> Judge:
    """Score by a scorer that `tierflow judge train` wrote to `path`.

    `helper`: a further tier that is asked on every item; the scorer learns from whether its answer
    is the same. The score ranks replies and is no chance: let `tierflow judge calibrate` choose the
    threshold, on items that the scorer has not seen. A relative path is looked for where the
    process runs. A step raises ConfigError for a file that is missing or damaged.
    """
    return TrainedJudge(Path(path), (helper,) if helper else (), threshold)


_REMEDY = "Write it with `tierflow judge train STEP --items FILE --out SCORER`."


@lru_cache(maxsize=16)
def _read(path: Path, _changed_ns: int, _size: int, _inode: int) -> "tuple[GainScorer, str]":
    """Return the scorer and a hash of its file."""
    from .learned import GainScorer  # noqa: PLC0415  # imports numpy

    content = path.read_bytes()
    scorer = GainScorer.from_json(content.decode())
    # Found here, because arrays that do not fit each other only fail when they are used.
    tried = scorer.estimate("", STRATUM, "", "", "" if scorer.needs_helper else None)
    if not all(map(isfinite, (tried.score, tried.right, tried.gain))):
        raise ValueError("its numbers are not finite")
    return scorer, hashlib.sha256(content).hexdigest()[:16]


def _from_0_to_1(score: float) -> float:
    return min(max((score - _LEAST) / (_MOST - _LEAST), 0.0), 1.0)
