"""Outages: drills with whole steps over real sockets. What a user sees, and who is asked."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest

from tests.conftest import Catalogue
from tests.fakes import Drop, Fail, FakeProvider, Hang, Say, Step
from tests.tasks.asker import Asker
from tests.tasks.ways import Way, both_ways, plain, run_async
from tierflow import Sampling, llm_task
from tierflow.tasks import close_hands

CALLS = 1000
AT_ONCE = 16
PATIENCE_S = 60.0
AT_FIRST = "[breaker]\nfailures_in_a_row = 1\n"
"""Opens at the first failure, so that a drill can say who is asked when."""


def amend(path: Path, tiers: str = "", tail: str = "") -> None:
    """Add options to all tiers of a tierflow.toml, and sections to its end."""
    text = path.read_text().replace("max_wait_s", f"{tiers}\nmax_wait_s")
    path.write_text(f"{text}\n{tail}")


def many(way: Way, count: int) -> list[str]:
    """Ask so many different questions, sixteen at once. Raises what any of them raises."""
    if not way.is_async:
        step = way.step(plain, cache=None)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return [answer.value for answer in pool.map(step, map(str, range(count)))]

    @llm_task(tier="fast", cache=None)
    async def ask(question: str) -> str:
        return question

    async def run() -> list[str]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> str:
            async with gate:
                return await ask.fn(str(number))

        return await asyncio.gather(*map(one, range(count)))

    return run_async(run)


@pytest.fixture
def second_asker() -> Iterator[Asker]:
    """A process of this test's alone: it may be killed."""
    asker = Asker("sync")
    yield asker
    asker.kill()


