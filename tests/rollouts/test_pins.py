"""Pins: what a root flow run was told holds for all below it, in every process."""

from collections.abc import Mapping

import pytest

from tierflow.errors import StoreError
from tierflow.rollouts.enrolment import Pin
from tierflow.rollouts.pins import LABEL, Pins

FIRST, LATER = Pin(1, 0.05), Pin(2, 0.1)


class Runs:
    """Flow runs with their labels, as a server has them. `above`: a subflow's parent."""

    def __init__(self) -> None:
        self.labels: dict[str, dict[str, object]] = {}
        self.above: dict[str, str] = {}
        self.is_up = True
        self.asked = 0

    def root_of(self, flow_run_id: str) -> str:
        self._count()
        while flow_run_id in self.above:
            flow_run_id = self.above[flow_run_id]
        return flow_run_id

    def get(self, flow_run_id: str) -> Mapping[str, object]:
        self._count()
        return self.labels.get(flow_run_id, {})

    def put(self, flow_run_id: str, name: str, value: str) -> None:
        self._count()
        self.labels.setdefault(flow_run_id, {})[name] = value

    def _count(self) -> None:
        self.asked += 1
        if not self.is_up:
            raise StoreError("The server is down.")


def test_a_run_is_told_once_and_other_processes_find_it() -> None:
    runs = Runs()
    assert Pins(runs).pin("new", FIRST, "a") == ("a", FIRST)
    assert Pins(runs).pin("new", LATER, "a") == ("a", FIRST)
    assert runs.labels == {"a": {f"{LABEL}new": "1:0.05"}}
    assert Pins(runs).pin("new", LATER, "b") == ("b", LATER)


def test_subflows_and_retries_go_by_the_root() -> None:
    runs = Runs()
    runs.above = {"child": "root", "grandchild": "child"}
    assert Pins(runs).pin("new", FIRST, "grandchild") == ("root", FIRST)
    assert Pins(runs).pin("new", LATER, "root") == ("root", FIRST)
    assert Pins(runs).pin("new", LATER, "child") == ("root", FIRST)


def test_rollouts_are_pinned_apart() -> None:
    pins = Pins(Runs())
    pins.pin("new", FIRST, "a")
    assert pins.pin("other", LATER, "a") == ("a", LATER)


def test_a_process_asks_once_for_each_run() -> None:
    runs = Runs()
    pins = Pins(runs)
    pins.pin("new", FIRST, "a")
    asked = runs.asked
    for _ in range(10):
        assert pins.pin("new", LATER, "a") == ("a", FIRST)
    assert runs.asked == asked


def test_a_server_that_is_down_costs_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    runs = Runs()
    runs.is_up = False
    pins = Pins(runs)
    assert pins.pin("new", FIRST, "a") == ("a", FIRST)
    runs.is_up = True
    assert pins.pin("new", LATER, "a") == ("a", FIRST)
    assert "pinned in this process alone" in caplog.text


def test_a_label_that_says_nothing_is_written_anew() -> None:
    runs = Runs()
    runs.labels = {"a": {f"{LABEL}new": "half"}}
    assert Pins(runs).pin("new", FIRST, "a") == ("a", FIRST)
    assert runs.labels["a"][f"{LABEL}new"] == "1:0.05"
