"""Vendor: every way in which a provider fails, as an error of our own. Over real sockets."""

import math
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace

import pytest
import uvicorn

from tests.fakes import BreakStream, Drop, Fail, FakeProvider, Hang, Raw, Say, Step
from tests.tasks.ways import run_async
from tierflow import Chunk
from tierflow.errors import (
    AttemptError,
    AttemptTimeoutError,
    ContextLengthError,
    DeniedError,
    ProviderDownError,
    RateLimitedError,
    RejectedError,
    StoreError,
    TierflowError,
)
from tierflow.request import Reply
from tierflow.routing import Ask, LiteLLMClient, NamedTier
from tierflow.routing.vendor import litellm
from tierflow.settings import Deployment, Tier

from .world import a_request

Asking = Callable[[Ask], Reply]


def ask_sync(ask: Ask) -> Reply:
    return LiteLLMClient({}).ask(ask)


def ask_async(ask: Ask) -> Reply:
    return run_async(lambda: LiteLLMClient({}).ask_async(ask))


both_ways = pytest.mark.parametrize("asking", [ask_sync, ask_async], ids=["sync", "async"])
whole_and_streamed = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


def an_ask(base_url: str, *, streamed: bool = False, timeout_s: float = 10.0) -> Ask:
    deployment = Deployment(model="openai/a", api_base=base_url)
    tier = NamedTier("fast", Tier(deployments=(deployment,), timeout_s=timeout_s))
    return Ask(deployment, tier, a_request(), "answer", 1, ignore if streamed else None)


def ignore(_: Chunk) -> None:
    """Stream, and drop what comes."""


def full(message: str, status: int = 400) -> Fail:
    return Fail(status, message)


KINDS: list[tuple[Step, type[AttemptError]]] = [
    (Fail(408), AttemptTimeoutError),
    (Fail(504), AttemptTimeoutError),
    (Fail(429), RateLimitedError),
    (Fail(429, code="insufficient_quota"), RateLimitedError),
    (Fail(500), ProviderDownError),
    (Fail(502), ProviderDownError),
    (Raw(502, "<html>Bad gateway</html>", "text/html"), ProviderDownError),
    (Fail(503), ProviderDownError),
    (Fail(529), ProviderDownError),
    (Drop(), ProviderDownError),
    (BreakStream(2, "I was going to say"), ProviderDownError),
    (Raw(200, ""), ProviderDownError),
    (Raw(200, '{"id": 1'), ProviderDownError),
    (Raw(200, '{"id": "x", "object": "chat.completion", "choices": []}'), ProviderDownError),
    (Fail(401), DeniedError),
    (Fail(402), DeniedError),
    (Fail(403), DeniedError),
    (Fail(404, code="model_not_found"), DeniedError),
    (Fail(400), RejectedError),
    (Fail(409), RejectedError),
    (Fail(413), RejectedError),
    (Fail(422), RejectedError),
    (Fail(400, "Please send less.", code="context_length_exceeded"), ContextLengthError),
    (full("This model's maximum context length is 8192 tokens."), ContextLengthError),
    (full("prompt is too long: 210000 tokens > 200000 maximum"), ContextLengthError),
    (full("The input token count (9) exceeds the maximum"), ContextLengthError),
    (full("Your input tokens exceed the configured limit of 8192."), ContextLengthError),
    (full("The request exceeds the available context size."), ContextLengthError),
    (full("There are too many tokens in it.", 413), ContextLengthError),
]


@both_ways
@whole_and_streamed
@pytest.mark.parametrize(("step", "kind"), KINDS, ids=lambda each: str(each)[:60])
def test_a_failure_becomes_the_error_of_our_tree(
    asking: Asking, streamed: bool, step: Step, kind: type[AttemptError], provider: FakeProvider
) -> None:
    provider.script("a", step)

    with pytest.raises(AttemptError) as caught:
        asking(an_ask(provider.base_url, streamed=streamed))

    assert type(caught.value) is kind
    assert caught.value.deployment == f"openai/a@{provider.base_url}"
    assert str(caught.value).startswith(f"openai/a@{provider.base_url}: ")
    assert caught.value.retry_after_s is None


