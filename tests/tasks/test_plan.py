"""The plan of a step, driven by hand: what it asks for, in which order, and what it makes of it."""

from dataclasses import replace
from typing import Any

import pytest

from tests.tasks.world import AT, KEYS, NOW, STORED, World, a_spec, footing, in_a_flow
from tierflow import Cascade, ExactCache, Prompt, Rollout, Sampling, Usage, Variant, confidence
from tierflow.caching import Find, Keep, Labels, Lease, Once, Release, prefix_key, request_key
from tierflow.errors import (
    AllDeploymentsFailedError,
    MissingKeyError,
    PromptError,
    ProviderDownError,
    UnparseableReplyError,
)
from tierflow.request import Stored
from tierflow.routing import Ask, resolve
from tierflow.tasks.plan import step_plan
from tierflow.tasks.spec import Render, StepSpec, Surroundings

# --- the order of things


def test_a_miss_looks_asks_keeps_and_accounts(around: Surroundings) -> None:
    world = World()
    answer = world.play(step_plan(a_spec(), around))
    assert (answer.value, answer.cache, answer.cost_usd) == ("in the post", "miss", 0.5)
    assert world.names() == [
        "Render",
        "Within",
        "Find",
        "Once",
        "Lease",
        "Find",
        "Rank",
        "Ask",
        "Keep",
        "Release",
        "Account",
    ]


def test_a_hit_ends_at_the_store(around: Surroundings) -> None:
    world = World(stored=[STORED], replies=[])
    answer = world.play(step_plan(a_spec(), around))
    assert (answer.value, answer.cache, answer.cost_usd, answer.saved_usd) == (
        "in the post",
        "exact",
        0.0,
        0.5,
    )
    assert world.names() == ["Render", "Within", "Find", "Account"]
    assert (world.row.cache, world.row.cost_usd, world.row.saved_usd) == ("exact", 0.0, 0.5)


def test_a_follower_looks_again_when_the_leader_gave_up(around: Surroundings) -> None:
    world = World(leads=False, stored=[None, STORED], replies=[])
    assert world.play(step_plan(a_spec(), around)).cache == "exact"
    assert world.names() == ["Render", "Within", "Find", "Once", "Find", "Account"]


def test_a_follower_whose_answer_is_not_there_asks_for_itself(around: Surroundings) -> None:
    world = World(leads=False)
    assert world.play(step_plan(a_spec(), around)).cache == "miss"
    assert world.names()[2:6] == ["Find", "Once", "Find", "Once"]
    assert len(world.of(Ask)) == 1


@pytest.mark.parametrize(
    "options", [{"cache": None}, {"sampling": Sampling(temperature=1)}], ids=["no cache", "sampled"]
)
def test_without_a_cache_nothing_is_looked_up_or_kept(
    around: Surroundings, options: dict[str, Any]
) -> None:
    world = World()
    assert world.play(step_plan(a_spec(**options), around)).cache == "off"
    assert world.names() == ["Render", "Within", "Rank", "Ask", "Account"]


def test_the_same_key_is_looked_up_waited_for_and_kept(around: Surroundings) -> None:
    world = World()
    world.play(step_plan(a_spec(), around))
    (ask,) = world.of(Ask)
    tier = resolve(around.settings.tiers, "fast", KEYS)
    keyed = [each for each in world.seen if isinstance(each, Find | Once | Lease | Keep | Release)]
    assert {each.key for each in keyed} == {request_key(ask.request, [tier.identity])}


# --- what is kept


@pytest.mark.parametrize(
    ("cache", "ttl_s"), [(ExactCache(), 7 * 24 * 3600), (ExactCache(ttl_s=60), 60)]
)
def test_an_answer_is_kept_for_the_steps_time_or_the_settings(
    around: Surroundings, cache: ExactCache, ttl_s: float
) -> None:
    world = World()
    world.play(step_plan(a_spec(cache=cache), around))
    (keep,), (ask,) = world.of(Keep), world.of(Ask)
    kept = keep.entry
    assert (kept.stored_at, kept.fresh_until, kept.expires_at) == (NOW, NOW + ttl_s, NOW + ttl_s)
    assert kept.labels == Labels("find", "", prefix_key(ask.request))


def test_what_is_kept_is_json_with_the_accepted_replys_tokens_and_the_whole_cost(
    around: Surroundings,
) -> None:
    world = World(replies=["no JSON", '{"value": [3, 4]}'])
    answer = world.play(step_plan(a_spec(set[int]), around))
    assert answer.value == {3, 4}
    assert (answer.usage, answer.cost_usd) == (Usage(200, 20), 1.0)
    (keep,) = world.of(Keep)
    kept = keep.entry.content
    assert isinstance(kept, Stored)
    assert kept.text == '{"value": [3, 4]}'
    assert (kept.usage, kept.cost_usd) == (Usage(100, 10), 1.0)


