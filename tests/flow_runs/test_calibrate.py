"""The calibration flow on a real server: its report, its progress, and the gate it opens."""

import base64
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.flows import load_flow_from_entrypoint

import tierflow
from tests.fakes import FakeProvider, Say
from tierflow.routing.gate import open_calibrations
from tierflow.settings import settings
from tierflow.tracing import rows_of

from .runs import ON_A_SERVER, cost_tables, run_flow, run_id

pytestmark = ON_A_SERVER

FLOW = Path(tierflow.__file__).parents[1] / "flows" / "calibrate.py"
STEP = """
from tierflow import Cascade, Prompt, llm_task, schema

def is_short(reply):
    return len(reply) < 5

@llm_task(tier="fast", cascade=Cascade("frontier", schema(is_short), max_loss=0.05, audit=0))
def colour(thing: str) -> Prompt:
    return Prompt(prefix="Name the colour.", ask=thing)
"""


@pytest.fixture
def step(echoing: FakeProvider, project: Path) -> str:
    (project / "colours.py").write_text(STEP)
    rows = [{"thing": f"thing {n}", "label": "blue"} for n in range(200)]
    (project / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)))
    echoing.script("frontier", Say("blue", input_tokens=2000))
    echoing.script(
        "fast", lambda body: Say("blue" if int(last(body).split()[1]) % 4 else "no idea")
    )
    return "colours.py:colour"


def last(body: dict[str, Any]) -> str:
    text: str = body["messages"][-1]["content"]
    return text


def report(flow_run_id: UUID) -> str:
    only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        (found,) = [
            each
            for each in client.read_artifacts(artifact_filter=only)
            # Every flow run of steps has a report of its own as well.
            if each.type == "markdown" and not str(each.key).endswith("-report")
        ]
    return str(found.data)


def test_it_opens_a_gate_and_publishes_why(step: str) -> None:
    calibrate: Any = load_flow_from_entrypoint(f"{FLOW}:calibrate")
    state = calibrate(step, "labels.jsonl", return_state=True)
    found = state.result()
    assert (found["gate"], found["opens"]) == ("colour@fast", True)
    text = report(run_id(state))
    assert text.startswith("# colour@fast: open")
    for heading in ("## Strata", "## Reliability of the judge's scores", "## Quality and cost"):
        assert heading in text
    assert "| strongest tier alone | 100.0% |" in text
    assert "(chosen)" in text
    assert "| shortest | 4-4 | 150 | 100% | 100% | 0 of 0 |" in text
    pictures = re.findall(r"!\[[^\]]+\]\(data:image/svg\+xml;base64,([^)]+)\)", text)
    shown = [ET.fromstring(base64.b64decode(each)) for each in pictures]
    assert [each.tag for each in shown] == ["{http://www.w3.org/2000/svg}svg"] * 2
    store = open_calibrations(settings())
    assert store.newest("colour@fast") is not None
    store.close()


def test_what_it_asked_is_in_the_cost_table_of_its_run(step: str) -> None:
    calibrate: Any = load_flow_from_entrypoint(f"{FLOW}:calibrate")
    state = calibrate(step, "labels.jsonl", return_state=True)
    ((headline, (asked, total)),) = cost_tables(run_id(state))
    assert (asked["step"], asked["tiers"], asked["calls"]) == (
        "colour (calibration)",
        "frontier, fast",
        200,
    )
    assert total["cost_usd"] == pytest.approx(state.result()["cost_usd"])
    assert headline.startswith("200 calls, 0 from the cache, cost $0.")
    assert {row.task_run_id is None for row in rows_of(str(run_id(state)))} == {False}


ROUTED = """
from typing import Literal
from tierflow import Prompt, Route, llm_task

@llm_task(tier="fast", returns=Literal["even", "odd"], route=Route("frontier", min_quality=0.8))
def parity(number: str) -> Prompt:
    return Prompt(prefix="Even or odd?", ask=number)
"""


def test_a_step_with_a_route_has_it_learned(echoing: FakeProvider, project: Path) -> None:
    def even(body: dict[str, Any]) -> str:
        return "odd" if int(last(body)[-1]) % 2 else "even"

    (project / "sums.py").write_text(ROUTED)
    rows = [{"number": f"{n}", "label": "odd" if n % 2 else "even"} for n in range(1, 240)]
    (project / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)))
    echoing.script("frontier", lambda body: Say({"value": even(body)}, input_tokens=900))
    echoing.script(
        "fast", lambda body: Say({"value": even(body) if len(last(body)) < 3 else "even"})
    )
    calibrate: Any = load_flow_from_entrypoint(f"{FLOW}:calibrate")
    state = calibrate("sums.py:parity", "labels.jsonl", return_state=True)
    found = state.result()
    assert (found["step"], found["opens"]) == ("parity", True)
    assert found["cost_usd"] > 0
    text = report(run_id(state))
    assert text.startswith("# parity: open")
    assert "data:image/svg+xml;base64," in text
    assert "| frontier alone |" in text
    assert ", chosen** |" in text


def test_an_uncalibrated_step_says_so_in_the_run(echoing: FakeProvider, project: Path) -> None:
    (project / "colours.py").write_text(STEP)
    echoing.script("frontier", Say("blue"))
    from tierflow.cli.steps import load_step

    colour: Any = load_step("colours.py:colour")
    state = run_flow(lambda: colour.map(["a", "b", "c"]).result())
    assert state.result() == ["blue"] * 3
    assert not echoing.calls_to("fast")
