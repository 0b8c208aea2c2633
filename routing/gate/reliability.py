"""Gate: reliability. What the counts of a judge say of it, with bounds. Decides nothing.

Accuracy and the accept rates decide; balanced accuracy keeps a judge out that accepts everything.
Kappa, expected calibration error and AUROC are for reading: kappa moves with the share of right
replies at the same rates, the other two are about scores, not verdicts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ...bounds import lower_share, upper_share
from .tally import Choices, Compared, Counts, Tally


@dataclass(frozen=True, slots=True)
class Reliability:
    """Shares in [0, 1]; None where there was no item to count.

    If judge and questions stay as they were, each bound of `accuracy` lies on the wrong side of
    the true share with probability 1 - confidence at most, each by itself. `tar_lower` and
    `far_upper` hold both at once with that confidence, and so does `balanced_lower`, which is made
    of them. Those of judged replies are None for comparisons.
    """

    count: int
    accuracy: float | None
    accuracy_lower: float
    accuracy_upper: float
    tar: float | None = None
    tar_lower: float | None = None
    far: float | None = None
    far_upper: float | None = None
    balanced: float | None = None
    balanced_lower: float | None = None
    kappa: float | None = None


def reliability(counts: Counts, confidence: float) -> Reliability:
    """Return what the counts of one stratum, or of all, say of a judge."""
    count, right = counts.count, counts.right
    share = _share(right, count)
    lower = lower_share(right, count, confidence)
    upper = upper_share(right, count, confidence)
    if isinstance(counts, Choices):
        return Reliability(count, share, lower, upper)
    tar = _share(counts.accepted_right, counts.right_replies)
    far = _share(counts.accepted_wrong, counts.wrong_replies)
    tar_lower, far_upper = counts.rates((1 + confidence) / 2)
    return Reliability(
        count,
        share,
        lower,
        upper,
        tar=tar,
        tar_lower=tar_lower,
        far=far,
        far_upper=far_upper,
        balanced=None if tar is None or far is None else (tar + 1 - far) / 2,
        balanced_lower=(tar_lower + 1 - far_upper) / 2,
        kappa=_kappa_of(counts),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _kappa_of(tally: Tally) -> float | None:
    count = tally.count
    accepted, right = tally.accepted, tally.right_replies
    by_chance = accepted * right + (count - accepted) * (count - right)
    return _kappa(tally.right, by_chance, count)


def kappa_of(items: Sequence[Compared]) -> float | None:
    """Return Cohen's kappa of verdicts and labels, with abstaining as a verdict of its own.

    None where chance alone would always agree. Prevalence moves it: for reading only.
    """
    said = [None if each.abstained else each.verdict for each in items]
    labels = [each.label for each in items]
    by_chance = sum(said.count(label) * labels.count(label) for label in set(labels))
    return _kappa(sum(each.right for each in items), by_chance, len(items))


def _kappa(agreed: int, by_chance: int, count: int) -> float | None:
    spare = count * count - by_chance
    return (agreed * count - by_chance) / spare if spare else None


def auroc(scores: Sequence[float], right: Sequence[bool]) -> float | None:
    """Return the probability that a right reply scores above a wrong one, half for a tie.

    None without a reply of each kind.
    """
    good = sum(right)
    bad = len(right) - good
    if not good or not bad:
        return None
    above, seen = 0.0, 0
    ranked = sorted(zip(scores, right, strict=True))
    at = 0
    while at < len(ranked):
        tied = at
        while tied < len(ranked) and ranked[tied][0] == ranked[at][0]:
            tied += 1
        good_here = sum(each[1] for each in ranked[at:tied])
        bad_here = tied - at - good_here
        above += good_here * (seen + bad_here / 2)
        seen += bad_here
        at = tied
    return above / (good * bad)


def calibration_error(
    scores: Sequence[float], right: Sequence[bool], bins: int = 10
) -> float | None:
    """Return the expected calibration error: how far scores are from shares of right replies.

    The mean distance of mean score and share over `bins` equally filled bins, by size. Few items
    in a bin make it too great. None without items. Source: Naeini et al., AAAI 2015.
    """
    ranked = sorted(zip(scores, right, strict=True))
    count = len(ranked)
    if not count:
        return None
    ends = sorted({round(count * each / bins) for each in range(bins + 1)})
    apart = 0.0
    for start, end in pairwise(ends):
        part = ranked[start:end]
        apart += abs(sum(score for score, _ in part) - sum(good for _, good in part))
    return apart / count