@both_ways
def test_of_a_thousand_calls_none_fails_when_one_of_two_deployments_is_down(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    amend(catalogue(fast=["a", "b"]), tail="[breaker]\nopen_s = 3600\nmax_open_s = 3600")
    provider.script("a", Fail(500))
    provider.script("b", Say("from b"))

    values = many(way, CALLS)

    assert values == ["from b"] * CALLS
    # Only who was under way when the first one failed; there was no time for a probe.
    assert 1 <= len(provider.calls_to("a")) <= AT_ONCE
    assert len(provider.calls_to("b")) == CALLS


@both_ways
def test_a_deployment_that_stays_down_is_asked_for_one_probe_at_a_time(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    amend(catalogue(fast=["a", "b"]), tail=f"{AT_FIRST}open_s = 0.001\nmax_open_s = 0.001")
    provider.script("a", Fail(503))
    provider.script("b", Say("from b"))
    way.step(plain)("the one that opens it")
    provider.wait_until_idle()
    provider.reset()
    provider.script("a", Fail(503))
    provider.script("b", Say("from b"))

    assert many(way, 200) == ["from b"] * 200

    assert provider.calls_to("a")
    assert provider.max_in_flight("a") == 1


@both_ways
def test_a_deployment_that_is_well_again_gets_its_calls_back(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    amend(catalogue(fast=["a", "b"]), tail=f"{AT_FIRST}open_s = 0.001")
    provider.script("a", [Fail(500), Say("from a")])
    provider.script("b", Say("from b"))
    step = way.step(plain, cache=None)

    values = [step(str(number)).value for number in range(10)]

    assert values[0] == "from b"
    assert values[-3:] == ["from a"] * 3


@both_ways
@pytest.mark.parametrize("fault", [Drop(), Hang(3600), Fail(401)], ids=["drop", "hang", "denied"])
def test_no_call_fails_and_an_open_breaker_spares_the_wait(
    way: Way, catalogue: Catalogue, provider: FakeProvider, fault: Step
) -> None:
    path = catalogue(fast=["a", "b"], timeout_s=1.0 if isinstance(fault, Hang) else 10.0)
    amend(path, tail=f"{AT_FIRST}open_s = 3600\nmax_open_s = 3600")
    provider.script("a", fault)
    provider.script("b", Say("from b"))
    step = way.step(plain, cache=None)

    assert [step(str(number)).value for number in range(20)] == ["from b"] * 20

    assert len(provider.calls_to("a")) == 1


@both_ways
def test_a_refused_connection_is_such_a_fault(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    path = catalogue(fast=["a", "b"])
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        # Bound, but nobody listens.
        port = listener.getsockname()[1]
        nobody = f'"openai/a", api_base = "http://127.0.0.1:{port}/v1"'
        path.write_text(
            path.read_text().replace(f'"openai/a", api_base = "{provider.base_url}"', nobody)
        )
        provider.script("b", Say("from b"))
        step = way.step(plain, cache=None)
        answers = [step(str(number)) for number in range(20)]

    assert {answer.value for answer in answers} == {"from b"}
    assert [len(answer.failures) for answer in answers] == [1] + [0] * 19


@both_ways
def test_a_brown_out_moves_the_calls_to_the_deployment_that_is_not_slow(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    amend(
        catalogue(fast=["a", "b"]),
        tiers="slow_call_s = 0.5",
        tail="[breaker]\nmin_calls = 5\nopen_s = 3600\nmax_open_s = 3600",
    )
    provider.script("a", Say("from a", delay_s=0.6))
    provider.script("b", Say("from b"))
    step = way.step(plain, cache=None)

    values = Counter(step(str(number)).value for number in range(40))

    assert values == {"from a": 5, "from b": 35}


@both_ways
def test_what_is_slow_is_told_by_what_the_step_usually_takes(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    amend(catalogue(fast=["a", "b"]), tail="[breaker]\nopen_s = 3600\nmax_open_s = 3600")
    provider.script("a", [*[Say("from a", delay_s=0.02)] * 30, Say("slowly from a", delay_s=0.6)])
    provider.script("b", Say("from b"))
    step = way.step(plain, cache=None)

    values = Counter(step(str(number)).value for number in range(60))

    # Ten of the newest twenty are half. A busy machine may have made others slow before.
    assert 1 <= values["slowly from a"] <= 10
    assert values["from b"] >= 20


def test_slow_is_better_than_nothing(catalogue: Catalogue, provider: FakeProvider) -> None:
    amend(catalogue(fast=["a"]), tiers="slow_call_s = 0.001", tail="[breaker]\nmin_calls = 1")
    provider.script("a", Say("from a", delay_s=0.01))
    step = Way(is_async=False).step(plain, cache=None)

    assert [step(str(number)).value for number in range(5)] == ["from a"] * 5


def test_another_process_knows_of_an_opened_breaker(
    asker: Asker, project: Path, catalogue: Catalogue, provider: FakeProvider
) -> None:
    amend(catalogue(fast=["a", "b"]), tail=f"{AT_FIRST}open_s = 3600\nmax_open_s = 3600")
    provider.script("a", Fail(500))
    provider.script("b", Say("from b"))
    Way(is_async=False).step(plain)("mine")

    asker.go_to(project)

    assert [asker.ask("plain", each).value for each in "xyz"] == ["from b"] * 3
    assert len(provider.calls_to("a")) == 1


def test_all_processes_keep_a_retry_after(
    asker: Asker, project: Path, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue(fast=["a", "b"])
    provider.script("a", [Fail(429, retry_after_s=3600), Say("never")])
    provider.script("b", Say("from b"))
    asker.go_to(project)
    assert asker.ask("plain", "its").value == "from b"

    step = Way(is_async=False).step(plain, cache=None)

    assert [step(each).value for each in "xyz"] == ["from b"] * 3
    assert len(provider.calls_to("a")) == 1


def test_processes_share_a_rate_limit_and_ask_another_when_that_is_sooner(
    asker: Asker, project: Path, catalogue: Catalogue, provider: FakeProvider
) -> None:
    path = catalogue(fast=["a", "b"])
    # One call, and the next in two minutes.
    path.write_text(path.read_text().replace('"openai/a"', '"openai/a", rpm = 0.5'))
    provider.script("a", Say("from a"))
    provider.script("b", Say("from b"))
    step = Way(is_async=False).step(plain, cache=None)
    assert step("mine").value == "from a"

    asker.go_to(project)

    assert asker.ask("plain", "its").value == "from b"
    assert step("mine again").value == "from b"
    close_hands()
    assert step("and again").value == "from b"


@both_ways
def test_a_rate_limit_is_waited_for_where_there_is_nobody_else(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    path = catalogue(fast=["a"], max_wait_s=0.0)
    path.write_text(path.read_text().replace('"openai/a"', '"openai/a", rpm = 120, tpm = 6000'))
    provider.script("a", Say("from a"))
    step = way.step(plain, cache=None, sampling=Sampling(temperature=0, max_tokens=900))

    # The first three pass as a burst would not: each reserves nine tenths of it, and settles.
    assert [step(str(number)).value for number in range(3)] == ["from a"] * 3
    assert not any(answer.failures for answer in map(step, "xy"))


def until(asked: Callable[[], str], wanted: str) -> None:
    """Ask until the wanted value comes."""
    ends = monotonic() + PATIENCE_S
    while asked() != wanted:
        assert monotonic() < ends


def test_a_process_that_is_killed_while_it_probes_does_not_hold_up_recovery(
    second_asker: Asker, project: Path, catalogue: Catalogue, provider: FakeProvider
) -> None:
    # Nobody else may probe for as long as a call may take, or 15 s.
    amend(catalogue(fast=["a", "b"], timeout_s=2.0), tail=f"{AT_FIRST}open_s = 0.001")
    provider.script("a", [Fail(500), Hang(3600), Say("from a")])
    provider.script("b", Say("from b"))
    step = Way(is_async=False).step(plain, cache=None)
    second_asker.go_to(project)
    assert second_asker.ask("plain", "the one that opens it").value == "from b"
    second_asker.begin("plain", "the probe")
    provider.wait_for_calls(2, "a", PATIENCE_S)
    second_asker.kill()

    assert step("while it is probed").value == "from b"
    until(lambda: step("again").value, "from a")


@both_ways
def test_without_the_store_each_process_goes_by_its_own_and_says_so_once(
    way: Way,
    project: Path,
    catalogue: Catalogue,
    provider: FakeProvider,
    caplog: pytest.LogCaptureFixture,
) -> None:
    amend(catalogue(fast=["a", "b"]), tail=f"{AT_FIRST}open_s = 3600\nmax_open_s = 3600")
    (project / ".tierflow" / "breakers.db").mkdir(parents=True)
    provider.script("a", Fail(500))
    provider.script("b", Say("from b"))
    step = way.step(plain, cache=None)

    assert [step(str(number)).value for number in range(5)] == ["from b"] * 5

    assert len(provider.calls_to("a")) == 1
    told = [record.getMessage() for record in caplog.records if "breakers" in record.getMessage()]
    assert len(told) == 1
    assert "this process's alone" in told[0]


def test_healthy_calls_make_no_file(
    project: Path, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say("fine"))
    step = Way(is_async=False).step(plain, cache=None)
    for number in range(5):
        step(str(number))
    close_hands()
    assert not (project / ".tierflow" / "breakers.db").exists()
