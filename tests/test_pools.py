"""Pools in tierflow.toml: what they may say, and what a deployment of one is to everybody else."""

from typing import Any

import pytest
from pydantic import ValidationError

from tierflow.pools import Pool
from tierflow.routing import NamedTier, is_usable, key_variables, knows_keys
from tierflow.settings import Deployment, Tier

A, B = "http://10.0.0.5:8000/v1", "http://10.0.0.6:8000/v1"
POOLED = Deployment(model="openai/llama", pool="llama")


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, "either replicas or dns"),
        ({"replicas": [A], "dns": A}, "either replicas or dns"),
        ({"replicas": [A, A]}, "named twice"),
        ({"replicas": ["10.0.0.5:8000"]}, r"is an http\(s\) URL"),
        ({"replicas": [A, B], "affinity": "gateway"}, "one address"),
        ({"replicas": [A, B], "affinity": "precise"}, "there are 0"),
        ({"dns": A, "affinity": "precise"}, "names none"),
        (
            {"replicas": [A], "affinity": "precise", "kv_events": ["10.0.0.5:5557"]},
            "no endpoint of KV events",
        ),
        ({"replicas": [A], "affinity": "gateway", "prefill_lane": "long"}, "nobody here knows"),
    ],
)
def test_a_pool_that_cannot_be_served_is_refused_with_a_reason(
    given: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ValidationError, match=fault):
        Pool(**given)


@pytest.mark.parametrize(
    "endpoint", ["tcp://10.0.0.5:5557", "tcp://a:1?replay=2", "bind+tcp://127.0.0.1:5601"]
)
def test_endpoints_of_events_have_a_host_and_a_port(endpoint: str) -> None:
    pool = Pool(replicas=(A,), affinity="precise", kv_events=(endpoint,))

    assert pool.kv_events == (endpoint,)


def test_a_deployment_has_one_name_wherever_it_is_answered() -> None:
    placed = POOLED.at(A)

    assert placed.name == POOLED.name == POOLED.instance == "openai/llama@llama"
    assert placed.instance == f"openai/llama@llama {A}"
    assert (placed.api_base, placed.pool) == (A, "llama")


def test_a_replicas_password_is_in_no_name() -> None:
    assert "secret" not in POOLED.at("http://user:secret@10.0.0.5/v1").instance


def test_a_pool_needs_no_key_unless_it_names_one() -> None:
    keyed = POOLED.model_copy(update={"api_key_env": "POOL_KEY"})

    assert key_variables(POOLED) == ()
    assert is_usable(POOLED, {})
    assert knows_keys(POOLED)
    assert not is_usable(keyed, {})


def test_what_decides_an_answer_is_the_pool_and_not_where_it_is_served() -> None:
    def identity(deployment: Deployment) -> str:
        return NamedTier("fast", Tier(deployments=(deployment,))).identity

    other = Deployment(model="openai/llama", pool="other")

    assert "pool llama" in identity(POOLED)
    assert len({identity(each) for each in (POOLED, other, Deployment(model="openai/llama"))}) == 3
