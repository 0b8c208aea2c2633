"""Expecting: what a call will take is guessed from its request and its sampling."""

from tierflow.request import Sampling
from tierflow.routing.expecting import expected_usage

from .world import a_request, a_tier


def test_a_request_takes_a_token_for_four_characters() -> None:
    short, long = (expected_usage(a_request("x" * n), a_tier("fast", "a")) for n in (0, 400))
    assert long.input_tokens - short.input_tokens == 100


def test_the_reply_is_as_long_as_it_may_be() -> None:
    bounded = a_request(sampling=Sampling(max_tokens=50))
    tier = a_tier("fast", "a", sampling=Sampling(max_tokens=70))
    assert expected_usage(bounded, tier).output_tokens == 50
    assert expected_usage(a_request(), tier).output_tokens == 70
    assert expected_usage(a_request(), a_tier("fast", "a")).output_tokens > 1000
