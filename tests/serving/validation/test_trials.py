"""Trials: each way sees the same requests equally often, and a broken one ends the measuring."""

from collections import Counter
from collections.abc import Sequence

import pytest

from tierflow.cassette import RecordedRequest
from tierflow.errors import ConfigError, EngineUnreadableError
from tierflow.serving.load import Counters
from tierflow.serving.validation.decision import Decision
from tierflow.serving.validation.measured import Block, Served, Trial
from tierflow.serving.validation.slices import Slice, band_of, sliced
from tierflow.serving.validation.trials import Extent, blocks_of, trials
from tierflow.serving.validation.validating import Question, decisions, policy_of


class Timed:
    """An endpoint that computes what a block takes: `per_token_ms` by how many are at once."""

    def __init__(
        self, per_token_ms: dict[int, float], *, says: str = "", fails_after: int = 10**9
    ) -> None:
        self.per_token_ms, self.says, self.fails_after = per_token_ms, says, fails_after
        self.seen = Counter[tuple[int, str]]()
        self.order: list[str] = []
        self.drafts = 0.0

    async def serve(self, requests: Sequence[RecordedRequest], concurrency: int) -> Block:
        if len(self.order) >= self.fails_after:
            raise EngineUnreadableError("http://engine gave no reply. Is the engine up?")
        self.order.append("block")
        served: list[Served] = []
        for request in requests:
            text = str(request.messages[0]["content"])
            self.seen[concurrency, text] += 1
            self.drafts += 10
            total = self.per_token_ms[concurrency] * request.output_tokens
            served.append(Served(1.0, total, (), request.output_tokens, self.says or text))
        return Block(sum(each.total_ms for each in served) / concurrency, tuple(served))

    async def counted(self) -> Counters | None:
        return Counters(drafted_tokens=self.drafts, accepted_tokens=0.7 * self.drafts)


def recorded(count: int, step: str = "triage", output_tokens: int = 20) -> list[RecordedRequest]:
    return [
        RecordedRequest(
            step=step,
            messages=({"role": "user", "content": f"{step} {number}"},),
            input_tokens=100,
            output_tokens=output_tokens + number % 3,
        )
        for number in range(count)
    ]


PLAIN = {1: 10.0, 4: 12.0, 8: 14.0}
DRAFTING = {1: 5.0, 4: 10.0, 8: 20.0}


async def every(*ways: Timed, extent: Extent | None = None) -> list[Trial]:
    plain, *others = ways
    named = {f"way {number}": way for number, way in enumerate(others)}
    extent = extent or Extent((1, 4), pairs=6)
    return [each async for each in trials(recorded(9), plain, named, extent, seed=3)]


async def test_all_ways_see_the_same_requests_equally_often() -> None:
    ways = Timed(PLAIN), Timed(DRAFTING), Timed(PLAIN)
    await every(*ways)
    assert ways[0].seen == ways[1].seen == ways[2].seen


async def test_blocks_fill_all_places_and_are_as_many_as_was_announced() -> None:
    ways = Timed(PLAIN), Timed(DRAFTING)
    extent = Extent((1, 4), pairs=6, per_place=3)
    found = await every(*ways, extent=extent)
    assert [(each.concurrency, len(each.pairs)) for each in found] == [(1, 6), (4, 6)]
    assert {len(pair.plain.served) for pair in found[1].pairs} == {12}
    assert len(ways[0].order) + len(ways[1].order) == blocks_of(extent, 1)


async def test_the_accepted_share_is_of_the_trial_alone() -> None:
    (found, _) = await every(Timed(PLAIN), Timed(DRAFTING))
    assert found.acceptance == pytest.approx(0.7)


async def test_the_plain_engine_is_run_again_only_where_outputs_differ() -> None:
    equal = await every(Timed(PLAIN), Timed(DRAFTING))
    assert all(pair.again is None for each in equal for pair in each.pairs)
    other = await every(Timed(PLAIN), Timed(DRAFTING, says="something else"))
    assert all(pair.again is not None for each in other for pair in each.pairs)


async def test_nothing_is_decided_of_an_endpoint_that_broke_down() -> None:
    with pytest.raises(EngineUnreadableError, match="Is the engine up"):
        await every(Timed(PLAIN), Timed(DRAFTING, fails_after=5))


async def decided(question: Question, rows: list[RecordedRequest]) -> list[Decision]:
    ways = {"spec": Timed(DRAFTING)}
    return [each async for each in decisions(question, rows, Timed(PLAIN), ways)]


async def test_drafting_is_adopted_for_few_at_once_and_not_for_many() -> None:
    question = Question("llama", extent=Extent((1, 4, 8), pairs=6))
    (found,) = await decided(question, recorded(12))
    policy = policy_of(question, [found], now=100.0, valid_days=1, setup="")
    sent = [
        policy.pool_for("triage", "", input_tokens=100, output_tokens=20, under_way=load, now=101.0)
        for load in (1, 4, 5, 8, 100)
    ]
    assert sent == ["spec", "spec", "llama", "llama", "llama"]


async def test_slices_are_decided_apart_and_small_ones_not_at_all() -> None:
    rows = [*recorded(12), *recorded(8, "draw up", 400), *recorded(2, "rare")]
    question = Question("llama", extent=Extent((1,), pairs=6))
    found = await decided(question, rows)
    assert [each.slice.step for each in found] == ["triage", "draw up"]
    assert found[1].slice.output_band == "256-1024"


async def test_without_the_dimension_only_the_smallest_concurrency_is_measured() -> None:
    question = Question("llama", by=frozenset({"step"}), extent=Extent((4, 1, 8), pairs=6))
    (found,) = await decided(question, recorded(12))
    assert found.slice == Slice(step="triage")
    assert {each.trial.concurrency for each in found.compared} == {1}


async def test_too_few_requests_are_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match="the largest of 1 has 3"):
        await decided(Question("llama"), recorded(3))


def test_bands_meet_without_a_gap() -> None:
    assert [band_of(tokens) for tokens in (0, 255, 256, 65_535, 65_536, 10**6)] == [
        "0-256",
        "0-256",
        "256-1024",
        "16384-65536",
        "65536-",
        "65536-",
    ]


def test_every_request_is_in_the_slice_that_was_made_of_it() -> None:
    rows = [*recorded(5), *recorded(5, "draw up", 400)]
    for slice_, held in sliced(rows, ["step", "length"]).items():
        assert all(
            slice_.holds(each.step, each.kind, each.input_tokens, each.output_tokens)
            for each in held
        )
