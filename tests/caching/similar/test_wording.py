import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.caching.similar import quantities as amounts
from tierflow.caching.similar.antonyms import base, swaps
from tierflow.caching.similar.wording import FEATURES, Wording, compare, conflict, wording

WORDS = """
not n't no never without cannot can't fail to from before after than open close closed available
unavailable Alice Bob owes 5 km miles £20 $ twenty past quarter 7 p.m. p.m monday may march 3rd last
week one hundred and million 1,000 3.5 12:30 python3 "quoted text" , ; . ! ? don't know how the a is
it isn't she i you ' \u2019 ñandú größer İ ½ ٣ ² 天気 は ठीक है 🙂 \u201cso\u201d « me my buy sell
"""
PIECES = [*WORDS.split(), "", "\u200d", "\x00", "\ud800"]
TEXTS = st.one_of(
    st.text(),
    st.lists(st.sampled_from(PIECES), max_size=24).map(" ".join),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
)


def verdict(one: str, other: str) -> str | None:
    return conflict(wording(one), wording(other))


def feature(name: str, one: str, other: str) -> float:
    return compare(wording(one), wording(other))[FEATURES.index(name)]


@given(TEXTS, TEXTS)
def test_the_sides_can_be_exchanged(one: str, other: str) -> None:
    a, b = wording(one), wording(other)
    assert conflict(a, b) == conflict(b, a)
    assert compare(a, b) == compare(b, a)


@given(TEXTS, TEXTS)
def test_every_feature_has_a_name_and_stays_within_bounds(one: str, other: str) -> None:
    seen = compare(wording(one), wording(other))
    assert len(seen) == len(FEATURES) == len(set(FEATURES))
    # NaN and infinities fail this, too.
    assert all(isinstance(each, float) and -1 <= each <= 1 for each in seen)


@given(TEXTS)
def test_a_text_agrees_with_itself(text: str) -> None:
    read = wording(text)
    assert read == wording(text)
    assert conflict(read, read) is None
    assert compare(read, read) == compare(wording(""), wording(""))


@given(TEXTS)
def test_spaces_around_a_text_change_nothing(text: str) -> None:
    assert wording(f"  {text}\n") == wording(text)


def test_a_process_with_another_hash_seed_sees_the_same() -> None:
    code = (
        "from tierflow.caching.similar.wording import *\n"
        "texts = ['Can I open and lock it before March 3?', 'Why may I not close it in May?',"
        " 'buy a cheap new car or sell', 'sell an expensive old car or buy']\n"
        "read = [wording(each) for each in texts]\n"
        "print([(conflict(a, b), compare(a, b)) for a in read for b in read])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(printed) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Is the meeting room free of charge?", "Is the meeting room not free of charge?"),
        ("Can I cancel my order?", "Can't I cancel my order?"),
        ("Why is my card working?", "Why isn\u2019t my card working?"),
        ("why is my card working", "why isnt my card working"),
        ("Which pills can I take with milk?", "Which pills can I never take with milk?"),
        ("How do I travel with a visa?", "How do I travel without a visa?"),
        ("Did the payment go through?", "Did the payment fail to go through?"),
        ("It is unhealthy.", "It is not unhealthy."),
        ("You're sick, aren't you?", "You're not sick, are you?"),
        ("I'm sure what to say.", "I'm not sure what to say."),
    ],
)
def test_a_negation_on_one_side_is_vetoed(one: str, other: str) -> None:
    assert verdict(one, other) == "negation"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I open an account?", "How do I close an account?"),
        ("Where can I deposit cash?", "Where can I withdraw cash?"),
        ("How do I enable roaming?", "How do I disable roaming?"),
        ("How do I turn the lights on?", "How do I turn the lights off?"),
        ("What is the cheapest plan?", "What is the most expensive plan?"),
        ("Is the room available?", "Is the room unavailable?"),
        ("Is this yoghurt fat?", "Is this yoghurt nonfat?"),
        ("Is it quickly done?", "Is it slowly done?"),
        ("Why did sales increase in spring?", "Why did sales decrease in spring?"),
        ("Who bought the company?", "Who sold the company?"),
        ("Can I eat before the operation?", "Can I eat after the operation?"),
        ("Is it a hopeless case?", "Is it a hopeful case?"),
        ("Is the list sorted ascending?", "Is the list sorted descending?"),
        ("Are the shops downtown receptive?", "Are the shops downtown unreceptive?"),
        ("Is it not fair?", "Is it not unfair?"),
    ],
)
def test_a_word_in_place_of_its_opposite_is_vetoed(one: str, other: str) -> None:
    assert verdict(one, other) == "antonym"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Transfer £500 to Anna", "Transfer £5,000 to Anna"),
        ("What is 5 km in feet?", "What is 5 miles in feet?"),
        ("Is iphone12 waterproof?", "Is iphone13 waterproof?"),
        ("Book a table for two people", "Book a table for four people"),
        ("Wake me at 7 a.m.", "Wake me at 7 p.m."),
        ("What is the weather on Monday?", "What is the weather on Tuesday?"),
        ("What is the weather like today?", "What is the weather like tomorrow?"),
        ("How much did I spend last month?", "How much did I spend this month?"),
        ("Move it to 3 May", "Move it to 3 June"),
    ],
)
def test_other_amounts_in_the_same_words_are_vetoed(one: str, other: str) -> None:
    assert verdict(one, other) == "numbers"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Flights from New York to Florida", "Flights from Florida to New York"),
        ("NY to FL flights", "FL to NY flights"),
        ("Convert 5 km to miles", "Convert 5 miles to km"),
        ("Does Alice owe Bob money?", "Does Bob owe Alice money?"),
        ("Is Rome bigger than Paris?", "Is Paris bigger than Rome?"),
        ("Do I owe you?", "Do you owe me?"),
        ("I leave on Friday, not on Monday.", "I leave on Monday, not on Friday."),
    ],
)
def test_the_same_words_the_other_way_round_are_vetoed(one: str, other: str) -> None:
    assert verdict(one, other) == "order"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I open an account?", "how can I open an account"),
        ("It's not bad.", "It's good."),
        ("The room is not available.", "The room is unavailable."),
        ("That is not impossible.", "That is possible."),
        ("I can't log in", "I cannot log in"),
        ("I am not able to log in", "I am unable to log in"),
        ("I don't know how to reset my PIN", "How do I reset my PIN?"),
        ("I'm not sure what that means.", "I'm unsure what that means."),
        ("It works, doesn't it?", "It works"),
        ("No, it is the blue one", "It is the blue one"),
        ("My card hasn't arrived", "I am still waiting for my card"),
        ("Transfer £5,000.00", "transfer 5000 pounds"),
        ("Wake me at 7:20 p.m.", "wake me at twenty past 7 p.m."),
        ("How far is 5km?", "How far is five kilometers?"),
        ("Flights from New York to Florida", "Flights to Florida from New York"),
        ("Do you have cats and dogs?", "Do you have dogs and cats?"),
        ("How long does it take to urgently transfer it?", "How long to transfer it urgently?"),
        ("May I change my PIN?", "Can I change my PIN?"),
        ("Which income is taxed?", "Which incomes are taxed?"),
        ("¿Dónde está mi tarjeta?", "¿Dónde está la tarjeta?"),
        ("", "?"),
    ],
)
def test_the_same_question_in_other_words_is_not_vetoed(one: str, other: str) -> None:
    assert verdict(one, other) is None