def test_a_kept_connection_is_left_before_an_engine_hangs_up() -> None:
    code = (
        "from tierflow.routing.vendor import litellm; litellm()\n"
        "from litellm import constants; print(constants.AIOHTTP_KEEPALIVE_TIMEOUT)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < uvicorn.Config("engine").timeout_keep_alive


@both_ways
@whole_and_streamed
def test_silence_is_a_timeout(asking: Asking, streamed: bool, provider: FakeProvider) -> None:
    provider.script("a", Hang(math.inf))

    with pytest.raises(AttemptTimeoutError):
        asking(an_ask(provider.base_url, streamed=streamed, timeout_s=0.3))


@both_ways
def test_silence_between_two_chunks_is_a_timeout_too(
    asking: Asking, provider: FakeProvider
) -> None:
    provider.script("a", Say("one two three", chunk_delay_s=60))

    with pytest.raises(AttemptTimeoutError):
        asking(an_ask(provider.base_url, streamed=True, timeout_s=0.5))


@both_ways
def test_a_refused_connection_is_a_provider_that_is_down(asking: Asking) -> None:
    with pytest.raises(ProviderDownError):
        asking(an_ask("http://127.0.0.1:9/v1"))


@both_ways
@whole_and_streamed
@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ((429, "7"), 7.0),
        ((500, "0.5"), 0.5),
        ((503, "-3"), 0.0),
        ((429, "Fri, 31 Dec 2100 23:59:59 GMT"), None),
    ],
)
def test_a_retry_after_in_seconds_is_read(
    asking: Asking,
    streamed: bool,
    said: tuple[int, str],
    seconds: float | None,
    provider: FakeProvider,
) -> None:
    status, header = said
    provider.script("a", Fail(status, headers={"retry-after": header}))

    with pytest.raises(AttemptError) as caught:
        asking(an_ask(provider.base_url, streamed=streamed))

    assert caught.value.retry_after_s == seconds


@both_ways
@whole_and_streamed
def test_litellm_does_not_retry_by_itself(
    asking: Asking, streamed: bool, provider: FakeProvider
) -> None:
    provider.script("a", Fail(500))

    with pytest.raises(ProviderDownError):
        asking(an_ask(provider.base_url, streamed=streamed))

    assert len(provider.calls) == 1


@both_ways
@whole_and_streamed
@pytest.mark.parametrize("handled", [StoreError("ours"), RejectedError("ours"), KeyError("theirs")])
def test_an_error_the_caller_is_handling_is_not_taken_for_the_attempts(
    asking: Asking, streamed: bool, handled: Exception, provider: FakeProvider
) -> None:
    provider.script("a", Fail(429))

    try:
        raise handled
    except (TierflowError, KeyError):
        with pytest.raises(RateLimitedError):
            asking(an_ask(provider.base_url, streamed=streamed))


def test_what_a_provider_says_is_cut_short(provider: FakeProvider) -> None:
    provider.script("a", Fail(400, "no " * 1000))

    with pytest.raises(RejectedError) as caught:
        ask_sync(an_ask(provider.base_url))

    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
def test_a_key_that_a_provider_repeats_is_not_quoted(sync: bool, provider: FakeProvider) -> None:
    provider.script("a", Fail(401, "Incorrect API key provided: sk-canary-123."))
    client, plain = LiteLLMClient({"MY_KEY": "sk-canary-123"}), an_ask(provider.base_url)
    deployment = plain.deployment.model_copy(update={"api_key_env": "MY_KEY"})
    ask = replace(plain, deployment=deployment)

    with pytest.raises(DeniedError, match=r"provided: \*\*\*") as caught:
        client.ask(ask) if sync else run_async(lambda: client.ask_async(ask))

    assert "sk-canary-123" not in "".join(traceback.format_exception(caught.value))


def test_litellm_is_prepared_once() -> None:
    before = [each["provider"] for each in litellm().custom_provider_map]

    assert [each["provider"] for each in litellm().custom_provider_map] == before
    assert before.count("local") == before.count("replay") == 1


def test_importing_tierflow_does_not_import_litellm() -> None:
    program = "import sys, tierflow; print('litellm' in sys.modules)"

    said = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout

    assert said == "False\n"
