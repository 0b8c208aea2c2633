"""A pool's members: they join by name in the middle of a run, and two processes agree on them."""

import socket
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.fakes import FakeEngine, FakeProvider
from tests.tasks.asker import Asker
from tests.tasks.pooled import a_pool, asked, urls
from tests.tasks.ways import Way
from tierflow.tasks import close_hands

PATIENCE_S = 60.0
NO_BREAKER = "[breaker]\nfailures_in_a_row = 1000\nmin_calls = 1000"


@pytest.mark.usefixtures("running_provider")
def test_replicas_behind_a_name_join_and_leave_in_the_middle_of_a_run(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(FakeEngine(text="from 1"))
        port = int(first.base_url.rpartition(":")[2].partition("/")[0])
        second = FakeEngine(text="from 2", host="127.0.0.2", port=port)
        there = ["127.0.0.1"]
        ask_system = socket.getaddrinfo

        def getaddrinfo(host: Any, *rest: Any, **named: Any) -> Any:
            if host != "engines.test":
                return ask_system(host, *rest, **named)
            kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
            return [(*kind, (each, port)) for each in there]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        a_pool(project, [], f'dns = "http://engines.test:{port}/v1"\npoll_s = 0.02')
        text = (project / "tierflow.toml").read_text().replace("replicas = []\n", "")
        (project / "tierflow.toml").write_text(text)
        step = Way(is_async=False).step(asked, cache=None)
        values = [step("tenant:one").value]

        def until(wanted: str) -> None:
            ends = monotonic() + PATIENCE_S
            while values[-1] != wanted:
                assert monotonic() < ends
                values.append(step(f"newcomer {len(values)}:ask").value)

        stack.enter_context(second)
        there.append("127.0.0.2")
        until("from 2")
        there.remove("127.0.0.1")
        first.die()
        until("from 2")
        values += [step(f"tenant:{turn}").value for turn in range(4)]

        assert values[0] == "from 1"
        assert values[-4:] == ["from 2"] * 4


def test_a_process_knows_what_another_has_sent_where(
    asker: Asker, project: Path, provider: FakeProvider
) -> None:
    del provider
    with FakeEngine(text="from a") as a, FakeEngine(text="from b") as b:
        a_pool(project, urls([a, b]), "poll_s = 0.05", NO_BREAKER)
        step = Way(is_async=False).step(asked, cache=None)
        # Of these the hash says a, for whoever knows nothing.
        to_a = [each for each in range(24) if step(f"tenant {each}:one").value == "from a"]
        close_hands()
        (project / ".tierflow" / "placements.db").unlink()
        a.die()
        assert {step(f"tenant {each}:two").value for each in to_a} == {"from b"}
        close_hands()
        a.start()

        asker.go_to(project)
        told = [asker.ask("asked", f"tenant {each}:three").value for each in to_a]

        # It hears of them in the background, from its first request on.
        assert "from b" in told
        assert set(told[told.index("from b") :]) == {"from b"}
