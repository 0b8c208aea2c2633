"""The plan and what is kept: staleness, leases and failures, played by hand."""

from asyncio import CancelledError
from dataclasses import replace
from typing import Any

import pytest

from tests.tasks.world import KEYS, NOW, STORED, World, a_spec
from tierflow import Cascade, Chunk, ExactCache, confidence
from tierflow.caching import Entry, Failure, Find, Keep, Later, Lease, Once, Release
from tierflow.errors import (
    AllDeploymentsFailedError,
    AttemptError,
    AttemptTimeoutError,
    ContextLengthError,
    DeniedError,
    ProviderDownError,
    RateLimitedError,
    RejectedError,
    TierflowError,
)
from tierflow.request import Stored
from tierflow.routing import Ask, Pause
from tierflow.settings import Deployment
from tierflow.tasks.plan import step_plan
from tierflow.tasks.spec import Account, Surroundings

LABELS = STORED.labels
STALE = replace(STORED, fresh_until=NOW)
REMEMBERED = Entry(Failure("RejectedError", "fast: too odd."), LABELS, NOW - 1, NOW + 9, NOW + 9)


def with_deployments(around: Surroundings, tier: str, *models: str) -> Surroundings:
    """Return surroundings where a tier has these deployments."""
    tiers = around.settings.tiers
    deployments = tuple(Deployment(model=f"anthropic/{model}") for model in models)
    changed = tiers.get(tier).model_copy(update={"deployments": deployments})
    tiers = tiers.model_copy(update={tier: changed})
    return replace(around, settings=around.settings.model_copy(update={"tiers": tiers}))


# --- waiting for another process


def test_who_does_not_get_the_lease_waits_for_what_the_other_keeps(around: Surroundings) -> None:
    world = World(leases=[False, False], stored=[None, None, STORED], replies=[])
    assert world.play(step_plan(a_spec(), around)).cache == "exact"
    assert world.names()[2:] == [
        *("Find", "Once", "Lease", "Pause", "Find", "Lease", "Pause", "Find", "Account")
    ]


def test_who_gets_the_lease_late_looks_once_more_before_it_asks(around: Surroundings) -> None:
    # The other one kept its answer and gave its lease back between our look and our lease.
    world = World(leases=[False, True], stored=[None, None, STORED], replies=[])
    assert world.play(step_plan(a_spec(), around)).cache == "exact"
    assert world.names()[-3:] == ["Find", "Release", "Account"]


def test_who_gets_the_lease_of_one_that_failed_asks(around: Surroundings) -> None:
    world = World(leases=[False, True])
    assert world.play(step_plan(a_spec(), around)).cache == "miss"
    assert len(world.of(Ask)) == len(world.of(Keep)) == len(world.of(Release)) == 1


@pytest.mark.parametrize(
    "fault",
    [ProviderDownError("down"), RejectedError("odd"), KeyboardInterrupt(), CancelledError()],
)
def test_a_lease_is_given_back_when_asking_fails_or_is_interrupted(
    around: Surroundings, fault: BaseException
) -> None:
    world = World(replies=[fault])
    with pytest.raises((TierflowError, type(fault))):
        world.play(step_plan(a_spec(), around))
    assert len(world.of(Lease)) == len(world.of(Release)) == 1


@pytest.mark.parametrize("terms", [ExactCache(refresh=True), ExactCache(read_only=True)])
def test_nobody_is_waited_for_where_nothing_could_come_of_it(
    around: Surroundings, terms: ExactCache
) -> None:
    world = World(leases=[False])
    assert world.play(step_plan(a_spec(cache=terms), around)).cache == "miss"
    assert not world.of(Lease)
    assert not world.of(Pause)


# --- stale answers


def test_a_stale_answer_is_served_and_refreshed_later(around: Surroundings) -> None:
    world = World(stored=[STALE], replies=[])
    assert world.play(step_plan(a_spec(), around)).cache == "exact"
    assert world.names()[-2:] == ["Later", "Account"]


def test_a_fresh_answer_is_not_refreshed(around: Surroundings) -> None:
    world = World(stored=[replace(STORED, fresh_until=NOW + 0.1)], replies=[])
    world.play(step_plan(a_spec(), around))
    assert not world.of(Later)


def refreshing(around: Surroundings, **options: Any) -> Any:
    """Return the plan that refreshes a stale answer, and the row of who was served it."""
    world = World(stored=[STALE], replies=[])
    world.play(step_plan(a_spec(**options), around))
    (later,) = world.of(Later)
    return later.plan


