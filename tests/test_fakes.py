"""The fake provider, asked through the real litellm client and plain HTTP. No model is called."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, cast

import httpx
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.fakes import BreakStream, Drop, Fail, FakeProvider, Hang, Load, Raw, Say, Step

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")

import litellm  # after the two settings above, which it reads while it is imported
from litellm import exceptions

pytestmark = [
    # litellm builds its answer types on first use; pydantic warns about one of them.
    pytest.mark.filterwarnings("ignore:Item '.*' on TypedDict class:UserWarning"),
    # litellm reads every attribute of a streamed chunk, the deprecated ones too.
    pytest.mark.filterwarnings("ignore:Accessing the 'model_.*fields':DeprecationWarning"),
]

ROOT = Path(__file__).resolve().parents[1]
QUESTION = [{"role": "user", "content": "Who are you?"}]
FOR_EVER = 3600.0
Client: TypeAlias = Callable[..., list[Any]]
"""Asks once and returns what came: one answer, or the chunks of a stream."""


class City(BaseModel):
    name: str
    people: int


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    # Without this litellm's blocking client opens an event loop here that nobody closes.
    asyncio.set_event_loop(None)
    with FakeProvider() as provider:
        yield provider
    # litellm keeps one client for each address; their sockets would outlive the test.
    cache: Any = litellm.in_memory_llm_clients_cache
    for client in cache.cache_dict.values():
        if isinstance(client, OpenAI):
            client.close()
    cache.flush_cache()


def ask(provider: FakeProvider, model: str, **options: object) -> list[Any]:
    reply = cast(Any, litellm).completion(**request_to(provider, model), **options)
    return list(reply) if options.get("stream") else [reply]


def ask_async(provider: FakeProvider, model: str, **options: object) -> list[Any]:
    async def run() -> list[Any]:
        client = cast(Any, litellm)
        try:
            reply = await client.acompletion(**request_to(provider, model), **options)
            return [chunk async for chunk in reply] if options.get("stream") else [reply]
        finally:
            await client.close_litellm_async_clients()

    return asyncio.run(run())


both_clients = pytest.mark.parametrize("client", [ask, ask_async])


def request_to(provider: FakeProvider, model: str) -> dict[str, Any]:
    return {
        "model": f"openai/{model}",
        "messages": QUESTION,
        "api_base": provider.base_url,
        "api_key": "test",
        "num_retries": 0,
        "max_retries": 0,
    }


def post(provider: FakeProvider, model: str, **options: object) -> httpx.Response:
    body = {"model": model, "messages": QUESTION, **options}
    return httpx.post(f"{provider.base_url}/chat/completions", json=body, timeout=30)


def events(response: httpx.Response) -> list[str]:
    return [line.removeprefix("data: ") for line in response.text.splitlines() if line]


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


@both_clients
def test_text_usage_and_identity_arrive_as_scripted(provider: FakeProvider, client: Client) -> None:
    provider.script("small", Say("A fake.", 12, 3, 8, finish_reason="length", reasoning_tokens=2))
    [reply] = client(provider, "small")
    assert reply.choices[0].message.content == "A fake."
    assert reply.choices[0].finish_reason == "length"
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (12, 3)
    assert reply.usage.total_tokens == 15
    assert reply.usage.prompt_tokens_details.cached_tokens == 8
    assert reply.usage.completion_tokens_details.reasoning_tokens == 2
    assert reply.id.startswith("chatcmpl-")
    assert reply.created > 0
    assert reply.model == "small"
    assert reply.system_fingerprint


def test_an_answer_can_name_another_model_than_the_one_asked(provider: FakeProvider) -> None:
    provider.script("small", Say("x", response_model="small-2031-01-01"))
    assert post(provider, "small").json()["model"] == "small-2031-01-01"


def test_unscripted_usage_counts_characters(provider: FakeProvider) -> None:
    provider.script("small", Say("12345"))
    parts = [{"type": "text", "text": "1234"}, {"type": "image_url", "image_url": {"url": "x"}}]
    messages = [{"role": "system", "content": "12345"}, {"role": "user", "content": parts}]
    usage = post(provider, "small", messages=messages).json()["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (3, 2)


@pytest.mark.parametrize("text", [City(name="Ghent", people=3), {"name": "Ghent", "people": 3}])
def test_a_text_that_is_no_string_is_dumped_as_json(provider: FakeProvider, text: object) -> None:
    provider.script("small", Say(text))
    content = post(provider, "small").json()["choices"][0]["message"]["content"]
    assert City.model_validate_json(content) == City(name="Ghent", people=3)


@both_clients
def test_a_stream_brings_the_text_and_the_usage(provider: FakeProvider, client: Client) -> None:
    provider.script("small", Say(" I am  a fake.\n", 5, 4, cached_tokens=2, chunk_delay_s=0.001))
    chunks = client(provider, "small", stream=True, stream_options={"include_usage": True})
    assert text_of(chunks) == " I am  a fake.\n"
    usage = chunks[-1].usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (5, 4)
    assert usage.prompt_tokens_details.cached_tokens == 2


def test_a_stream_carries_usage_only_where_asked(provider: FakeProvider) -> None:
    provider.script("small", Say("I am"))
    *chunks, done = events(post(provider, "small", stream=True))
    assert done == "[DONE]"
    assert [list(json.loads(chunk)["choices"][0]["delta"]) for chunk in chunks] == [
        ["role", "content"],
        ["content"],
        ["content"],
        [],
    ]
    assert all("usage" not in json.loads(chunk) for chunk in chunks)
    asked = post(provider, "small", stream=True, stream_options={"include_usage": True})
    last = json.loads(events(asked)[-2])
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 4


def test_logprobs_come_only_to_a_request_that_asks(provider: FakeProvider) -> None:
    provider.script("small", Say("yes no", logprobs=[-0.1, -2.5]))
    [reply] = ask(provider, "small", logprobs=True)
    tokens = reply.choices[0].logprobs.content
    assert [(token.token, token.logprob) for token in tokens] == [("yes", -0.1), (" no", -2.5)]
    assert post(provider, "small").json()["choices"][0]["logprobs"] is None
    streamed = [json.loads(line) for line in events(post(provider, "small", stream=True))[:-1]]
    assert all(chunk["choices"][0]["logprobs"] is None for chunk in streamed)


@both_clients
def test_a_rate_limit_shows_its_retry_after(provider: FakeProvider, client: Client) -> None:
    provider.script("small", Fail(429, "Slow down.", retry_after_s=7, headers={"x-left": "0"}))
    with pytest.raises(exceptions.RateLimitError, match="Slow down") as caught:
        client(provider, "small")
    headers = cast(Any, caught.value).litellm_response_headers
    assert (headers["retry-after"], headers["x-left"]) == ("7", "0")
    assert len(provider.calls) == 1


@both_clients
def test_a_prompt_too_long_is_a_context_window_error(
    provider: FakeProvider, client: Client
) -> None:
    message = "This model's maximum context length is 10 tokens."
    provider.script("small", Fail(400, message, code="context_length_exceeded"))
    with pytest.raises(exceptions.ContextWindowExceededError):
        client(provider, "small")


@both_clients
def test_an_unscripted_model_is_not_found(provider: FakeProvider, client: Client) -> None:
    with pytest.raises(exceptions.NotFoundError, match="'ghost' does not exist"):
        client(provider, "ghost")
    error = post(provider, "ghost").json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == "model_not_found"


@both_clients
def test_a_hang_times_the_client_out_and_ends_with_it(
    provider: FakeProvider, client: Client
) -> None:
    provider.script("small", Hang(FOR_EVER))
    with pytest.raises(exceptions.Timeout):
        client(provider, "small", timeout=0.2)
    provider.wait_until_idle()


def test_a_hang_that_is_over_closes_the_connection(provider: FakeProvider) -> None:
    provider.script("small", Hang(0.01))
    with pytest.raises(httpx.RemoteProtocolError):
        post(provider, "small")


@both_clients
@pytest.mark.parametrize("step", [Drop(), BreakStream(1, "half an answer")])
def test_a_connection_closed_on_an_answer_is_a_server_error(
    provider: FakeProvider, client: Client, step: Step
) -> None:
    provider.script("small", step)
    with pytest.raises(exceptions.InternalServerError, match="Connection error"):
        client(provider, "small")


@both_clients
def test_a_broken_stream_raises_in_the_client(provider: FakeProvider, client: Client) -> None:
    provider.script("small", BreakStream(2, "I was going to say"))
    with pytest.raises(exceptions.ServiceUnavailableError, match=r"not completed|incomplete"):
        client(provider, "small", stream=True)


def test_a_broken_stream_sends_its_chunks_first(provider: FakeProvider) -> None:
    provider.script("small", BreakStream(2, "I was going to say"))
    body = {"model": "small", "messages": QUESTION, "stream": True}
    url = f"{provider.base_url}/chat/completions"
    arrived: list[str] = []
    with httpx.stream("POST", url, json=body) as response, pytest.raises(httpx.RemoteProtocolError):
        arrived.extend(response.iter_lines())
    said = [json.loads(line.removeprefix("data: ")) for line in arrived if line]
    assert [chunk["choices"][0]["delta"]["content"] for chunk in said] == ["", "I ", "was "]


@both_clients
def test_a_malformed_body_is_sent_as_it_stands(provider: FakeProvider, client: Client) -> None:
    provider.script("small", [Raw(200, "{not json"), Raw(502, "<html>", "text/html")])
    with pytest.raises(exceptions.InternalServerError, match="Expecting property name"):
        client(provider, "small")
    response = post(provider, "small")
    assert (response.status_code, response.text) == (502, "<html>")
    assert response.headers["content-type"] == "text/html"


def test_a_script_plays_in_order_and_repeats_its_last_step(provider: FakeProvider) -> None:
    provider.script("small", [Fail(500), Say("one"), Say("two")])
    assert [post(provider, "small").status_code for _ in range(2)] == [500, 200]
    assert ["two" in post(provider, "small").text for _ in range(3)] == [True] * 3
    provider.script("small", [Say("anew"), Say("later")])
    assert "anew" in post(provider, "small").text


def test_a_script_can_compute_its_answer_from_the_request(provider: FakeProvider) -> None:
    def echo(body: dict[str, Any]) -> Step:
        return Say(body["messages"][-1]["content"])

    provider.script("echo", echo)
    [reply] = ask(provider, "echo")
    assert reply.choices[0].message.content == "Who are you?"


def test_every_call_is_recorded_as_it_arrived(provider: FakeProvider) -> None:
    provider.script("small", Say("x"))
    provider.script("large", Fail(500))
    before = time.monotonic()
    ask(provider, "small", temperature=0.5, extra_headers={"X-Run": "7"})
    post(provider, "large")
    assert [call.model for call in provider.calls] == ["small", "large"]
    [call] = provider.calls_to("small")
    assert call.body["messages"] == QUESTION
    assert call.body["temperature"] == 0.5
    assert (call.headers["authorization"], call.headers["x-run"]) == ("Bearer test", "7")
    assert before <= call.at <= time.monotonic()


def test_a_reset_goes_back_to_the_first_scripts() -> None:
    with FakeProvider({"small": [Say("one"), Say("two")]}, default=Say("any")) as provider:
        provider.script("large", Say("big"))
        assert [post(provider, model).json()["model"] for model in ("small", "large")]
        provider.set_loads(Load(running=9))
        provider.reset()
        assert provider.calls == ()
        assert provider.max_in_flight("small") == 0
        assert "one" in post(provider, "small").text
        assert "any" in post(provider, "large").text
        assert "} 9.0" not in httpx.get(f"{provider.root_url}/metrics").text


def test_the_most_open_requests_are_counted(provider: FakeProvider) -> None:
    provider.script("large", Say("x"))
    for _ in range(3):
        post(provider, "large")
    assert provider.max_in_flight("large") == 1
    with ThreadPoolExecutor(3) as pool, FakeProvider({"small": Hang(FOR_EVER)}) as crowded:
        for _ in range(3):
            pool.submit(post, crowded, "small")
        assert len(crowded.wait_for_calls(3, "small")) == 3
        assert crowded.max_in_flight("small") == 3


def test_waiting_for_calls_that_never_come_says_so(provider: FakeProvider) -> None:
    with pytest.raises(TimeoutError, match="for 2 calls; there are 0 calls"):
        provider.wait_for_calls(2, timeout_s=0.01)


def test_the_server_stops_under_a_hanging_request_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with ThreadPoolExecutor(1) as pool:
        with FakeProvider({"small": Hang(FOR_EVER)}) as provider:
            cut_off = pool.submit(post, provider, "small")
            provider.wait_for_calls(1)
        assert isinstance(cut_off.exception(), httpx.RemoteProtocolError)
    assert set(threading.enumerate()) == before


def test_a_port_in_use_is_refused_at_once(provider: FakeProvider) -> None:
    taken = int(provider.root_url.rsplit(":", 1)[1])
    with pytest.raises(OSError, match="in use"), FakeProvider(port=taken):
        pass


def test_models_metrics_and_health_are_served(provider: FakeProvider) -> None:
    provider.script("small", Say("x"))
    listed = httpx.get(f"{provider.base_url}/models").json()
    assert [model["id"] for model in listed["data"]] == ["small"]
    provider.set_loads(Load(3, 2, 0.25, "small", "0"), Load(1, 0, 0.5, "small", "1"))
    metrics = httpx.get(f"{provider.root_url}/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = metrics.text.splitlines()
    assert 'vllm:num_requests_running{engine="0",model_name="small"} 3.0' in lines
    assert 'vllm:num_requests_waiting{engine="1",model_name="small"} 0.0' in lines
    assert 'vllm:kv_cache_usage_perc{engine="1",model_name="small"} 0.5' in lines
    assert httpx.get(f"{provider.root_url}/health").status_code == 200


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"messages": []}', b'{"model": 3}'])
def test_a_request_without_a_model_name_is_refused(provider: FakeProvider, body: bytes) -> None:
    response = httpx.post(f"{provider.base_url}/chat/completions", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert provider.calls == ()


@pytest.mark.parametrize("ending", ["closed input", "signal"])
def test_as_a_process_it_answers_every_model_and_ends_cleanly(ending: str) -> None:
    command = [sys.executable, "-m", "tests.fakes", "--say", "hello"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        base_url = json.loads(process.stdout.readline())["base_url"]
        body = {"model": "any", "messages": QUESTION}
        reply = httpx.post(f"{base_url}/chat/completions", json=body).json()
        if ending == "signal":
            process.send_signal(signal.SIGTERM)
        else:
            process.stdin.close()
            process.stdin = None
        _, complaints = process.communicate(timeout=30)
    assert reply["choices"][0]["message"]["content"] == "hello"
    assert (process.returncode, complaints) == (0, b"")
