"""Partial replies: what a call that was left or broke off has cost, in the ledger."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import BreakStream, Drop, Fail, FakeProvider, Hang, Say
from tests.tasks.conftest import Rows
from tests.tasks.ways import Way, both_ways, plain, run_async
from tierflow import Chunk
from tierflow.errors import AllDeploymentsFailedError, DeadlineExceededError

FOR_EVER = 3600.0
ASK = "Where is it, after all these weeks of waiting for it?"
SENT = math.ceil(len(f'[{{"content":"{ASK}","role":"user"}}]') / 4)
"""Tokens of the prompt, guessed at four characters each; PRICES are 1 and 10 USD per MTok."""

HEARD = math.ceil(len("one two ") / 4)
TWO_WORDS = BreakStream(2, "one two three four")
SILENT = BreakStream(2, "one two three four", silent_s=FOR_EVER)


Books = Callable[[], tuple[list[dict[str, Any]], list[dict[str, Any]]]]


@pytest.fixture
def books(calls: Rows, rows: Rows) -> Books:
    """Read the ledger's calls, and its rows of steps."""
    return lambda: (calls(), rows())


def ignore(_: Chunk) -> None:
    """Stream, and drop what comes."""


class ReaderGoneError(Exception):
    """What a caller's own code raises."""


def leaving_after(words: int, error: BaseException) -> Callable[[Chunk], None]:
    heard: list[str] = []

    def listen(chunk: Chunk) -> None:
        heard.append(chunk.text)
        if len(heard) == words:
            raise error

    return listen


def paid(call: dict[str, Any]) -> tuple[int, int, bool]:
    return call["input_tokens"], call["output_tokens"], bool(call["estimated"])


def usd(input_tokens: int, output_tokens: int) -> float:
    return (input_tokens + 10 * output_tokens) / 1e6


@both_ways
@pytest.mark.parametrize("broken", [TWO_WORDS, SILENT], ids=["broke off", "fell silent"])
def test_what_a_failed_stream_had_brought_is_paid_for(
    way: Way,
    broken: BreakStream,
    catalogue: Catalogue,
    provider: FakeProvider,
    books: Books,
) -> None:
    catalogue(fast=["a", "b"], timeout_s=1.0)
    provider.script("a", broken)
    provider.script("b", Say("It is here.", 100, 20))

    answer = way.step(plain, on_chunk=ignore)(ASK)

    (first, second), (row,) = books()
    assert first["outcome"] in {"ProviderDownError", "AttemptTimeoutError"}
    assert paid(first) == (SENT, HEARD, True)
    assert first["cost_usd"] == pytest.approx(usd(SENT, HEARD))
    assert first["ttft_ms"] > 0
    assert paid(second) == (100, 20, False)
    assert answer.cost_usd == pytest.approx(usd(SENT + 100, HEARD + 20))
    assert answer.usage.estimated
    assert row["cost_usd"] == pytest.approx(answer.cost_usd)
    assert (row["asks"], row["failed_attempts"]) == (2, 1)


@pytest.mark.parametrize(
    ("way", "error"),
    [
        (Way(is_async=False), ReaderGoneError("one two")),
        (Way(is_async=True), ReaderGoneError("one two")),
        (Way(is_async=False), KeyboardInterrupt()),
    ],
    ids=["sync", "async", "interrupted"],
)
def test_a_stream_that_its_listener_left_is_paid_for_up_to_there(
    way: Way,
    error: BaseException,
    catalogue: Catalogue,
    provider: FakeProvider,
    books: Books,
) -> None:
    catalogue(fast=["a", "b"])
    provider.script("a", Say("one two three four", chunk_delay_s=0.01))

    with pytest.raises(type(error)):
        way.step(plain, on_chunk=leaving_after(2, error))(ASK)

    (call,), (row,) = books()
    assert call["outcome"] == row["outcome"] == type(error).__name__
    assert paid(call) == (SENT, HEARD, True)
    assert call["cost_usd"] == row["cost_usd"] == pytest.approx(usd(SENT, HEARD))


@both_ways
def test_a_stream_that_the_deadline_cut_off_is_paid_for_up_to_there(
    way: Way, catalogue: Catalogue, provider: FakeProvider, books: Books
) -> None:
    catalogue()
    provider.script("fast", SILENT)
    way.step(plain)  # imports what takes long
    with pytest.raises((DeadlineExceededError, AllDeploymentsFailedError)):
        way.step(plain, on_chunk=ignore, deadline_s=3.0)(ASK)

    (call,), (row,) = books()
    assert paid(call) == (SENT, HEARD, True)
    assert row["cost_usd"] == pytest.approx(usd(SENT, HEARD))