def test_a_stored_answer_that_does_not_fit_is_asked_for_again(around: Surroundings) -> None:
    world = World(stored=[STORED], replies=['{"value": 5}'])
    answer = world.play(step_plan(a_spec(int), around))
    assert (answer.value, answer.cache) == (5, "miss")
    assert len(world.of(Keep)) == 1


# --- failures


@pytest.mark.parametrize(
    "spec",
    [a_spec(tier="standard"), a_spec(cascade=Cascade("frontier", confidence(), max_loss=None))],
    ids=["tier", "cascade"],
)
def test_a_wrong_configuration_ends_the_plan_before_its_first_effect(
    around: Surroundings, spec: StepSpec[Any]
) -> None:
    without_keys = Surroundings(around.settings, {}, around.where, around.clock)
    world = World()
    with pytest.raises(MissingKeyError):
        world.play(step_plan(spec, without_keys))
    assert not world.seen


def test_a_wrong_prompt_ends_the_plan_before_it_looks_anywhere(around: Surroundings) -> None:
    world = World(prompt=None)
    with pytest.raises(PromptError):
        world.play(step_plan(a_spec(), around))
    assert world.names() == ["Render"]


def test_a_failure_is_accounted_with_what_it_cost_and_not_kept(around: Surroundings) -> None:
    world = World(replies=["no JSON", "still none"])
    with pytest.raises(UnparseableReplyError):
        world.play(step_plan(a_spec(int), around))
    assert world.names()[-1] == "Account"
    assert not world.of(Keep)
    row = world.row
    assert (row.outcome, row.asks, row.cost_usd) == ("UnparseableReplyError", 2, 1.0)
    assert (row.input_tokens, row.output_tokens, row.tier) == (200, 20, "fast")


def test_failed_attempts_are_counted_in_the_row(around: Surroundings) -> None:
    world = World(replies=[ProviderDownError("down", deployment="d")])
    with pytest.raises(AllDeploymentsFailedError):
        world.play(step_plan(a_spec(), around))
    assert (world.row.asks, world.row.failed_attempts, world.row.cost_usd) == (0, 1, 0)


# --- rollouts, and where it ran

NEW = Rollout("new", Variant(prompt=str.upper, tier="frontier"))


@pytest.mark.parametrize(
    ("weight", "arm", "prompt", "tier"),
    [
        (1.0, "new/candidate", str.upper, "frontier"),
        (0.0, "new/baseline", None, "fast"),
        (None, "", None, "fast"),
    ],
    ids=["candidate", "baseline", "not started"],
)
def test_the_arm_picks_prompt_and_tier_and_is_written_down(
    around: Surroundings, weight: float | None, arm: str, prompt: Any, tier: str
) -> None:
    world = World(footing=None if weight is None else footing("new", weight))
    answer = world.play(step_plan(a_spec(rollout=NEW), in_a_flow(around)))
    assert world.of(Render) == [Render(prompt)]
    assert (answer.tier, answer.arm, world.row.arm) == (tier, arm, arm)
    (ask,) = world.of(Ask)
    assert ask.request.arm == arm


def test_outside_of_a_flow_there_is_no_arm(around: Surroundings) -> None:
    world = World(footing=replace(footing("new", 1.0), run=None))
    answer = world.play(step_plan(a_spec(rollout=NEW), around))
    assert (answer.arm, answer.tier) == ("", "fast")


def test_the_row_says_where_and_when_the_step_ran(around: Surroundings) -> None:
    world = World(prompt=Prompt(ask="?", tenant="acme"))
    world.play(step_plan(a_spec(), in_a_flow(around, "run-7")))
    row = world.row
    assert (row.at, row.flow_run_id, row.flow, row.task_run_id) == (AT, "run-7", "inbox", "task-1")
    assert (row.step, row.tenant) == ("find", "acme")


def test_latency_is_measured_on_the_clock_of_the_surroundings(around: Surroundings) -> None:
    world = World()
    answer = world.play(step_plan(a_spec(), around))
    assert answer.latency_ms == world.row.latency_ms == 1000


def test_token_probabilities_are_wanted_only_where_the_judge_reads_them(
    around: Surroundings,
) -> None:
    for cascade, wanted in (
        (None, False),
        (Cascade("frontier", confidence(), max_loss=None), True),
    ):
        world = World(replies=["one", "two"])
        world.play(step_plan(a_spec(cascade=cascade), around))
        assert {ask.request.logprobs for ask in world.of(Ask)} == {wanted}
