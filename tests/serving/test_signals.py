"""Signals: how busy an engine says it is, from real pages and over a real socket."""

import pytest

from tests.fakes import FakeProvider, Load
from tierflow.errors import EngineUnreadableError, TierflowError
from tierflow.serving import EngineSignals, MetricsPage, signals_in

SGLANG = """\
# HELP sglang:num_running_reqs The number of running requests
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="llama"} 162.0
# HELP sglang:num_queue_reqs The number of requests in the waiting queue
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{model_name="llama"} 2826.0
# HELP sglang:token_usage The token usage
# TYPE sglang:token_usage gauge
sglang:token_usage{model_name="llama"} 0.28
# HELP sglang:time_to_first_token_seconds Histogram of time to first token in seconds.
# TYPE sglang:time_to_first_token_seconds histogram
sglang:time_to_first_token_seconds_bucket{le="0.1",model_name="llama"} 3.0
sglang:time_to_first_token_seconds_bucket{le="+Inf",model_name="llama"} 4.0
sglang:time_to_first_token_seconds_count{model_name="llama"} 4.0
sglang:time_to_first_token_seconds_sum{model_name="llama"} 0.5
"""


def test_vllms_page_is_read_next_to_its_api(provider: FakeProvider) -> None:
    provider.set_loads(Load(running=3, waiting=2, kv_cache_usage=0.25))

    assert MetricsPage().read(provider.base_url) == EngineSignals(3, 2, 0.25)


def test_engines_on_one_page_sum_their_requests_and_share_their_cache(
    provider: FakeProvider,
) -> None:
    provider.set_loads(
        Load(running=3, waiting=0, kv_cache_usage=0.9, engine="0"),
        Load(running=1, waiting=2, kv_cache_usage=0.5, engine="1"),
    )

    signals = MetricsPage().read(provider.base_url)

    assert (signals.running, signals.waiting) == (4, 2)
    assert signals.kv_cache_use == pytest.approx(0.7)


def test_sglangs_page_is_read_too() -> None:
    assert signals_in(SGLANG, "http://engine/metrics") == EngineSignals(162, 2826, 0.28)


def test_a_page_that_lacks_a_signal_names_it() -> None:
    page = SGLANG.replace("sglang:num_queue_reqs", "sglang:renamed")

    with pytest.raises(EngineUnreadableError, match=r"http://engine/metrics .* name waiting\."):
        signals_in(page, "http://engine/metrics")


@pytest.mark.parametrize("page", ["<html>hello</html>", '{"detail": "Not found"}', "three short"])
def test_a_page_of_another_kind_is_unreadable(page: str) -> None:
    with pytest.raises(EngineUnreadableError, match="no page of Prometheus metrics"):
        signals_in(page, "http://engine/metrics")


@pytest.mark.parametrize(
    "api_base", ["http://127.0.0.1:9/v1", "engine.example/v1", "http://engine:port/v1", ""]
)
def test_an_engine_that_cannot_be_reached_is_unreadable(api_base: str) -> None:
    with pytest.raises(EngineUnreadableError, match="gave no metrics"):
        MetricsPage().read(api_base)


def test_an_unreadable_engine_is_one_of_our_errors() -> None:
    assert issubclass(EngineUnreadableError, TierflowError)
