"""Real engines: steps on two replicas of `transformers serve`, one of which is killed."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from benchmarks.engines import Shape, save_model
from tests.engines import Engine, serving
from tests.fakes import FakeProvider
from tests.tasks.ways import Way
from tests.tracing.emitted import Emitted
from tierflow import Prompt, Sampling
from tierflow.tracing import names

DESKS = ["billing", "returns", "carrier", "complaints"]
TINY = Shape(layers=2, hidden=64, window=4096)
BRIEF = Sampling(temperature=0, max_tokens=4)


@pytest.fixture(scope="module")
def replicas(
    tmp_path_factory: pytest.TempPathFactory,
    running_provider: FakeProvider,  # at its end, what is left open is closed
) -> Iterator[Sequence[Engine]]:
    """Two replicas of a small Llama with drawn weights."""
    del running_provider
    model = save_model(TINY, tmp_path_factory.mktemp("llama") / "llama")
    with serving(model, 2) as engines:
        yield engines


def at_a_desk(item: str) -> Prompt:
    desk, _, ask = item.partition(":")
    return Prompt(prefix=f"You serve the desk of {desk}. " * 60, ask=ask)


def ports(spans: Sequence[ReadableSpan]) -> list[int]:
    """Who was asked, in order."""
    called = [each for each in spans if each.name.startswith("chat ")]
    called.sort(key=lambda each: each.start_time or 0)
    return [int(str((each.attributes or {})[names.SERVER_PORT])) for each in called]


def test_steps_keep_to_the_replica_of_their_prefix_and_outlive_the_other(
    project: Path, replicas: Sequence[Engine], emitted: Emitted
) -> None:
    (project / "tierflow.toml").write_text(f"""
[pools.llama]
replicas = {[each.url for each in replicas]!r}
poll_s = 0.2

[tiers.fast]
deployments = [{{ model = "openai/{replicas[0].model}", pool = "llama" }}]
timeout_s = 120
""")
    step = Way(is_async=False).step(at_a_desk, cache=None, sampling=BRIEF)

    before = [step(f"{desk}:ask {turn}") for turn in range(3) for desk in DESKS]
    asked = ports(emitted.exporter.get_finished_spans())
    replicas[0].kill()
    after = [step(f"{desk}:ask again {turn}") for turn in range(2) for desk in DESKS]

    by_desk = defaultdict[str, set[int]](set)
    for place, port in enumerate(asked):
        by_desk[DESKS[place % len(DESKS)]].add(port)
    assert [len(each) for each in by_desk.values()] == [1] * len(DESKS)
    assert not any(answer.failures for answer in before)
    assert len(after) == 2 * len(DESKS)
    assert len({answer.deployment for answer in (*before, *after)}) == 1
    pooled = [each.attributes or {} for each in emitted.exporter.get_finished_spans()]
    assert {str(each[names.POOL]) for each in pooled if names.POOL in each} == {"llama"}
    assert any(int(str(each.get(names.POOL_CACHED, 0))) > 200 for each in pooled)
