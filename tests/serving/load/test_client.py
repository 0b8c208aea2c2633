"""The load client over real sockets: what it times and counts, and how it tells of failures."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes import BreakStream, Drop, Fail, FakeProvider, Raw, Say, Step
from tierflow.errors import EngineUnreadableError
from tierflow.serving.load import Counters, LoadClient, counters_in

SECRET = {"messages": [{"role": "user", "content": "my secret"}]}
EVENTS = "text/event-stream"
VLLM = """\
data: {"choices": [{"delta": {"role": "assistant", "content": ""}, "token_ids": null}]}

data: {"choices": [{"delta": {"content": "a"}, "token_ids": [5]}]}

data: {"choices": [{"delta": {"content": ""}, "token_ids": [6, 7]}]}

data: {"choices": [{"delta": {"content": "b"}, "token_ids": [8], "finish_reason": "length"}]}

data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4, \
"prompt_tokens_details": {"cached_tokens": 8}}}

data: [DONE]

"""
LLAMA_CPP = """\
data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop", \
"logprobs": {"content": [{"id": 3, "token": "a", "bytes": [97]}]}}]}

"""
BROKEN = """\
data: {"choices": [{"delta": {"content": "a"}}]}

data: {"error": {"message": "my secret", "code": 500}}

data: [DONE]

