"""The calibration report: bins, curve, lengths and pictures of outcomes whose sums are known."""

import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tierflow import Cascade, Prompt, llm_task, schema
from tierflow.bounds import lower_share, upper_share
from tierflow.routing.gate import Binding
from tierflow.tasks.proving.bins import bins_of
from tierflow.tasks.proving.calibration import Outcome, prove
from tierflow.tasks.proving.collecting import collect
from tierflow.tasks.proving.curve import Curve, curve_of
from tierflow.tasks.proving.items import Item
from tierflow.tasks.proving.lengths import Third, by_length, chance_of_more, thirds
from tierflow.tasks.proving.report import markdown

BOUND_TO = Binding(models=("fast", "frontier"), prompt="p", judge="j")
RULE = Cascade(to="frontier", judge=schema(), max_loss=0.2)


def outcome(number: int = 0, **fields: Any) -> Outcome:
    given: dict[str, Any] = {
        "item": hashlib.sha256(str(number).encode()).hexdigest()[:32],
        "at": 1e9,
        "bound_to": BOUND_TO,
        "stratum": "all",
        "score": 1.0,
        "right": True,
        "strong_right": True,
        "agrees": True,
        "weak_usd": 0.01,
        "judge_usd": 0.02,
        "strong_usd": 0.1,
        "letters": 10,
    }
    return Outcome(**(given | fields))


def some(**fields: Any) -> list[Outcome]:
    """A hundred outcomes: the judge is right about all but the tenth ones, which it lets pass."""
    return [
        outcome(
            number,
            **{
                "score": 0.2 if number % 4 == 0 else 0.9,
                "right": bool(number % 4 and number % 10),
                "strong_right": number % 50 != 0,
                **fields,
            },
        )
        for number in range(100)
    ]


def report(outcomes: Sequence[Outcome]) -> str:
    return markdown(prove("colour", "fast", RULE, outcomes), outcomes)


def pictures(text: str) -> list[str]:
    """The SVG images of a report."""
    found = re.findall(r"!\[[^\]]+\]\(data:image/svg\+xml;base64,([^)]+)\)", text)
    return [base64.b64decode(each).decode() for each in found]


# --- pictures


def test_the_report_shows_reliability_and_curve_as_images() -> None:
    text = report(some())

    reliability, curve = pictures(text)
    for heading in ("## Strata", "## Reliability of the judge's scores", "## Quality and cost"):
        assert heading in text
    texts = [
        {each.text for each in ET.fromstring(svg).iter() if each.text}
        for svg in (reliability, curve)
    ]
    assert {"judge's score, 0 to 1", "right replies, %", "accepted from 0.9", "25", "75"} <= texts[
        0
    ]
    assert {
        "cost, % of the strongest tier alone",
        "right answers, %",
        "best single tier",
        "cheap tier alone",
        "chosen: accepted from 0.9",
        "oracle",
        "perfect judge",
        "random mix",
        "strongest tier alone",
    } <= texts[1]


def test_no_colour_of_a_picture_is_the_same_on_every_page() -> None:
    for svg in pictures(report(some())):
        assert not re.findall("#[0-9a-f]{6}", svg[svg.index("</style>") :])


def test_without_prices_there_is_no_curve() -> None:
    text = report(some(judge_usd=None))

    assert len(pictures(text)) == 1
    assert "## Quality and cost" not in text


def test_where_all_is_free_there_is_nothing_to_draw_against() -> None:
    text = report(some(weak_usd=0.0, judge_usd=0.0, strong_usd=0.0))

    assert len(pictures(text)) == 1
    assert "| strongest tier alone | 98.0% | 0.0000 | 0% |" in text


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_one_score_alone_can_be_drawn(score: float) -> None:
    assert len(pictures(report([outcome(n, score=score) for n in range(30)]))) == 2


# --- bins


def test_a_bin_counts_its_replies_and_bounds_their_share_exactly() -> None:
    low, high = bins_of(some(), 0.9)

    assert (low.low, low.items, low.right, low.accepted) == (0.2, 25, 0, 0)
    assert (high.high, high.items, high.right, high.accepted) == (1.0, 75, 70, 75)
    assert high.interval == (lower_share(70, 75, 0.975), upper_share(70, 75, 0.975))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=30), st.floats(0, 1))
def test_every_reply_is_in_the_bin_of_its_score(
    replies: list[tuple[float, bool]], threshold: float
) -> None:
    bins = bins_of([outcome(score=score, right=right) for score, right in replies], threshold)

    assert sum(each.items for each in bins) == len(replies)
    assert sum(each.right for each in bins) == sum(right for _, right in replies)
    assert sum(each.accepted for each in bins) == sum(score >= threshold for score, _ in replies)
    for each in bins:
        low, high = each.interval
        assert low <= each.share <= high
        assert each.low - 1e-9 <= each.score <= each.high + 1e-9


# --- curve


def drawn(outcomes: Sequence[Outcome]) -> Curve:
    curve = curve_of(outcomes)
    assert curve is not None
    return curve


