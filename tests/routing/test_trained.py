"""Trained: a scorer's file as a judge. The scorers are fitted, the files are real."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Cascade, trained
from tierflow.errors import ConfigError, ProviderDownError, TierflowError
from tierflow.request import Request
from tierflow.routing import Case, Judge, Parsed, Question, Score, Trail, ask_of, text_of
from tierflow.routing.learned import Recorded, Recordings, describe_all, fit_scorer
from tierflow.routing.trained import STRATUM

from .world import Answering, World, a_reply, a_request, a_tier, scripted

COUNT = 200
SURE, UNSURE = "Yes.", "Perhaps, but it seems unclear."


def learned(*, helper: bool = False, seed: int = 0) -> str:
    """A scorer of replies that are mostly wrong where they doubt, or a helper says otherwise."""
    random = np.random.default_rng(seed)
    doubts = random.random(COUNT) < 0.5
    right = random.random(COUNT) < np.where(doubts, 0.2, 0.95)
    texts = [UNSURE if each else SURE for each in doubts]

    def recorded(values: list[str], quality: Any) -> Recorded:
        return Recorded("a", texts, values, quality.astype(float), np.ones(COUNT))

    known = Recordings(
        ["Where is it?"] * COUNT,
        [STRATUM] * COUNT,
        {
            "weak": recorded(["A"] * COUNT, right),
            "helper": recorded(["A" if each else "B" for each in right], right),
        },
    )
    described = describe_all(known, "weak", "helper" if helper else None)
    return fit_scorer(described, right.astype(float), np.ones(COUNT)).scorer.to_json()


@pytest.fixture(scope="module")
def alone() -> str:
    return learned()


@pytest.fixture(scope="module")
def helped() -> str:
    return learned(helper=True)


@pytest.fixture
def path(tmp_path: Path, alone: str) -> Path:
    """A scorer's file."""
    path = tmp_path / "scorer.json"
    path.write_text(alone)
    return path


def judged(
    judge: Judge, text: str, answering: Answering | None = None, value: object = "A"
) -> tuple[Score, World]:
    world = World(answering or scripted())
    question: Question[Any] = Question(a_request(), str, Trail())
    helpers = {name: a_tier(name, name) for name in judge.tiers}
    parsed: Parsed[Any] = Parsed(a_reply(text), value)
    case: Case[Any] = Case(question, a_tier("fast", "fast"), parsed, helpers)
    return world.run(judge.score(case)), world


def test_a_sure_reply_scores_above_a_doubting_one_and_nobody_is_asked(path: Path) -> None:
    judge = trained(path)
    (sure, world), (unsure, _) = judged(judge, SURE), judged(judge, UNSURE)
    assert 0 <= unsure.value < judge.threshold < sure.value <= 1
    assert not world.asks
    assert sure.reason.startswith("right with a chance of 0.9")


def test_a_helpers_agreement_raises_the_score(path: Path, helped: str) -> None:
    path.write_text(helped)
    judge = trained(path, helper="standard")
    agrees, world = judged(judge, UNSURE, scripted(standard=["A"]))
    differs, _ = judged(judge, UNSURE, scripted(standard=["B"]))
    assert agrees.value > differs.value
    assert [ask.role for _, ask in world.asks] == ["judge"]


def test_a_helper_that_is_down_leaves_no_score(path: Path, helped: str) -> None:
    path.write_text(helped)
    with pytest.raises(TierflowError):
        judged(trained(path, helper="standard"), SURE, scripted(standard=[ProviderDownError("")]))


def test_a_file_that_changed_is_read_again_and_is_another_judge(path: Path) -> None:
    judge = trained(path)
    first, before = judge.identity, judged(judge, SURE)[0]
    path.write_text(learned(seed=1))
    assert judge.identity != first
    assert judged(judge, SURE)[0] != before


def test_the_identity_is_of_the_content_wherever_it_lies(path: Path, alone: str) -> None:
    copy = path.with_name("copy.json")
    copy.write_text(alone)
    assert trained(copy).identity == trained(path).identity


def test_a_missing_file_is_named_with_what_writes_it(tmp_path: Path) -> None:
    judge = trained(tmp_path / "gone.json")
    for use in (lambda: judge.identity, lambda: judged(judge, SURE)):
        with pytest.raises(ConfigError, match=r"gone\.json.*tierflow judge train"):
            use()


def damaged(text: str) -> dict[str, str]:
    whole = json.loads(text)
    return {
        "cut off": text[: len(text) // 2],
        "no object": "[]",
        "empty": "",
        "another version": json.dumps(whole | {"version": 99}),
        "a part is missing": json.dumps({key: whole[key] for key in whole if key != "trees"}),
        "too few weights": json.dumps(whole | {"weights": [1.0]}),
        "not finite": json.dumps(whole | {"bias": float("nan")}),
        "a tree points outside": json.dumps(
            whole | {"trees": whole["trees"] | {"left": [10**6] * len(whole["trees"]["left"])}}
        ),
    }


@pytest.mark.parametrize(
    "damage",
    [
        *("cut off", "no object", "empty", "another version", "a part is missing"),
        *("too few weights", "not finite", "a tree points outside"),
    ],
)
def test_a_damaged_file_is_named_with_what_writes_it(path: Path, alone: str, damage: str) -> None:
    path.write_text(damaged(alone)[damage])
    with pytest.raises(
        ConfigError, match=r"(?s)scorer\.json holds no scorer.*tierflow judge train"
    ):
        judged(trained(path), SURE)


def test_a_helper_must_be_named_exactly_where_one_was_learned_with(path: Path, helped: str) -> None:
    with pytest.raises(ConfigError, match="no helper"):
        judged(trained(path, helper="standard"), SURE)
    path.write_text(helped)
    with pytest.raises(ConfigError, match="helper="):
        judged(trained(path), SURE)


class Choice(BaseModel):
    letter: str


@pytest.mark.parametrize(
    ("value", "text"),
    [("A", "A"), (3, "3"), (None, "null"), (Choice(letter="A"), '{"letter":"A"}')],
)
def test_a_value_that_is_no_text_is_read_as_json(value: object, text: str) -> None:
    assert text_of(value) == text


def test_the_ask_is_what_varies_of_a_request() -> None:
    system, user = {"role": "system", "content": "Be short."}, {"role": "user", "content": "Why?"}
    assert ask_of(Request("step", (system, user), prefix_messages=1)) == "Why?"
    assert ask_of(Request("step", (system, user), prefix_messages=2)) == "Why?"


def test_numpy_is_not_loaded_before_the_first_reply() -> None:
    program = (
        "import sys, tierflow\n"
        "tierflow.trained('scorer.json')\n"
        "assert 'numpy' not in sys.modules, 'numpy'"
    )
    subprocess.run([sys.executable, "-c", program], env=os.environ.copy(), check=True)


@both_ways
def test_a_step_escalates_what_the_scorer_doubts(
    way: Way, path: Path, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", [Say(SURE), Say(UNSURE)])
    provider.script("frontier", Say(SURE))
    step = way.step(plain, cascade=Cascade(to="frontier", judge=trained(path), max_loss=None))

    assert [step(text).tier for text in ("Where is it?", "Who is it?")] == ["fast", "frontier"]


@both_ways
def test_a_step_without_its_scorer_fails_before_anything_is_asked(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    step = way.step(plain, cascade=Cascade(to="frontier", judge=trained("gone.json")))
    with pytest.raises(ConfigError, match=r"gone\.json"):
        step("Where is it?")
    assert not provider.calls
