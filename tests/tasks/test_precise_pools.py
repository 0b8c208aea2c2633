"""Precise pools: what is held is what the engines say over ZeroMQ, evictions and all."""

# What is held is nowhere else to be seen.
# pyright: reportPrivateUsage=false

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.fakes import FakeEngine, FakeProvider, KvPublisher
from tests.fakes.engine import token_ids
from tests.tasks.pooled import a_pool, asked, items, urls
from tests.tasks.ways import Way, both_ways
from tierflow.request import render
from tierflow.routing.affinity import BlockChain, Placement, chain_of_tokens
from tierflow.tasks import hands
from tierflow.tasks.placing import PoolInUse

PATIENCE_S = 60.0
BLOCK_TOKENS = 16


@dataclass(frozen=True)
class Told:
    """Engines, and who publishes their events."""

    engines: list[FakeEngine]
    publishers: list[KvPublisher]

    def pool(self, project: Path, more: str = "") -> None:
        events = [each.endpoint for each in self.publishers]
        a_pool(project, urls(self.engines), f'affinity = "precise"\nkv_events = {events!r}\n{more}')

    def begin(self, lane: str = "llama") -> PoolInUse:
        """Begin to listen, and wait until that is so."""
        pool, _ = map(hands().pools._using, ("llama", lane))
        for each in self.publishers:
            each.wait_for_listener()
        return pool


@pytest.fixture
def told(running_provider: FakeProvider) -> Iterator[Told]:
    """Two replicas with little room: some 100 blocks each."""
    del running_provider
    with ExitStack() as stack:
        publishers = [stack.enter_context(KvPublisher(shape="array")), KvPublisher(shape="map")]
        stack.enter_context(publishers[1])
        engines = [
            stack.enter_context(FakeEngine(blocks=400, text=f"from {name}", events=each))
            for name, each in zip("ab", publishers, strict=True)
        ]
        yield Told(engines, publishers)


def until(holds: Callable[[], bool]) -> None:
    ends = monotonic() + PATIENCE_S
    while not holds():
        assert monotonic() < ends


def held(pool: PoolInUse, engine: FakeEngine) -> set[int]:
    """Our hashes of what the index says that an engine holds."""
    member = pool.fleet._members[engine.base_url]
    holding: Any = pool.fleet._index.of(member.slot)
    return set(holding._held)


def blocks(item: str) -> tuple[int, ...]:
    messages = render(asked(item), str).messages
    return chain_of_tokens(token_ids(messages), BLOCK_TOKENS).hashes


@both_ways
def test_the_index_is_what_the_engines_hold(way: Way, project: Path, told: Told) -> None:
    told.pool(project)
    pool = told.begin()
    step = way.step(asked, cache=None)

    answers = [step(each) for each in items(4)]

    assert not any(answer.failures for answer in answers)
    until(lambda: all(len(held(pool, each)) == len(each.cache._held) for each in told.engines))
    known = {block for each in told.engines for block in held(pool, each)}
    last = set(blocks(items(4)[-1]))
    assert last <= known


def in_one(item: str) -> str:
    """The same prompt without a prefix of its own: all of it is in one message."""
    prompt = asked(item)
    return f"{prompt.prefix}{prompt.ask}"


OPTIONED = """params = { chat_template_kwargs = { thinks = false }, \
extra_body = { tools = [{ type = "function", function = { name = "look" } }] } }"""