def test_each_policy_costs_what_it_asks_for() -> None:
    curve = drawn(
        [
            outcome(score=0.9, right=True, strong_right=True),
            outcome(score=0.8, right=False, strong_right=True),
            outcome(score=0.1, right=True, strong_right=False),
            outcome(score=0.0, right=False, strong_right=False),
        ]
    )
    policies = {
        "cheap tier alone": (curve.cheap, 0.5, 0.04),
        "strongest tier alone": (curve.strong, 0.5, 0.4),
        "half and half, at random": (curve.mixed, 0.5, 0.22),
        "oracle": (curve.oracle, 0.75, 0.13),
        "perfect judge": (curve.perfect, 0.75, 0.24),
        "accepted at 0.8": (curve.accepting(0.8), 0.25, 0.32),
    }
    for name, (policy, right, cost_usd) in policies.items():
        assert policy.name == name
        assert policy.right == pytest.approx(right)
        assert policy.cost_usd == pytest.approx(cost_usd)
    assert curve.first_share == pytest.approx(0.3)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_nothing_beats_the_oracle_and_accepting_all_is_the_cheap_tier(
    items: list[tuple[float, bool, bool]],
) -> None:
    curve = drawn([outcome(score=s, right=r, strong_right=b) for s, r, b in items])

    for threshold in curve.thresholds(0.5, 10):
        assert curve.accepting(threshold).right <= curve.oracle.right + 1e-9
    assert curve.accepting(0.0).right == curve.cheap.right
    assert curve.accepting(2.0).right == curve.strong.right
    assert curve.perfect.right == curve.oracle.right


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.floats(0, 1), st.integers(2, 20))
def test_thresholds_rise_hold_the_chosen_one_and_are_not_too_many(
    scores: list[float], chosen: float, most: int
) -> None:
    found = drawn([outcome(score=score) for score in scores]).thresholds(chosen, most)

    assert found == sorted(set(found))
    assert chosen in found
    assert len(found) <= most + 1


# --- lengths


def fond_of_length(number: int) -> Outcome:
    """Wrong replies all; the judge accepts those of more than 60 letters."""
    letters = number % 90 + 1
    return outcome(number, letters=letters, score=float(letters > 60), right=number % 3 == 0)


def test_a_judge_that_accepts_wrong_replies_for_being_long_is_named() -> None:
    text = "\n".join(by_length([fond_of_length(number) for number in range(90)], 1.0))

    assert "| shortest | 1-30 | 30 | 33% | 0% | 0 of 20 |" in text
    assert "| middle | 31-60 | 30 | 33% | 0% | 0 of 20 |" in text
    assert "| longest | 61-90 | 30 | 33% | 100% | 20 of 20 |" in text
    assert "The judge seems to favour length." in text
    assert "20 of 20 among the longest, and 0 of 20 among the shortest" in text


@pytest.mark.parametrize("turned", [True, False])
def test_a_judge_that_accepts_short_ones_or_all_alike_is_not(turned: bool) -> None:
    outcomes = [
        outcome(number, letters=number + 1, right=False, score=float(number < 45 if turned else 1))
        for number in range(90)
    ]
    text = "\n".join(by_length(outcomes, 1.0))

    assert "## By length of the reply" in text
    assert "favour length" not in text


def test_a_difference_that_chance_explains_says_nothing() -> None:
    outcomes = [
        outcome(number, letters=number + 1, right=False, score=float(number in {2, 80, 81, 82}))
        for number in range(90)
    ]
    assert "favour length" not in "\n".join(by_length(outcomes, 1.0))


def test_items_without_a_reply_or_of_before_have_no_length() -> None:
    assert thirds([outcome(letters=0)], 0.5) == []
    assert list(by_length([outcome(letters=0)], 0.5)) == []
    assert [each.items for each in thirds([outcome(letters=0), outcome(letters=3)], 0.5)] == [1]


def test_an_outcome_that_was_written_before_lengths_were_still_reads() -> None:
    row = json.loads(outcome().model_dump_json())
    del row["letters"]

    assert Outcome.model_validate_json(json.dumps(row)).letters == 0


@pytest.mark.parametrize(
    ("lengths", "names"),
    [
        ([7] * 9, ["all"]),
        ([7] * 8 + [9], ["shortest", "longest"]),
        ([7] * 4 + [9] * 5, ["shortest", "longest"]),
        ([7, 8, 9], ["shortest", "middle", "longest"]),
        ([1] + [7] * 8 + [9], ["shortest", "middle", "longest"]),
    ],
)
def test_where_many_are_equally_long_there_are_fewer_thirds(
    lengths: list[int], names: list[str]
) -> None:
    found = thirds([outcome(letters=each) for each in lengths], 0.5)

    assert [each.name for each in found] == names


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_equally_long_replies_stay_together_and_none_is_lost(lengths: list[int]) -> None:
    found = thirds([outcome(letters=each) for each in lengths], 0.5)

    assert sum(each.items for each in found) == len(lengths)
    for one, other in pairwise(found):
        assert one.longest < other.shortest
    assert all(each.items for each in found)


COUNTS = st.integers(0, 40).flatmap(lambda wrong: st.tuples(st.integers(0, wrong), st.just(wrong)))


@given(COUNTS, COUNTS)
def test_chance_is_fishers_exact_test(some: tuple[int, int], others: tuple[int, int]) -> None:
    fisher_exact = pytest.importorskip("scipy.stats").fisher_exact

    def third(accepted: int, wrong: int) -> Third:
        return Third("", 1, 2, wrong, 0, accepted, accepted)

    table = [[accepted, wrong - accepted] for accepted, wrong in (some, others)]
    wanted = fisher_exact(table, alternative="greater").pvalue
    assert chance_of_more(third(*some), third(*others)) == pytest.approx(wanted, abs=1e-9)


def is_short(reply: str) -> bool:
    return len(reply) < 5


def test_the_length_of_the_cheap_reply_is_kept_with_its_outcome(
    catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say("It is blue."))
    provider.script("frontier", Say("blue"))

    @llm_task(tier="fast", cascade=Cascade("frontier", schema(is_short)))
    def colour(thing: str) -> Prompt:
        return Prompt(prefix="Name the colour.", ask=thing)

    step: Any = colour
    (found,) = collect(step, "fast", [Item({"thing": "sky"}, label="blue")]).outcomes
    assert found.letters == len("It is blue.")