def test_a_refresh_asks_keeps_and_has_a_row_of_its_own(around: Surroundings) -> None:
    world = World(stored=[STALE])
    terms = ExactCache(ttl_s=60, stale_s=30)
    world.play(refreshing(around, cache=terms))
    assert world.names() == [
        *("Lease", "Find", "Within", "Rank", "Ask", "Keep", "Account", "Release")
    ]
    assert (world.row.cache, world.row.outcome, world.row.cost_usd) == ("miss", "ok", 0.5)
    (keep,) = world.of(Keep)
    assert (keep.entry.fresh_until, keep.entry.expires_at) == (NOW + 60, NOW + 90)


@pytest.mark.parametrize("found", [STORED, None], ids=["refreshed", "gone"])
def test_what_another_refreshed_or_removed_meanwhile_is_left_alone(
    around: Surroundings, found: Entry | None
) -> None:
    world = World(stored=[found], replies=[])
    world.play(refreshing(around))
    assert world.names() == ["Lease", "Find", "Release"]


def test_what_another_process_is_refreshing_is_left_to_it(around: Surroundings) -> None:
    world = World(leases=[False], replies=[])
    world.play(refreshing(around))
    assert world.names() == ["Lease"]


@pytest.mark.parametrize("fault", [RejectedError("odd"), ProviderDownError("down")])
def test_a_refresh_that_fails_leaves_the_stale_answer_where_it_is(
    around: Surroundings, fault: AttemptError
) -> None:
    world = World(stored=[STALE], replies=[fault])
    with pytest.raises(TierflowError):
        world.play(refreshing(around))
    assert not world.of(Keep)
    assert world.names()[-2:] == ["Account", "Release"]


def test_nobody_hears_what_a_refresh_says(around: Surroundings) -> None:
    heard: list[Chunk] = []
    world = World(stored=[STALE])
    world.play(refreshing(around, on_chunk=heard.append))
    assert [chunk.text for chunk in heard] == ["in ", "the ", "post"]
    (ask,) = world.of(Ask)
    assert ask.on_chunk is None


def test_what_may_not_be_kept_is_not_refreshed(around: Surroundings) -> None:
    world = World(stored=[STALE], replies=[])
    answer = world.play(step_plan(a_spec(cache=ExactCache(read_only=True)), around))
    assert answer.cache == "exact"
    assert not world.of(Later)


# --- failures that would come again


def test_a_remembered_failure_is_raised_without_a_call_and_says_what_to_do(
    around: Surroundings,
) -> None:
    world = World(stored=[REMEMBERED], replies=[])
    with pytest.raises(RejectedError, match=r"too odd.*not asked again.*failures_ttl_s=0"):
        world.play(step_plan(a_spec(), around))
    assert (world.row.outcome, world.row.asks, world.row.cost_usd) == ("RejectedError", 0, 0.0)
    assert not world.of(Ask)


def test_a_remembered_failure_is_forgotten_by_who_remembers_none(around: Surroundings) -> None:
    world = World(stored=[REMEMBERED])
    assert world.play(step_plan(a_spec(cache=ExactCache(failures_ttl_s=0)), around)).cache == "miss"


@pytest.mark.parametrize(
    ("faults", "name"),
    [
        ([RejectedError("odd")], "RejectedError"),
        ([ContextLengthError("long"), ContextLengthError("long")], "AllDeploymentsFailedError"),
        ([ContextLengthError("long"), RejectedError("odd")], "RejectedError"),
    ],
)
def test_what_the_request_alone_is_to_blame_for_is_remembered_for_its_own_time(
    around: Surroundings, faults: list[str | BaseException], name: str
) -> None:
    world = World(replies=faults)
    with pytest.raises(TierflowError):
        world.play(step_plan(a_spec(), with_deployments(around, "fast", "a", "b")))
    (keep,) = world.of(Keep)
    content = keep.entry.content
    assert isinstance(content, Failure)
    assert content.error == name
    assert keep.entry.fresh_until == keep.entry.expires_at == NOW + 60


@pytest.mark.parametrize(
    "faults",
    [
        [ProviderDownError("down"), ContextLengthError("long")],
        [ContextLengthError("long"), RateLimitedError("busy")],
        [AttemptTimeoutError("slow"), RejectedError("odd")],
        [DeniedError("key"), DeniedError("key")],
        [ProviderDownError("down"), ProviderDownError("down")],
        ["no JSON", ContextLengthError("the repair is long"), ContextLengthError("long")],
        ["no JSON", RejectedError("the repair is odd")],
        ["no JSON", "nor is this"],
    ],
    ids=str,
)
def test_what_may_go_well_the_next_time_is_not_remembered(
    around: Surroundings, faults: list[str | BaseException]
) -> None:
    world = World(replies=faults)
    with pytest.raises(TierflowError):
        world.play(step_plan(a_spec(int), with_deployments(around, "fast", "a", "b")))
    assert not world.of(Keep)