@pytest.mark.parametrize("params", ["", OPTIONED])
@pytest.mark.parametrize(("prompt", "most_off"), [(in_one, 0), (asked, BLOCK_TOKENS)])
def test_what_is_expected_to_be_cached_is_what_the_engine_says_was(
    *,
    prompt: Callable[[str], Any],
    most_off: int,
    params: str,
    project: Path,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a prompt with a prefix, the block in which the ask begins is not looked for."""
    told.pool(project)
    amend(project, params)
    pool = told.begin()
    step = Way(is_async=False).step(prompt, cache=None)
    expected: list[int] = []
    place = pool.place

    def noting(chain: BlockChain, session: str, barred: Sequence[str]) -> Placement | None:
        placed = place(chain, session, barred)
        assert placed is not None
        expected.append(placed.cached_tokens)
        return placed

    monkeypatch.setattr(pool, "place", noting)
    found: list[int] = []
    for each in items(4):
        until(lambda: all(len(held(pool, one)) == len(one.cache._held) for one in told.engines))
        found.append(step(each).usage.cache_read_tokens)

    assert sum(found) > 0
    assert all(0 <= told - mine <= most_off for mine, told in zip(expected, found, strict=True))


def amend(project: Path, params: str) -> None:
    """Give the pool's deployment further options of the chat request."""
    path = project / "tierflow.toml"
    plain = 'pool = "llama" }'
    optioned = f'pool = "llama", {params} }}' if params else plain
    path.write_text(path.read_text().replace(plain, optioned))


@both_ways
@pytest.mark.parametrize("prompt", [in_one, asked])
def test_an_engine_is_asked_once_what_it_makes_of_a_prompt(
    prompt: Callable[[str], Any], way: Way, project: Path, told: Told
) -> None:
    here, there = told.engines
    events = [f'affinity = "precise"\nkv_events = ["{each.endpoint}"]' for each in told.publishers]
    lane = "prefill_heavy_tokens = 300\nprefill_tokens_at_once = 900\nprefill_lane = 'long'"
    long = f'[pools.long]\nreplicas = ["{there.base_url}"]\n{events[1]}'
    a_pool(project, [here.base_url], f"{events[0]}\n{lane}", long)

    def of(item: str) -> Any:
        return prompt(item) if ":" in item else item

    step = way.step(of, cache=None)
    # Once there were events it is known how large blocks are.
    pools = [told.begin("long"), hands().pools._using("long")]
    step.batch("a short one " * 10, "tenant:a long one")
    until(lambda: all(map(held, pools, told.engines)))
    before = len(here.tokenized) + len(there.tokenized)

    step.batch(*[f"tenant {number % 2}:ask {number % 4}" for number in range(8)])

    assert len(there.all_calls) > 1
    after = len(here.tokenized) + len(there.tokenized)
    assert after - before == (4 if prompt is in_one else 2)


def test_after_a_gap_what_is_held_is_guessed_by_what_is_sent(project: Path, told: Told) -> None:
    told.pool(project)
    pool = told.begin()
    step = Way(is_async=False).step(asked, cache=None)
    step("tenant:one")
    engine = next(each for each in told.engines if each.all_calls)
    publisher = told.publishers[told.engines.index(engine)]
    until(lambda: bool(held(pool, engine)))

    publisher.skip()
    publisher.removed([1])
    until(lambda: not held(pool, engine))
    # There is no other to go to, and what it holds already it will not tell again.
    next(each for each in told.engines if each is not engine).die()
    known = blocks("tenant:two")[0]
    for number in range(4):
        step(f"tenant:again {number}")

    assert known in held(pool, engine)


def test_where_an_engine_is_gone_another_says_what_the_tokens_are(
    project: Path, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    told.pool(project)
    pool = told.begin()
    gone, left = told.engines
    gone.die()
    step = Way(is_async=False).step(asked, cache=None)
    for number in range(8):
        step(f"tenant:one {number}")

    until(lambda: set(blocks("tenant:one")) <= held(pool, left))
    assert "gave no token ids" not in caplog.text


def test_an_engine_that_restarts_is_known_to_be_empty_from_its_first_event_on(
    project: Path, told: Told
) -> None:
    told.pool(project)
    pool = told.begin()
    step = Way(is_async=False).step(asked, cache=None)
    step("tenant:one")
    engine = next(each for each in told.engines if each.all_calls)
    publisher = told.publishers[told.engines.index(engine)]
    until(lambda: bool(held(pool, engine)))
    engine.die()
    engine.start()
    publisher.begin_anew()

    publisher.removed([1])

    until(lambda: not held(pool, engine))


def test_without_token_ids_requests_are_placed_by_load_and_that_is_said_once(
    project: Path, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    told.pool(project)
    told.begin()
    for each in told.engines:
        assert each._provider is not None
        each._has_pages = False
        each.die()
        each.start()
    step = Way(is_async=False).step(asked, cache=None)

    assert [step(each).value[:4] for each in items(1)] == ["from"] * 6

    assert caplog.text.count("gave no token ids") == 1
