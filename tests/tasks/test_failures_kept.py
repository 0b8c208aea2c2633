"""Failures that would come again are remembered a while; those that may pass are not."""

from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Hang, Say
from tests.tasks.conftest import Rows
from tests.tasks.test_stale import ago
from tests.tasks.ways import Way, both_ways, plain
from tierflow import ExactCache, Prompt
from tierflow.errors import AllDeploymentsFailedError, RejectedError, TierflowError
from tierflow.tasks import close_hands

pytestmark = both_ways

TOO_LONG = Fail(400, "This model's maximum context length is 8 tokens.", "context_length_exceeded")


def test_a_rejected_request_is_not_sent_again_until_its_time_is_over(
    way: Way, catalogue: Catalogue, provider: FakeProvider, rows: Rows
) -> None:
    catalogue()
    provider.script("fast", Fail(400, "Unknown parameter."))
    step = way.step(plain, cache=ExactCache(failures_ttl_s=30))
    with pytest.raises(RejectedError) as first:
        step("?")
    with pytest.raises(RejectedError) as second:
        step("?")
    assert len(provider.calls) == 1
    assert str(second.value).startswith(str(first.value))
    assert "not asked again" in str(second.value)
    assert "failures_ttl_s=0" in str(second.value)
    told = [(row["outcome"], row["asks"], row["failed_attempts"]) for row in rows()]
    assert told == [("RejectedError", 0, 1), ("RejectedError", 0, 0)]


def test_another_process_remembers_it_too(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Fail(422))
    step = way.step(plain)
    for _ in range(2):
        with pytest.raises(RejectedError):
            step("?")
        close_hands()
    assert len(provider.calls) == 1


def test_after_its_time_it_is_asked_again(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", [Fail(400), Say("better now")])
    step = way.step(plain, cache=ExactCache(failures_ttl_s=30))
    with pytest.raises(RejectedError):
        step.within(ago(31), "?")
    assert step("?").value == "better now"


def test_a_request_too_long_for_all_deployments_is_remembered(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue(fast=["small", "tiny"])
    provider.script("small", TOO_LONG)
    provider.script("tiny", TOO_LONG)
    step = way.step(plain)
    for said in ("none is left to ask", "Remembered"):
        with pytest.raises(AllDeploymentsFailedError, match=said):
            step("?")
    assert len(provider.calls) == 2


def test_a_request_too_long_for_one_is_none_where_another_was_down(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue(fast=["large", "tiny"])
    provider.script("large", [Fail(503), Say("read it all")])
    provider.script("tiny", TOO_LONG)
    step = way.step(plain)
    with pytest.raises(AllDeploymentsFailedError):
        step("?")
    close_hands()
    assert step("?").value == "read it all"


@pytest.mark.parametrize(
    "fault",
    [Fail(500), Fail(429), Fail(401), Fail(408), Hang(60.0), Say("no number")],
    ids=["500", "429", "401", "408", "timeout", "unparseable"],
)
def test_what_may_pass_is_asked_again(
    way: Way, catalogue: Catalogue, provider: FakeProvider, fault: Any
) -> None:
    catalogue(timeout_s=0.5, max_wait_s=0.0)
    faults = [fault, fault] if isinstance(fault, Say) else [fault]
    provider.script("fast", [*faults, Say({"value": 7})])
    step = way.step(plain, returns=int)
    with pytest.raises(TierflowError):
        step("?")
    close_hands()
    assert step("?").value == 7


def test_a_step_may_have_no_failure_remembered(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", [Fail(400), Fail(400), Say("better now")])
    step = way.step(plain, cache=ExactCache(failures_ttl_s=0))
    for _ in range(2):
        with pytest.raises(RejectedError):
            step("?")
    assert step("?").value == "better now"


def test_the_remedy_of_a_remembered_failure_helps_at_once(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", [Fail(400), Say("better now")])
    with pytest.raises(RejectedError):
        way.step(plain)("?")
    assert way.step(plain, cache=ExactCache(failures_ttl_s=0))("?").value == "better now"
    # What was answered since is served to all.
    assert way.step(plain)("?").cache == "exact"


def test_other_questions_tenants_and_steps_are_asked_as_ever(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", [Fail(400), Say("fine")])

    def ask(text: str, tenant: str) -> Prompt:
        return Prompt(ask=text, tenant=tenant)

    step = way.step(ask)
    with pytest.raises(RejectedError):
        step("?", "acme")
    with pytest.raises(RejectedError, match="Remembered"):
        step("?", "acme")
    assert step("?", "other").value == "fine"
    assert step("??", "acme").value == "fine"
    assert way.step(ask, name="another step")("?", "acme").value == "fine"