def test_a_stream_whose_step_is_cancelled_is_paid_for_up_to_there(
    catalogue: Catalogue, provider: FakeProvider, books: Books
) -> None:
    catalogue()
    provider.script("fast", SILENT)
    step = Way(is_async=True)

    async def ask_and_cancel() -> None:
        second, loop = asyncio.Event(), asyncio.get_running_loop()
        words: list[str] = []

        def listen(chunk: Chunk) -> None:
            words.append(chunk.text)
            if len(words) == 2:
                loop.call_soon_threadsafe(second.set)

        asking = asyncio.ensure_future(step.step(plain, on_chunk=listen).task.answer.fn(ASK))
        await second.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    run_async(ask_and_cancel)

    (call,), (row,) = books()
    assert call["outcome"] == row["outcome"] == "CancelledError"
    assert paid(call) == (SENT, HEARD, True)
    assert row["cost_usd"] == pytest.approx(usd(SENT, HEARD))


@both_ways
def test_a_call_that_was_left_unanswered_is_taken_for_its_prompt(
    way: Way, catalogue: Catalogue, provider: FakeProvider, books: Books
) -> None:
    catalogue(timeout_s=0.5)
    provider.script("fast", Hang(FOR_EVER))

    with pytest.raises(AllDeploymentsFailedError):
        way.step(plain)(ASK)

    (call,), (row,) = books()
    assert (call["outcome"], paid(call)) == ("AttemptTimeoutError", (SENT, 0, True))
    assert row["cost_usd"] == pytest.approx(usd(SENT, 0))


@both_ways
@pytest.mark.parametrize("refusal", [Fail(503), Fail(429), Fail(504), Drop()], ids=str)
def test_what_a_provider_refused_costs_nothing(
    way: Way,
    refusal: Fail | Drop,
    catalogue: Catalogue,
    provider: FakeProvider,
    books: Books,
) -> None:
    catalogue()
    provider.script("fast", refusal)

    with pytest.raises(AllDeploymentsFailedError):
        way.step(plain, on_chunk=ignore)(ASK)

    calls, rows = books()
    assert {paid(each) for each in calls} == {(0, 0, False)}
    assert {each["cost_usd"] for each in [*calls, *rows]} == {0.0}


@both_ways
def test_what_nobody_could_reach_costs_nothing(
    way: Way, catalogue: Catalogue, provider: FakeProvider, books: Books
) -> None:
    path = catalogue()
    # Nothing listens at the port of "discard".
    path.write_text(path.read_text().replace(provider.base_url, "http://127.0.0.1:9/v1"))

    with pytest.raises(AllDeploymentsFailedError):
        way.step(plain)(ASK)

    calls, _ = books()
    assert {paid(each) for each in calls} == {(0, 0, False)}


@both_ways
def test_without_a_price_what_broke_off_costs_none_not_zero(
    way: Way, catalogue: Catalogue, provider: FakeProvider, books: Books
) -> None:
    path = catalogue(fast=["a", "b"])
    price = ", input_usd_per_mtok = 1.0, output_usd_per_mtok = 10.0"
    path.write_text(path.read_text().replace(price, "", 1))
    provider.script("a", TWO_WORDS)
    provider.script("b", Say("It is here.", 100, 20))

    answer = way.step(plain, on_chunk=ignore)(ASK)

    calls, (row,) = books()
    assert [each["cost_usd"] for each in calls] == [None, pytest.approx(usd(100, 20))]
    assert paid(calls[0]) == (SENT, HEARD, True)
    assert (answer.cost_usd, row["cost_usd"]) == (None, None)


@both_ways
def test_what_a_stream_told_at_its_beginning_is_not_guessed(
    way: Way,
    catalogue: Catalogue,
    provider: FakeProvider,
    books: Books,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Anthropic tells of the input before the first word.
    path = catalogue()
    text = path.read_text().replace('"openai/fast"', '"anthropic/claude-haiku-5-5"', 1)
    path.write_text(text.replace(provider.base_url, provider.root_url, 1))
    said = Say("one two three four", 1000, 50, 400, written_tokens=200, written_1h_tokens=100)
    provider.script("claude-haiku-5-5", BreakStream(3, said))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a key")

    with pytest.raises(AllDeploymentsFailedError):
        way.step(plain, on_chunk=ignore)(ASK)

    (call,), _ = books()
    assert paid(call) == (1000, HEARD, True)
    assert (call["cache_read_tokens"], call["cache_write_tokens"]) == (400, 300)
