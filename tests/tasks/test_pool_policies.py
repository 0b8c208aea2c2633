"""Policies of pools, obeyed by steps over real sockets: who serves few at once, and who many."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.fakes import Fail, FakeEngine
from tests.tasks.pooled import a_pool, asked, served
from tests.tasks.ways import Way
from tierflow import Prompt
from tierflow.routing.affinity import chain_of_text
from tierflow.serving.validation import Policy, Rule, Slice, Step, open_policies
from tierflow.settings import settings
from tierflow.tasks import close_hands, hands

STEP = Way(is_async=False)


@pytest.fixture
def pools(project: Path, engines: list[FakeEngine]) -> list[FakeEngine]:
    """A plain pool of one replica, and one of another replica that drafts."""
    plain, drafting = engines[:2]
    drafts = f'[pools.drafting]\nreplicas = ["{drafting.base_url}"]'
    a_pool(project, [plain.base_url], "", f"\n{drafts}\n")
    return [plain, drafting]


def keep(*steps: Step, step: str = "asked", lasts_s: float = 3600.0) -> Policy:
    now = time.time()
    policy = Policy("llama", (Rule(Slice(step=step), steps),), now, now + lasts_s)
    store = open_policies(settings())
    store.add(policy)
    store.close()
    return policy


def ask(count: int) -> None:
    step = STEP.step(asked, cache=None)
    for number in range(count):
        assert not step(f"tenant:ask {number}").failures


def test_a_step_is_served_as_the_policy_says_once_its_lengths_are_known(
    pools: list[FakeEngine],
) -> None:
    keep(Step(4, "drafting"))
    ask(4)
    assert served(pools) == [1, 3]


def test_above_the_measured_concurrency_the_plain_pool_serves(pools: list[FakeEngine]) -> None:
    keep(Step(2, "drafting"))
    ask(2)
    fleet = hands().pools._using("llama").fleet  # pyright: ignore[reportPrivateUsage]
    tickets = [fleet.place(chain_of_text("elsewhere", 32)) for _ in range(2)]
    ask(2)
    assert served(pools) == [3, 1]
    for ticket in tickets:
        assert ticket is not None
        fleet.ended(ticket.ticket)
    ask(1)
    assert served(pools) == [3, 2]


def test_another_step_is_served_plainly(pools: list[FakeEngine]) -> None:
    keep(Step(4, "drafting"), step="another")
    ask(3)
    assert served(pools) == [3, 0]


def test_an_expired_policy_is_obeyed_no_longer(pools: list[FakeEngine]) -> None:
    keep(Step(4, "drafting"), lasts_s=-1.0)
    ask(3)
    assert served(pools) == [3, 0]


def test_a_policy_for_a_pool_that_is_gone_is_not_obeyed(pools: list[FakeEngine]) -> None:
    keep(Step(4, "removed"))
    ask(3)
    assert served(pools) == [3, 0]


def test_a_pool_that_fails_a_request_hands_it_to_the_plain_one(pools: list[FakeEngine]) -> None:
    keep(Step(4, "drafting"))
    ask(1)
    pools[1].next(Fail(500))
    step = STEP.step(asked, cache=None)
    answer = step("tenant:ask anew")
    assert answer.value == "from a"
    assert served(pools) == [2, 1]


def test_an_answer_of_either_pool_is_the_same_to_the_cache(pools: list[FakeEngine]) -> None:
    keep(Step(4, "drafting"))
    step = STEP.step(asked)
    step("tenant:one")
    assert step("tenant:two").cache == "miss"
    store = open_policies(settings())
    store.drop("llama")
    store.close()
    close_hands()
    assert step("tenant:two").cache == "exact"
    assert served(pools) == [1, 1]


def test_a_damaged_policy_costs_no_step(pools: list[FakeEngine]) -> None:
    keep(Step(4, "drafting"))
    with closing(sqlite3.connect(settings().home / "serving.db")) as store:
        store.execute("UPDATE serving_policies_v1 SET body = substr(body, 9)")
        store.commit()
    ask(2)
    assert served(pools) == [2, 0]


def test_kinds_of_prompts_have_lengths_of_their_own(pools: list[FakeEngine]) -> None:
    now = time.time()
    rule = Rule(Slice(kind="short", output_band="0-256"), (Step(4, "drafting"),))
    store = open_policies(settings())
    store.add(Policy("llama", (rule,), now, now + 3600))
    store.close()

    def kinds(item: str) -> Prompt:
        return Prompt(ask=item, template=item.partition(" ")[0])

    step = STEP.step(kinds, cache=None)
    for item in ("short 1", "long 1", "short 2", "long 2"):
        step(item)
    assert served(pools) == [3, 1]
