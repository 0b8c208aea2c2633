"""The scorer: learns what escalating gains, and says the same from JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tierflow.routing.learned import (
    Described,
    Fitted,
    GainScorer,
    Recorded,
    Recordings,
    describe_all,
    fit_scorer,
)

COUNT = 600


def recordings(seed: int = 0) -> Recordings:
    """Replies that doubt are mostly wrong; the strong model is right on most, but not on sums."""
    random = np.random.default_rng(seed)
    doubts = random.random(COUNT) < 0.4
    sums = random.random(COUNT) < 0.3
    weak = random.random(COUNT) < np.where(doubts, 0.3, 0.9)
    strong = random.random(COUNT) < np.where(sums, 0.5, 0.9)
    agrees = np.where(weak, random.random(COUNT) < 0.7, random.random(COUNT) < 0.2)

    def recorded(model: str, texts: list[str], values: list[str], right: np.ndarray) -> Recorded:
        return Recorded(model, texts, values, right.astype(float), np.full(COUNT, 1e-4))

    texts = [f"{'Perhaps, but it seems unclear.' if each else 'Yes.'}" for each in doubts]
    return Recordings(
        ["Which one?\nfirst\nsecond\nthird"] * COUNT,
        ["sums" if each else "facts" for each in sums],
        {
            "weak": recorded("weak", texts, ["A"] * COUNT, weak),
            "strong": recorded("strong", texts, ["A"] * COUNT, strong),
            "helper": recorded("helper", texts, ["A" if each else "B" for each in agrees], agrees),
        },
    )


def fit(known: Recordings, helper: str | None = None) -> Fitted:
    items = describe_all(known, "weak", helper)
    return fit_scorer(items, known["weak"].quality, known["strong"].quality)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return fit(recordings())


def test_a_doubting_reply_scores_below_a_sure_one(fitted: Fitted) -> None:
    ask = "Which one?\nfirst\nsecond\nthird"
    sure = fitted.scorer.estimate(ask, "facts", "Yes.", "A")
    unsure = fitted.scorer.estimate(ask, "facts", "Perhaps, but it seems unclear.", "A")
    assert sure.score > unsure.score
    assert sure.right == pytest.approx(0.9, abs=0.08)
    assert unsure.right == pytest.approx(0.3, abs=0.08)
    assert sure.gain < 0.2 < unsure.gain


def test_the_stratum_matters_where_the_strong_model_is_weak(fitted: Fitted) -> None:
    ask, reply = "Which one?\nfirst\nsecond\nthird", "Perhaps, but it seems unclear."
    facts = fitted.scorer.estimate(ask, "facts", reply, "A")
    sums = fitted.scorer.estimate(ask, "sums", reply, "A")
    assert sums.score > facts.score


def test_a_stratum_never_seen_still_gets_an_estimate(fitted: Fitted) -> None:
    found = fitted.scorer.estimate("Why?", "law", "", "")
    assert 0 <= found.right <= 1
    assert -1 <= found.gain <= 1


def test_one_reply_and_many_are_scored_alike(fitted: Fitted) -> None:
    known = recordings(1)
    scores, right = fitted.scorer.scores(describe_all(known, "weak"))
    for at in range(5):
        replies = known["weak"]
        one = fitted.scorer.estimate(
            known.asks[at], known.strata[at], replies.texts[at], replies.values[at]
        )
        assert one.score == pytest.approx(scores[at])
        assert one.right == pytest.approx(fitted.scorer.right(right)[at])


def test_a_scorer_says_the_same_after_json(fitted: Fitted) -> None:
    items = describe_all(recordings(1), "weak")
    read = GainScorer.from_json(fitted.scorer.to_json())
    assert read.to_json() == fitted.scorer.to_json()
    for ours, theirs in zip(read.scores(items), fitted.scorer.scores(items), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_another_version_or_other_features_are_refused(fitted: Fitted) -> None:
    written = json.loads(fitted.scorer.to_json())
    with pytest.raises(ValueError, match="version 2"):
        GainScorer.from_json(json.dumps(written | {"version": 2}))
    with pytest.raises(ValueError, match="other features"):
        GainScorer.from_json(json.dumps(written | {"names": ["reply_length"]}))


def test_training_scores_are_out_of_fold() -> None:
    known = recordings()
    coin = np.random.default_rng(5).integers(0, 2, COUNT).astype(float)
    items = describe_all(known, "weak")
    # A column that names every item would let a scorer know its own training items by heart.
    named = Described(
        (*items.names, "row"),
        np.hstack((items.matrix, np.arange(float(COUNT))[:, None])),
        items.strata,
    )
    found = fit_scorer(named, coin, np.ones(COUNT))
    assert abs(np.corrcoef(found.right, coin)[0, 1]) < 0.15


def test_a_helpers_agreement_is_learned_and_then_needed() -> None:
    found = fit(recordings(), "helper")
    ask = "Which one?\nfirst\nsecond\nthird"
    agreed = found.scorer.estimate(ask, "facts", "Yes.", "A", "A")
    alone = found.scorer.estimate(ask, "facts", "Yes.", "A", "B")
    assert agreed.score > alone.score
    with pytest.raises(ValueError, match="a helper's answer"):
        found.scorer.estimate(ask, "facts", "Yes.", "A")
    assert GainScorer.from_json(found.scorer.to_json()).needs_helper


def test_a_helper_that_was_not_learned_from_is_refused(fitted: Fitted) -> None:
    with pytest.raises(ValueError, match="no helper's answer"):
        fitted.scorer.estimate("Why?", "facts", "Yes.", "A", "A")


def test_quality_between_right_and_wrong_is_learned_from_too() -> None:
    known = recordings()
    weak = known["weak"]
    known = Recordings(
        known.asks,
        known.strata,
        {**known.models, "weak": replace(weak, quality=0.25 + weak.quality / 2)},
    )
    sure = fit(known).scorer.estimate(known.asks[0], "facts", "Yes.", "A")
    assert sure.right == pytest.approx(0.7, abs=0.06)


def test_what_cannot_be_learned_from_is_refused() -> None:
    items = describe_all(recordings(), "weak")
    few = np.arange(20)
    with pytest.raises(ValueError, match="too few"):
        fit_scorer(items.at(few), np.ones(20), np.ones(20))
    with pytest.raises(ValueError, match="alike good"):
        fit_scorer(items, np.ones(COUNT), np.ones(COUNT))
