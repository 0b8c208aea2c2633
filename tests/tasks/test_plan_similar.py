"""The plan and similar questions: what is looked for, served, compared, paid and kept."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.caching.answers import key_of
from tests.tasks.world import NOW, STORED, World, a_spec
from tierflow import Cascade, Prompt, SemanticCache, Usage, agreement
from tierflow.caching import (
    Entry,
    Failure,
    Find,
    Forget,
    Keep,
    Labels,
    Learn,
    Remember,
    Resemble,
    partition_key,
    scope_key,
    value_key,
)
from tierflow.caching.similar import Candidate, Finding, Place
from tierflow.errors import ProviderDownError
from tierflow.request import Stored
from tierflow.routing import Ask
from tierflow.settings import Deployment
from tierflow.tasks.plan import step_plan
from tierflow.tasks.rejection import Rejection
from tierflow.tasks.spec import Surroundings

OTHER = key_of("another question")
PLACE = Place("scope", "partition", Labels("find"))


def a_finding(terms: SemanticCache, value: str = "in the post", **changed: Any) -> Finding:
    """Return a finding whose candidate is another question, with such an answer."""
    candidate = Candidate(7, OTHER, value_key(value), "Where can it be?", 0.9)
    vector = np.zeros(2, np.float32)
    return replace(Finding(PLACE, terms, "?", vector, "near", candidate, (1.0,), 0.5), **changed)


def played(around: Surroundings, world: World, terms: SemanticCache, **options: Any) -> Any:
    """Answer a step whose question resembles another one."""
    world.finding = world.finding or a_finding(terms)
    return world.play(step_plan(a_spec(cache=terms, **options), around))


def test_a_similar_question_is_looked_for_after_the_very_same(around: Surroundings) -> None:
    terms, world = SemanticCache(tags=("mail",)), World()
    world.prompt = Prompt(prefix="Find it.", ask="Where is it?", tenant="acme")
    played(around, world, terms)
    assert world.names()[2:5] == ["Find", "Resemble", "Once"]
    (resemble,), (ask,) = world.of(Resemble), world.of(Ask)
    assert (resemble.ask, resemble.terms) == ("Where is it?", terms)
    place, identity = resemble.place, ask.tier.identity
    assert place.scope == scope_key(ask.request, (identity, "value"))
    assert place.partition == partition_key(ask.request, (identity,))
    assert (place.labels.tenant, place.labels.tags) == ("acme", ("mail",))


def test_what_is_served_costs_nothing_and_asks_nobody(around: Surroundings) -> None:
    terms = SemanticCache()
    finding = a_finding(terms, served=True, would_serve=True)
    world = World(finding=finding, stored=[None, STORED], replies=[])
    answer = played(around, world, terms)
    assert (answer.value, answer.cache, answer.cost_usd) == ("in the post", "semantic", 0.0)
    assert (world.row.cache, world.row.asks) == ("semantic", 0)
    assert [each.key for each in world.of(Find)][1] == OTHER
    assert answer.rejection == Rejection(OTHER, finding.as_served())
    assert not world.of(Learn) + world.of(Remember)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        replace(STORED, fresh_until=NOW),
        replace(STORED, content=Failure("RejectedError", "odd")),
    ],
    ids=["gone", "stale", "failed"],
)
def test_a_candidate_without_a_fresh_answer_is_forgotten_and_teaches_nothing(
    around: Surroundings, entry: Entry | None
) -> None:
    terms = SemanticCache()
    world = World(finding=a_finding(terms, served=True, would_serve=True), stored=[None, entry])
    assert played(around, world, terms).cache == "miss"
    assert len(world.of(Forget)) == len(world.of(Remember)) == 1
    assert not world.of(Learn)


def test_a_new_answer_teaches_and_its_question_is_kept(around: Surroundings) -> None:
    terms = SemanticCache()
    for said, same in ((" in the post ", True), ("In the post", False)):
        world = World(replies=[said])
        played(around, world, terms)
        (learn,), (remember,), (keep,) = world.of(Learn), world.of(Remember), world.of(Keep)
        assert (learn.same, learn.weight) == (same, 1.0)
        assert (remember.key, remember.value) == (keep.key, value_key(said))
        # Others may have the answer before it has been compared.
        assert world.names()[-4:] == ["Release", "Learn", "Remember", "Account"]


def test_a_candidate_whose_wording_conflicts_teaches_nothing(around: Surroundings) -> None:
    terms = SemanticCache()
    world = World(finding=a_finding(terms, vetoed=True))
    played(around, world, terms)
    assert not world.of(Learn)
    assert world.of(Remember)


def test_an_older_answer_to_the_very_question_is_replaced_and_teaches_nothing(
    around: Surroundings,
) -> None:
    terms, world = SemanticCache(), World()
    played(around, world, terms)
    (keep,) = world.of(Keep)
    candidate = Candidate(9, keep.key, value_key("long ago"), "Where is it?", 1.0)
    world = World(finding=a_finding(terms, candidate=candidate))
    played(around, world, terms)
    assert [len(world.of(kind)) for kind in (Forget, Learn, Remember)] == [1, 0, 1]


def test_an_ask_too_long_or_a_store_that_fails_leaves_all_as_it_was(around: Surroundings) -> None:
    world = World()
    answer = world.play(step_plan(a_spec(cache=SemanticCache()), around))
    assert answer.cache == "miss"
    assert not world.of(Learn) + world.of(Remember)


def test_where_tools_may_bring_something_new_nothing_is_looked_for(around: Surroundings) -> None:
    tiers = around.settings.tiers
    tools = {"tools": [{"type": "web_search"}]}
    deployment = Deployment(model="anthropic/small", params=tools)
    fast = tiers.fast.model_copy(update={"deployments": (deployment,)})
    settings = around.settings.model_copy(update={"tiers": tiers.model_copy(update={"fast": fast})})
    world = World()
    played(replace(around, settings=settings), world, SemanticCache())
    assert not world.of(Resemble)
    assert world.of(Keep)


# --- who says that two answers are the same


def test_a_function_compares_the_values_as_the_step_reads_them(around: Surroundings) -> None:
    compared: list[tuple[Any, Any]] = []

    def near(one: int, other: int) -> bool:
        compared.append((one, other))
        return abs(one - other) < 3

    four = replace(STORED, content=Stored('{"value": 4}', "fast", "d", "m", Usage(100, 10), 0.5))
    world = World(stored=[None, None, four], replies=['{"value": 5}'])
    played(around, world, SemanticCache(same=near), returns=int)
    assert compared == [(4, 5)]
    (learn,) = world.of(Learn)
    assert (learn.same, learn.weight) == (True, 1.0)


@pytest.mark.parametrize("entry", [None, replace(STORED, content=Failure("RejectedError", "odd"))])
def test_what_cannot_be_compared_any_more_is_forgotten(
    around: Surroundings, entry: Entry | None
) -> None:
    world = World(stored=[None, None, entry])
    played(around, world, SemanticCache(same=str.__eq__))
    assert len(world.of(Forget)) == len(world.of(Remember)) == 1
    assert not world.of(Learn)


def scope_of(around: Surroundings, terms: SemanticCache) -> str:
    """Return where a step with these terms learns."""
    world = World(finding=a_finding(terms, vetoed=True))
    played(around, world, terms)
    (resemble,) = world.of(Resemble)
    return resemble.place.scope


class Near:
    """Compares by what it was made with."""

    def __init__(self, distance: int) -> None:
        self.distance = distance

    def __call__(self, one: str, other: str) -> bool:
        """Compare two texts by their lengths."""
        return abs(len(one) - len(other)) < self.distance


def test_each_way_of_comparing_is_learned_for_itself(around: Surroundings) -> None:
    ways = [
        SemanticCache(),
        SemanticCache(judge="standard"),
        SemanticCache(judge="frontier"),
        SemanticCache(same=str.__eq__),
        SemanticCache(same=str.__ne__),
        SemanticCache(same=lambda one, other: one[0] == other[0]),
        SemanticCache(same=lambda one, other: one[1] == other[1]),
        SemanticCache(same=lambda one, other: any(a == b for a, b in zip(one, other, strict=True))),
        SemanticCache(same=lambda one, other: all(a == b for a, b in zip(one, other, strict=True))),
        SemanticCache(same=Near(1)),
    ]
    around = replace(around, environ={**around.environ, "OPENAI_API_KEY": "another"})
    assert len({scope_of(around, each) for each in ways}) == len(ways)


def test_a_way_of_comparing_is_named_the_same_in_every_process(around: Surroundings) -> None:
    def near() -> SemanticCache:
        return SemanticCache(same=lambda one, other: any(each in other for each in one))

    # Another function object of the same source, as another process would have.
    assert scope_of(around, near()) == scope_of(around, near())
    # Its code holds another piece of code, whose own name has an address in it.
    assert " at 0x" in repr(getattr(near().same, "__code__").co_consts)  # noqa: B009  # typed Any


def test_a_function_that_fails_costs_the_lesson_and_not_the_answer(
    around: Surroundings, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(one: str, other: str) -> bool:
        raise ValueError(one, other)

    world = World(stored=[None, None, STORED])
    assert played(around, world, SemanticCache(same=fails)).cache == "miss"
    assert not world.of(Learn)
    assert "were not compared" in caplog.text


JUDGED = SemanticCache(judge="standard")


@pytest.mark.parametrize(("verdict", "same"), [("true", True), ("false", False)])
def test_a_judge_is_asked_and_paid_for(*, around: Surroundings, verdict: str, same: bool) -> None:
    world = World(
        finding=a_finding(JUDGED, would_serve=True, counts=True),
        stored=[None, None, STORED],
        replies=["it was posted", f'{{"value": {verdict}}}'],
    )
    answer = played(around, world, JUDGED)
    (learn,), (_, judge) = world.of(Learn), world.of(Ask)
    assert (learn.same, learn.weight) == (same, 1.0)
    assert (judge.role, judge.tier.name) == ("judge", "standard")
    said = str(judge.request.messages)
    assert all(each in said for each in ("Where is it?", "in the post", "it was posted"))
    assert answer.value == "it was posted"
    assert (answer.cost_usd, len(answer.replies), answer.usage.input_tokens) == (1.0, 2, 200)
    assert (world.row.asks, world.row.cost_usd) == (2, 1.0)
    # What a hit saves is what the answer cost, not what comparing it did.
    (keep,) = world.of(Keep)
    assert getattr(keep.entry.content, "cost_usd", None) == 0.5


def test_a_judge_is_not_asked_about_equal_texts(around: Surroundings) -> None:
    world = World(
        finding=a_finding(JUDGED, would_serve=True, counts=True), stored=[None, None, STORED]
    )
    assert played(around, world, JUDGED).cost_usd == 0.5
    assert [each.same for each in world.of(Learn)] == [True]


def test_a_judge_that_fails_costs_the_lesson_and_not_the_answer(around: Surroundings) -> None:
    world = World(
        finding=a_finding(JUDGED, would_serve=True, counts=True),
        stored=[None, None, STORED],
        replies=["it was posted", ProviderDownError("down")],
    )
    assert played(around, world, JUDGED).value == "it was posted"
    assert not world.of(Learn)
    assert world.of(Remember)
    assert world.row.failed_attempts == 1


@pytest.mark.parametrize(
    ("chance", "asks", "weights"), [(0.05, 2, [10.0]), (0.5, 1, list[float]())]
)
def test_of_doubtful_cases_a_judge_sees_a_share_that_weighs_as_much_more(
    around: Surroundings, chance: float, asks: int, weights: list[float]
) -> None:
    world = World(stored=[None, None, STORED], replies=["posted", '{"value": true}'])
    played(replace(around, chance=lambda: chance), world, JUDGED)
    assert len(world.of(Ask)) == asks
    assert [each.weight for each in world.of(Learn)] == weights


def test_a_question_is_kept_though_the_cascades_judge_was_cut_off(around: Surroundings) -> None:
    terms, world = SemanticCache(), World(replies=["A", "A"])
    world.cut_off = {1}
    played(around, world, terms, cascade=Cascade("frontier", agreement("standard"), max_loss=None))
    assert len(world.of(Keep)) == len(world.of(Remember)) == 1


def test_an_answer_that_was_cut_off_is_not_kept_for_similar_questions(
    around: Surroundings,
) -> None:
    terms, world = SemanticCache(), World()
    world.cut_off = {0}
    played(around, world, terms)
    assert not world.of(Keep) + world.of(Remember)


def test_a_step_that_only_reads_keeps_no_question(around: Surroundings) -> None:
    world = World()
    played(around, world, SemanticCache(read_only=True))
    assert not world.of(Remember)


def test_a_refreshed_answer_teaches_and_replaces_and_is_never_a_similar_one(
    around: Surroundings,
) -> None:
    terms = SemanticCache(refresh=True)
    world = World(finding=a_finding(terms, served=True, would_serve=True))
    assert played(around, world, terms).cache == "miss"
    assert [len(world.of(kind)) for kind in (Find, Learn, Remember)] == [0, 1, 1]