def test_a_difference_in_a_feature_shows_where_nothing_is_vetoed() -> None:
    paris, london = "What is the weather in Paris now", "What is the weather in London now"
    assert verdict(paris, london) is None
    assert feature("names differ", paris, london) == 1
    assert feature("names differ", paris, paris.upper()) == 0
    assert feature("question words differ", "When is it due?", "Why is it due?") == 1
    assert feature("order kept", "compare apples with pears", "compare pears with apples") < 1
    assert feature("numbers on one side", "send 5", "send it") == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("two hundred and fifty euros", "250"),
        ("1,000,000 euros", "1000000"),
        ("3.5 million", "3500000"),
        ("20k", "20000"),
        ("007.50", "7.5"),
        ("the 22nd", "22"),
        ("10.0.0.1", "10.0.0.1"),
        ("9" * 400, "9" * 400),
    ],
)
def test_a_number_has_one_spelling(text: str, value: str) -> None:
    assert wording(text).numbers == {value}


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("25 to 7 p.m.", "18:35"),
        ("9 05 in the morning", "09:05"),
        ("half past six", "06:30"),
        ("quarter to 1", "00:45"),
        ("12:30 a.m.", "00:30"),
        ("8pm", "20:00"),
        ("8 o'clock", "08:00"),
        ("noon", "12:00"),
    ],
)
def test_a_time_of_day_has_one_spelling(text: str, time: str) -> None:
    assert wording(text).dates == {time}


def test_a_range_of_numbers_is_no_time() -> None:
    assert wording("it takes 5 to 10 days").numbers == {"5", "10"}
    assert wording("one of them").numbers == frozenset()


def test_what_hints_at_no_quantity_holds_none() -> None:
    tokens = ["how", "do", "i", "close", "my", "account"]
    assert amounts.HINTS.isdisjoint(tokens)
    assert amounts.quantities(tokens) == ([], set())


@given(st.lists(st.sampled_from(PIECES).filter(str.strip), max_size=20))
def test_places_of_quantities_lie_within_the_text(tokens: list[str]) -> None:
    _, places = amounts.quantities(tokens)
    assert places <= set(range(len(tokens)))


def test_endings_do_not_hide_a_word() -> None:
    assert len({base(each) for each in ("close", "closes", "closed", "closing")}) == 1
    assert base("withdrew") == base("withdrawals") == base("withdraw")
    assert base("cheapest") == base("cheaper") == "cheap"


def test_a_word_stands_in_one_pair_of_opposites_at_most() -> None:
    found = swaps({"big", "larg"}, {"small"})
    assert len(found) == 1
    assert {each[::-1] for each in found} == set(swaps({"small"}, {"big", "larg"}))


def test_a_long_text_is_read_whole() -> None:
    read = wording("million " * 2000 + "not open " * 2000 + "5 " * 2000)
    assert isinstance(read, Wording)
    assert conflict(read, wording("open " * 4000)) is None or read.negated