"""


@pytest.fixture
async def client(provider: FakeProvider) -> AsyncIterator[LoadClient]:
    provider.script("llama", Say("yes"))
    async with LoadClient.connected(provider.base_url) as connected:
        yield connected


async def test_a_reply_is_timed_piece_by_piece(client: LoadClient, provider: FakeProvider) -> None:
    provider.script("llama", Say("one two three", input_tokens=7, output_tokens=3, cached_tokens=4))

    found = await client.ask(SECRET)

    assert (found.text, found.error, found.finish_reason) == ("one two three", None, "stop")
    assert (found.input_tokens, found.output_tokens, found.cached_tokens) == (7, 3, 4)
    assert found.token_ids is None
    assert len(found.gaps_s) == 2
    assert 0 < found.ttft_s <= found.ttft_s + sum(found.gaps_s) <= found.total_s


async def test_times_are_those_of_the_clock_that_is_given(provider: FakeProvider) -> None:
    provider.script("llama", Say("one two three"))
    ticks = iter(range(100))
    async with LoadClient.connected(provider.base_url) as connected:
        client = LoadClient(
            connected.api_base, "llama", "", connected.http, clock=lambda: float(next(ticks))
        )

        found = await client.ask(SECRET)

    # The role, three words, the end and the usage are a tick each.
    assert (found.ttft_s, found.gaps_s, found.total_s) == (2, (1, 1), 7)


async def test_the_engine_is_asked_to_stream_and_to_tell_usage_and_else_what_was_given(
    client: LoadClient, provider: FakeProvider
) -> None:
    await client.ask({**SECRET, "temperature": 0, "max_tokens": 5})

    (call,) = provider.calls
    assert call.body == {
        **SECRET,
        "model": "llama",
        "temperature": 0,
        "max_tokens": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_a_tokens_piece_counts_though_it_has_no_text(
    client: LoadClient, provider: FakeProvider
) -> None:
    provider.script("llama", Raw(200, VLLM, EVENTS))

    found = await client.ask(SECRET)

    assert (found.text, found.token_ids, len(found.gaps_s)) == ("ab", (5, 6, 7, 8), 2)
    assert (found.output_tokens, found.cached_tokens, found.error) == (4, 8, None)


async def test_token_ids_are_taken_from_logprobs_where_they_stand_there(
    client: LoadClient, provider: FakeProvider
) -> None:
    provider.script("llama", Raw(200, LLAMA_CPP, EVENTS))

    found = await client.ask(SECRET)

    assert (found.text, found.token_ids, found.error) == ("a", (3,), None)


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (Fail(500), "HTTP 500"),
        (Fail(429), "HTTP 429"),
        (Drop(), "RemoteProtocolError"),
        (BreakStream(1, "one two three"), "RemoteProtocolError"),
        (Raw(200, BROKEN, EVENTS), "the engine failed in its midst"),
        (Raw(200, "data: {what\n\n", EVENTS), "JSONDecodeError"),
        (Raw(200, "data: 7\n\n", EVENTS), "TypeError"),
        (Raw(200, 'data: {"choices": [7]}\n\n', EVENTS), "AttributeError"),
        (Raw(200, "<html>my secret</html>", "text/html"), "the stream broke off"),
    ],
)
async def test_a_failure_is_told_in_the_result_and_without_its_text(
    client: LoadClient, provider: FakeProvider, step: Step, error: str
) -> None:
    provider.script("llama", step)

    found = await client.ask(SECRET)

    assert found.error == error
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    "wrong", ["http://127.0.0.1:9/v1", "{base}/nothing", "no-url", "http://[::1", "http://a:b/v1"]
)
async def test_an_endpoint_that_is_no_engine_is_said_to_be_none(
    provider: FakeProvider, wrong: str
) -> None:
    with pytest.raises(EngineUnreadableError):
        async with LoadClient.connected(wrong.replace("{base}", provider.base_url)):
            pytest.fail("it connected")


async def test_a_model_is_chosen_by_name_and_else_the_first(provider: FakeProvider) -> None:
    provider.script("first", Say("yes"))
    provider.script("second", Say("yes"))
    async with LoadClient.connected(provider.base_url) as one:
        assert (one.model, one.setup) == ("first", "fake first")
    async with LoadClient.connected(provider.base_url, model="second") as other:
        assert (other.model, other.setup) == ("second", "fake second")


async def test_a_named_model_is_asked_of_an_engine_that_lists_none(provider: FakeProvider) -> None:
    provider.script("llama", Say("yes"))
    async with LoadClient.connected(provider.root_url + "/", model="llama") as client:
        assert (client.model, client.setup, client.tells_tokens) == ("llama", "llama", False)


async def test_an_engine_that_lists_none_is_asked_to_be_named_one() -> None:
    with FakeProvider(default=Say("yes")) as provider:
        with pytest.raises(EngineUnreadableError, match="lists no model"):
            async with LoadClient.connected(provider.base_url):
                pytest.fail("it connected")
        with pytest.raises(EngineUnreadableError, match=r"HTTP 405.*end in /v1"):
            async with LoadClient.connected(provider.root_url):
                pytest.fail("it connected")


async def test_a_page_without_counters_counts_none(client: LoadClient) -> None:
    found = await client.counters()

    assert found.since(found).acceptance is None
    assert found.drafted_tokens is None


async def test_an_engine_that_is_gone_gives_no_counters() -> None:
    with FakeProvider({"llama": Say("yes")}) as provider:
        connected = LoadClient.connected(provider.base_url)
        client = await connected.__aenter__()
    with pytest.raises(EngineUnreadableError, match="gave no metrics"):
        await client.counters()
    assert (await client.ask(SECRET)).error == "ConnectError"
    await connected.__aexit__(None, None, None)


def test_counters_are_what_was_counted_in_between() -> None:
    page = (
        "# TYPE vllm:spec_decode_num_draft_tokens counter\n"
        'vllm:spec_decode_num_draft_tokens_total{engine="0"} 100\n'
        'vllm:spec_decode_num_draft_tokens_total{engine="1"} 20\n'
        "# TYPE vllm:spec_decode_num_accepted_tokens counter\n"
        'vllm:spec_decode_num_accepted_tokens_total{engine="0"} 60\n'
        "# TYPE vllm:prefix_cache_queries counter\n"
        'vllm:prefix_cache_queries_total{engine="0"} 8\n'
        "# TYPE vllm:prefix_cache_hits counter\n"
        'vllm:prefix_cache_hits_total{engine="0"} 2\n'
    )
    now = counters_in(page, "http://engine/metrics")

    since = now.since(Counters(drafted_tokens=40, accepted_tokens=4))

    assert (since.drafted_tokens, since.accepted_tokens) == (80, 56)
    assert since.acceptance == pytest.approx(0.7)
    assert since.prefix_hit_rate == pytest.approx(0.25)
    assert now.since(now).prefix_hit_rate is None


def test_a_page_of_another_kind_is_unreadable() -> None:
    with pytest.raises(EngineUnreadableError, match="no page of Prometheus"):
        counters_in("what{", "http://engine/metrics")
