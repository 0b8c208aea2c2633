"""Calibrations: which strata open, by which rule, and that the record is whole."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.errors import StoreError
from tierflow.routing.gate import Calibration, Compared, Judged, Pairs, calibrate
from tierflow.routing.gate.calibration import MAX_AGE_S

from .labels import BOUND_TO, FAIR, NOW, a_calibration, compared, judged


def of(items: list[Judged] | list[Compared], **options: object) -> Calibration:
    return calibrate("triage", items, BOUND_TO, at=NOW, threshold=0.7, **options)  # type: ignore[arg-type]  # a test's shorthand


def test_a_judge_above_the_floor_opens_with_what_proved_it() -> None:
    found = of(compared(93, 2, 5))

    assert found.opens
    assert found.open_strata == ("all",)
    assert found.reason == "93 of 100 verdicts were right, 0.873 is proven, over the floor of 0.80"


def test_a_judge_whose_bound_is_below_the_floor_stays_closed_however_good_its_share() -> None:
    found = of(compared(86, 14))

    assert not found.opens
    assert "under the floor" in found.reason


def test_a_good_stratum_does_not_open_the_others() -> None:
    found = of([*compared(950, 50, stratum="easy"), *compared(20, 27, stratum="hard")])

    assert found.pooled.reliability(0.95).accuracy_lower > 0.8
    assert found.open_strata == ("easy",)
    assert not found.pooled.opens
    assert found.pooled.reason.startswith("closed in hard; all together: ")
    assert found.reason == "1 of 2 strata open: easy"


def test_pooled_opens_where_every_stratum_does() -> None:
    found = of([*compared(95, 5, stratum="a"), *compared(96, 4, stratum="b")])

    assert found.pooled.opens
    assert found.pooled.counts.count == 200


def test_a_judge_that_accepts_everything_stays_closed_though_most_verdicts_are_right() -> None:
    found = of(judged(1.0, 1.0, count=1000, weak=0.95))

    assert found.pooled.reliability(0.95).accuracy_lower > 0.9
    assert not found.opens


def test_where_pairs_are_known_the_break_even_replaces_the_floor() -> None:
    items = judged(0.8, 0.2, count=1000)

    assert not of(items).opens
    assert of(items, pairs={"all": FAIR}).opens
    # The strong tier is so much better here that this judge would lose.
    steep = Pairs(both=600, weak_only=20, strong_only=300, neither=80)
    assert not of(items, pairs={"all": steep}).opens
    assert of(items, pairs={"all": FAIR}).pooled.rule == "break-even"


def test_a_stratum_without_pairs_falls_back_on_the_floor() -> None:
    items = [*judged(0.8, 0.2, 1000, stratum="a"), *judged(0.8, 0.2, 1000, stratum="b")]

    found = of(items, pairs={"a": FAIR})

    assert [each.rule for each in found.strata.values()] == ["break-even", "floor"]
    assert found.open_strata == ("a",)
    assert found.pooled.rule == "floor"


def test_pairs_of_all_strata_are_pooled() -> None:
    items = [*judged(0.85, 0.1, 500, stratum="a"), *judged(0.85, 0.1, 500, stratum="b")]

    found = of(items, pairs={"a": FAIR, "b": FAIR})

    assert found.pooled.opens
    assert found.pooled.pairs == FAIR + FAIR


def test_strong_replies_of_the_items_themselves_go_before_other_pairs() -> None:
    items = [Judged(accepted=True, right=True, strong_right=place % 2 > 0) for place in range(100)]

    found = of(items, pairs={"all": FAIR})

    assert found.pooled.rule == "paired"
    assert found.opens
    assert "of 100 pairs 50 were won and 0 lost" in found.reason


def test_a_loss_that_is_allowed_opens_what_no_loss_does_not() -> None:
    items = judged(0.75, 0.35, count=2000)

    closed, opened = of(items, pairs={"all": FAIR}), of(items, pairs={"all": FAIR}, max_loss=0.05)

    assert not closed.opens
    assert opened.opens
    assert "over the 0.00% allowed" in closed.reason
    assert "within the 5.00% allowed" in opened.reason


def test_audits_are_held_against_what_breaks_even() -> None:
    assert of(compared(95, 5)).watch_floor == 0.8
    assert of([]).watch_floor == 0.8
    known = of(judged(0.9, 0.1, 1000), pairs={"all": FAIR})
    a, b = FAIR.worth()
    assert known.watch_floor == pytest.approx(b / (a + b))
    # A judge at the floor would accept 0.8 of 600 right and 0.2 of 400 wrong replies.
    assert of(judged(0.95, 0.02, 1000)).watch_floor == pytest.approx(480 / 560)
    own = [
        *(Judged(accepted=True, right=True, strong_right=place < 60) for place in range(80)),
        *(Judged(accepted=True, right=False, strong_right=place < 6) for place in range(10)),
    ]
    assert of(own).watch_floor == pytest.approx(0.6 / (0.25 + 0.6))


def test_scores_are_reported_on_the_side() -> None:
    items = [
        Judged(score >= 0.5, right=score >= 0.4, score=score) for score in np.linspace(0, 1, 50)
    ]
    found = of(items)
    assert found.auroc == 1
    assert found.ece is not None
    assert 0 < found.ece < 0.4
    assert of(judged(0.9, 0.1)).auroc is None


def test_no_items_open_nothing() -> None:
    found = of([])
    assert not found.opens
    assert not found.pooled.opens
    assert found.reason == "no labelled items"


def test_items_of_two_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be mixed"):
        of([*judged(0.9, 0.1), *compared(5, 5)])  # type: ignore[arg-type]  # what is refused


@pytest.mark.parametrize("wrong", [{"max_loss": -0.1}, {"max_loss": 1}, {"floor": 1.0}])
def test_limits_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be in"):
        of(compared(5, 5), **wrong)


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.builds(Compared, names, names, names, names), max_size=12), st.floats(0, 1))
def test_a_calibration_survives_its_json(items: list[Compared], threshold: float) -> None:
    made = calibrate("step", items, BOUND_TO, at=NOW, threshold=threshold)

    read = Calibration.from_json(made.model_dump_json())

    assert read == made
    assert read.id == made.id


def test_judged_items_survive_json_too() -> None:
    made = of(judged(0.8, 0.2, 300), pairs={"all": FAIR}, max_loss=0.01)
    assert Calibration.from_json(made.model_dump_json()) == made


def test_a_record_from_before_ages_were_kept_is_the_same_record_now() -> None:
    # Its state in the store goes by this id.
    assert a_calibration().id == "0f14101680b03081"
    assert "max_age_s" not in a_calibration().model_dump_json()
    assert Calibration.from_json(a_calibration().model_dump_json()).max_age_s == MAX_AGE_S


@pytest.mark.parametrize("max_age_s", [3600.0, 1e300, math.inf])
def test_an_age_of_the_cascades_own_is_kept(max_age_s: float) -> None:
    made = of(compared(95, 5), max_age_s=max_age_s)

    read = Calibration.from_json(made.model_dump_json())

    assert (read, read.id, read.max_age_s) == (made, made.id, max_age_s)
    assert made.id != of(compared(95, 5)).id


def test_a_calibration_cannot_be_changed_and_its_id_tells_it_from_others() -> None:
    made = a_calibration()
    with pytest.raises(ValueError, match="frozen"):
        made.threshold = 0.1
    assert made.id == a_calibration().id
    assert made.id != a_calibration(at=NOW + 1).id


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 2}'])
def test_what_cannot_be_read_is_said_with_the_remedy(text: str) -> None:
    with pytest.raises(StoreError, match="tierflow judge calibrate"):
        Calibration.from_json(text)


def test_the_error_about_a_damaged_record_quotes_nothing_of_it() -> None:
    body = a_calibration().model_dump_json().replace('"version":1', '"version":"secret words"')
    with pytest.raises(StoreError) as caught:
        Calibration.from_json(body)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_judge_just_below_the_floor_opens_as_seldom_as_said() -> None:
    random, opened = np.random.default_rng(9), 0
    for right in random.binomial(100, 0.799, 1000).tolist():
        opened += of(compared(right, 100 - right)).opens
    assert opened <= 60  # 50 expected at most
