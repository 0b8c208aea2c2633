"""What is kept: a hit is what a fresh answer was, and half an answer is none."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, field_validator

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.tasks.conftest import Rows
from tests.tasks.ways import Way, both_ways, plain, run_async
from tierflow import Cascade, llm_task, schema


class Percent(BaseModel):
    share: float
    reasoning: str = Field(default="", exclude=True)

    @field_validator("share")
    @classmethod
    def _from_percent(cls, value: float) -> float:
        return value / 100


@both_ways
def test_a_hit_is_read_from_the_reply_as_the_fresh_answer_was(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say({"share": 85, "reasoning": "because"}))
    step = way.step(plain, returns=Percent)
    fresh, hit = step("how much"), step("how much")
    assert (fresh.cache, hit.cache) == ("miss", "exact")
    assert hit.value == fresh.value == Percent(share=85, reasoning="because")


@both_ways
@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_reply_that_was_cut_off_is_not_kept(
    way: Way, reason: str, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", [Say("half an ans", finish_reason=reason), Say("a whole answer")])
    step = way.step(plain)
    assert [step("why").text for _ in range(3)] == ["half an ans", *["a whole answer"] * 2]


@both_ways
def test_a_cheap_reply_that_was_cut_off_escalates_unjudged(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say("half an ans", finish_reason="length"))
    provider.script("frontier", Say("a whole answer"))
    answer = way.step(plain, cascade=Cascade(to="frontier", judge=schema(), max_loss=None))("why")
    assert (answer.text, answer.verdicts[0].reason) == ("a whole answer", "cut off: length")


def test_a_step_that_is_cancelled_is_accounted_for(
    catalogue: Catalogue, provider: FakeProvider, rows: Rows
) -> None:
    catalogue()
    provider.script("fast", Say("no"))
    provider.script("frontier", Say("yes", delay_s=60))

    def refuses(_value: str) -> bool:
        return False

    @llm_task(tier="fast", cascade=Cascade(to="frontier", judge=schema(refuses), max_loss=None))
    async def ask(question: str) -> str:
        return question

    async def cancelled() -> None:
        asking = asyncio.ensure_future(ask.fn("why"))
        await asyncio.to_thread(provider.wait_for_calls, 1, "frontier")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    run_async(cancelled)
    (row,) = rows()
    told = [row[name] for name in ("outcome", "asks", "escalations", "tier")]
    # The call that nobody waited for is paid for, too.
    assert told == ["CancelledError", 2, 1, "frontier"]
    assert row["cost_usd"] > 0


def test_the_folder_of_the_stores_is_closed_to_others(
    project: Path, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say("yes"))

    @llm_task(tier="fast")
    def ask(question: str) -> str:
        return question

    ask.fn("why")
    assert (project / ".tierflow").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "options",
    [
        {"cache": False},
        {"cascade": "frontier"},
        {"sampling": None},
        {"rollout": 0.5},
    ],
    ids=str,
)
def test_an_option_of_the_wrong_type_is_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"{next(iter(options))}=.* is no "):
        llm_task(tier="fast", **options)


def test_an_async_listener_is_refused_because_nobody_would_await_it() -> None:
    async def hear(_chunk: object) -> None:
        """Hear nothing."""

    listen: Any = hear
    with pytest.raises(TypeError, match="on_chunk is an async function"):
        llm_task(tier="fast", on_chunk=listen)
