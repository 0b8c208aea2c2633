"""Together: two processes' healths with one file between them, by clocks that the test moves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tierflow.errors import ProviderDownError, RateLimitedError, StoreError
from tierflow.routing.resilience import Breaker, ChangeBreaker, Health
from tierflow.routing.resilience.sql_shared import SqlShared
from tierflow.settings import BreakerSettings, Deployment

A, B = (Deployment(model=f"openai/{name}") for name in "ab")
DOWN = ProviderDownError("down")
RULES = BreakerSettings()


class Counted(SqlShared):
    """Counts what it is used for."""

    reads = 0
    changes = 0

    def read(self) -> tuple[float, Mapping[str, Breaker]]:
        self.reads += 1
        return super().read()

    def change_breaker(self, name: str, change: ChangeBreaker) -> tuple[float, Breaker]:
        self.changes += 1
        return super().change_breaker(name, change)


@dataclass
class Clock:
    """A monotonic clock, which begins anywhere."""

    now: float

    def __call__(self) -> float:
        return self.now


class Worker:
    """A process: its clock, its way to the file, its health."""

    def __init__(self, path: Path, began: float, wall: Clock) -> None:
        self.clock, self.place = Clock(began), Counted(path, wall)
        self.told: list[StoreError] = []
        self.health = Health(self.clock, RULES, self.place, self.told.append)

    def fail(self, times: int = 1, probe: str = "") -> None:
        for _ in range(times):
            self.health.failed(A, DOWN, probe=probe)
            self.health.publish()

    def wait_s(self) -> float:
        return self.health.conditions((A,), "")[0].wait_s

    def place_of_a(self) -> int:
        return self.health.conditions((A,), "")[0].place


class Machine:
    """Two workers, and the wall clock that the file goes by."""

    def __init__(self, path: Path) -> None:
        self.wall = Clock(1_700_000_000.0)
        self.one, self.two = (Worker(path, began, self.wall) for began in (5.0, 70_000.0))

    def sleep(self, seconds: float) -> None:
        for clock in (self.wall, self.one.clock, self.two.clock):
            clock.now += seconds


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "breakers.db")
    yield machine
    machine.one.place.close()
    machine.two.place.close()


def test_failures_in_a_row_are_counted_together(machine: Machine) -> None:
    machine.one.fail(3)
    machine.two.fail(2)
    assert machine.two.wait_s() == pytest.approx(5)
    assert machine.one.wait_s() == pytest.approx(5)
    machine.sleep(2)
    assert machine.one.wait_s() == pytest.approx(3)


def test_one_failure_here_puts_the_deployment_behind_there_until_someone_gets_a_reply(
    machine: Machine,
) -> None:
    machine.one.fail()
    assert (machine.one.place_of_a(), machine.two.place_of_a()) == (1, 1)
    machine.two.health.replied(A)
    machine.two.health.publish()
    machine.sleep(1)
    assert (machine.one.place_of_a(), machine.two.place_of_a()) == (0, 0)


def test_healthy_calls_write_nothing_and_read_once_a_second(machine: Machine) -> None:
    machine.one.fail()
    machine.one.health.replied(A, "step", 0.1)
    machine.one.health.publish()
    two = machine.two
    for _ in range(30):
        two.health.conditions((A, B), "step")
        two.health.replied(A, "step", 0.1)
        two.health.publish()
        machine.sleep(0.1)
    assert two.place.changes == 0
    assert two.place.reads == 3


def test_only_one_probes_and_both_know_how_it_went(machine: Machine) -> None:
    machine.one.fail(5)
    machine.sleep(5)
    probes = [worker.health.begin_probe(A, 10) for worker in (machine.one, machine.two)]
    assert probes[0]
    assert not probes[1]
    assert machine.two.wait_s() > 0
    machine.one.fail(probe=probes[0])
    machine.sleep(1)
    assert machine.two.wait_s() == pytest.approx(9)
    machine.sleep(9)
    probe = machine.two.health.begin_probe(A, 10)
    machine.two.health.replied(A, probe=probe)
    machine.two.health.publish()
    machine.sleep(1)
    assert (machine.one.wait_s(), machine.one.place_of_a()) == (0, 0)


def test_a_retry_after_reaches_the_other(machine: Machine) -> None:
    machine.one.health.failed(A, RateLimitedError("busy", retry_after_s=50))
    machine.one.health.publish()
    assert machine.two.wait_s() == pytest.approx(50)


def test_what_was_not_told_yet_is_not_forgotten_by_hearing_of_others(machine: Machine) -> None:
    machine.two.fail()
    machine.one.health.failed(A, RateLimitedError("busy", retry_after_s=50))
    assert machine.one.wait_s() == pytest.approx(50)


def test_after_an_outage_of_the_store_it_is_used_again(tmp_path: Path) -> None:
    path = tmp_path / "breakers.db"
    path.mkdir()
    machine = Machine(path)
    machine.one.fail(5)
    machine.one.fail()
    assert machine.one.wait_s() == pytest.approx(5)
    assert len(machine.one.told) == 1
    path.rmdir()
    machine.sleep(31)
    # Nobody told the others, so it is learnt anew, together.
    assert not machine.one.health.begin_probe(A, 10)
    assert machine.one.wait_s() == 0
    machine.one.fail(5)
    assert machine.two.wait_s() == pytest.approx(5)
    machine.one.health.failed(B, RateLimitedError("busy", retry_after_s=50))
    machine.one.health.publish()
    machine.sleep(1)
    assert machine.two.health.conditions((B,), "")[0].wait_s == pytest.approx(49)
    machine.one.place.close()
    machine.two.place.close()