@pytest.mark.parametrize(
    ("faults", "kept"),
    [
        ([ContextLengthError("long"), ContextLengthError("long")], 1),
        ([ProviderDownError("down"), ContextLengthError("long")], 0),
        (['{"value": 3}', ContextLengthError("long")], 0),
    ],
    ids=["both too short", "the first is down", "the first answered"],
)
def test_of_a_cascade_every_tier_must_have_failed_for_the_same_reason(
    around: Surroundings, faults: list[str | BaseException], kept: int
) -> None:
    spec = a_spec(int, cascade=Cascade("standard", confidence(), max_loss=None))
    around = with_deployments(with_deployments(around, "fast", "a"), "standard", "b")
    world = World(replies=faults)
    with pytest.raises(TierflowError):
        world.play(step_plan(spec, around))
    assert len(world.of(Keep)) == kept


@pytest.mark.parametrize(
    "terms", [ExactCache(failures_ttl_s=0), ExactCache(read_only=True), None], ids=str
)
def test_no_failure_is_remembered_where_none_may_be_kept(
    around: Surroundings, terms: ExactCache | None
) -> None:
    world = World(replies=[RejectedError("odd")])
    with pytest.raises(RejectedError):
        world.play(step_plan(a_spec(cache=terms), around))
    assert not world.of(Keep)


def test_a_remembered_context_length_is_told_as_such(around: Surroundings) -> None:
    failure = Failure("AllDeploymentsFailedError", "Tier 'fast' gave no reply.")
    world = World(stored=[replace(REMEMBERED, content=failure)], replies=[])
    with pytest.raises(AllDeploymentsFailedError, match=r"gave no reply.*Remembered") as caught:
        world.play(step_plan(a_spec(), around))
    assert [type(each) for each in caught.value.attempts] == [ContextLengthError]


# --- how a run uses the caches


@pytest.mark.parametrize(
    ("mode", "cache", "effects"),
    [
        ("on", "exact", {Find}),
        ("read-only", "exact", {Find}),
        ("refresh", "miss", {Once, Ask, Keep}),
        ("off", "off", {Ask}),
    ],
)
def test_the_mode_says_what_is_done_with_an_answer_that_is_kept(
    around: Surroundings, mode: str, cache: str, effects: set[type[Any]]
) -> None:
    world = World(stored=[STORED])
    assert world.play(step_plan(a_spec(), in_mode(around, mode))).cache == cache
    assert {type(each) for each in world.seen} & {Find, Once, Ask, Keep} == effects


@pytest.mark.parametrize(
    ("mode", "kept"), [("on", 1), ("read-only", 0), ("refresh", 1), ("off", 0)]
)
def test_the_mode_says_whether_a_new_answer_is_kept(
    around: Surroundings, mode: str, kept: int
) -> None:
    world = World()
    world.play(step_plan(a_spec(), in_mode(around, mode)))
    assert (len(world.of(Ask)), len(world.of(Keep))) == (1, kept)


def in_mode(around: Surroundings, mode: str) -> Surroundings:
    cache = around.settings.cache.model_copy(update={"mode": mode})
    return replace(around, settings=around.settings.model_copy(update={"cache": cache}))


def test_a_follower_that_wants_a_new_answer_takes_none_from_the_cache(
    around: Surroundings,
) -> None:
    world = World(leads=False, stored=[STORED])
    assert world.play(step_plan(a_spec(cache=ExactCache(refresh=True)), around)).cache == "miss"
    assert not world.of(Find)


def test_tags_tenant_and_prefix_are_written_on_what_is_kept(around: Surroundings) -> None:
    world = World()
    world.play(step_plan(a_spec(cache=ExactCache(tags=("mail", "de"))), around))
    (keep,) = world.of(Keep)
    assert isinstance(keep.entry.content, Stored)
    assert (keep.entry.labels.step, keep.entry.labels.tags) == ("find", ("mail", "de"))
    assert world.of(Account)


def test_keys_of_the_environment_reach_no_entry(around: Surroundings) -> None:
    world = World()
    world.play(step_plan(a_spec(), around))
    (keep,) = world.of(Keep)
    assert not [secret for secret in KEYS.values() if secret in repr(keep.entry)]
