"""Policies: obeyed by slice and load, closed where they say nothing, kept by many processes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tierflow.errors import StoreError
from tierflow.serving.validation.consulting import FRESH_S, ConsultingPolicies
from tierflow.serving.validation.policy import Policy, Rule, Step
from tierflow.serving.validation.slices import Slice
from tierflow.serving.validation.store import SqlPolicies

SHORT = Slice(step="triage", input_band="256-1024", output_band="0-256")
POLICY = Policy(
    pool="llama",
    rules=(Rule(SHORT, (Step(1, "k8"), Step(4, "k2"))), Rule(Slice(step="other"), ())),
    decided_at=100.0,
    expires_at=200.0,
)


def served(
    policy: Policy = POLICY,
    *,
    step: str = "triage",
    input_tokens: int = 300,
    under_way: int = 1,
    now: float = 150.0,
) -> str:
    return policy.pool_for(
        step, "", input_tokens=input_tokens, output_tokens=9, under_way=under_way, now=now
    )


def test_few_at_once_go_to_the_speculative_pool_and_many_to_the_plain_one() -> None:
    assert [served(under_way=load) for load in (1, 2, 4, 5, 900)] == [
        "k8",
        "k2",
        "k2",
        "llama",
        "llama",
    ]


def test_what_no_rule_covers_is_served_plainly() -> None:
    assert served(step="unheard of") == "llama"
    assert served(step="other") == "llama"
    assert served(input_tokens=5000) == "llama"


def test_an_expired_policy_is_not_obeyed() -> None:
    assert served(now=199.9) == "k8"
    assert served(now=200.0) == "llama"


@given(st.integers(1, 100))
def test_more_load_never_returns_to_a_faster_step(load: int) -> None:
    order = ["k8", "k2", "llama"]
    assert order.index(served(under_way=load + 1)) >= order.index(served(under_way=load))


def test_limits_that_do_not_rise_are_refused() -> None:
    with pytest.raises(ValueError, match="must rise"):
        Rule(SHORT, (Step(4, "a"), Step(4, "b")))
    with pytest.raises(ValueError, match="must rise"):
        Rule(SHORT, (Step(0, "a"),))


def test_a_policy_is_read_as_it_was_written() -> None:
    assert Policy.from_json(POLICY.to_json()) == POLICY
    for damaged in ("", "[]", "{}", '{"rules": [{}]}', '{"rules": [], "pool": "a", "x": 1}'):
        with pytest.raises(StoreError, match="policy --drop"):
            Policy.from_json(damaged)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | SecretStr:
    if request.param == "postgres":
        return SecretStr(request.getfixturevalue("postgres_url"))
    return tmp_path / "home" / "serving.db"


@pytest.fixture
def store(place: Path | SecretStr) -> Iterator[SqlPolicies]:
    opened = SqlPolicies(place)
    yield opened
    opened.close()


def test_the_newest_policy_of_a_pool_holds_until_it_is_dropped(store: SqlPolicies) -> None:
    assert store.newest("llama") is None
    assert store.pools() == []
    store.add(POLICY)
    store.add(replace(POLICY, setup="vllm 0.32"))
    store.add(replace(POLICY, pool="other"))
    store.close()
    assert store.newest("llama") == replace(POLICY, setup="vllm 0.32")
    store.drop("llama")
    assert store.newest("llama") is None
    assert store.pools() == ["llama", "other"]


def test_looking_makes_no_file(tmp_path: Path) -> None:
    store = SqlPolicies(tmp_path / "serving.db")
    assert store.newest("llama") is None
    assert not (tmp_path / "serving.db").exists()


def test_a_newer_policy_is_taken_up_after_a_moment(
    store: SqlPolicies, place: Path | SecretStr
) -> None:
    now = 0.0
    consulting = ConsultingPolicies(lambda: SqlPolicies(place), lambda: now)
    assert consulting.known("llama") is None
    store.add(POLICY)
    assert consulting.known("llama") is None
    now = FRESH_S
    assert consulting.is_due("llama")
    assert consulting.known("llama") == POLICY
    consulting.close()
