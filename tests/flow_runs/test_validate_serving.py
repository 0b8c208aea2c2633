"""The flow that validates pools, on a real server: it decides, keeps, and publishes a report."""

from pathlib import Path
from typing import Any

import pytest
from prefect.flows import load_flow_from_entrypoint

import tierflow
from tests.fakes import FakeProvider
from tests.serving.validation.two_pools import two_pools
from tierflow.serving.validation import Step, open_policies
from tierflow.settings import settings

from .runs import ON_A_SERVER, artifacts, run_id

pytestmark = ON_A_SERVER

FLOW = Path(tierflow.__file__).parents[1] / "flows" / "validate_serving.py"


@pytest.mark.usefixtures("leaks_collected")
def test_the_flow_keeps_a_policy_and_publishes_its_report(
    project: Path, provider: FakeProvider
) -> None:
    with FakeProvider() as drafting:
        two_pools(project, provider, drafting)
        check()


def check() -> None:
    flow: Any = load_flow_from_entrypoint(f"{FLOW}:validate_serving")
    few = {"concurrencies": [1], "pairs": 6, "limit": 6, "slices": ["step", "concurrency"]}
    lossy = flow("plain", ["drafting"], lossy=["drafting"], **few)
    assert lossy["slices"][0]["served_by"] == []
    assert lossy["slices"][0]["compared"][0]["lossy"]
    state = flow("plain", ["drafting"], return_state=True, **few)
    found = state.result()
    assert found["slices"][0]["requests"]["input_band"] == ""
    assert found["slices"][0]["served_by"] == [{"up_to": 1, "pool": "drafting"}]
    (report,) = artifacts(run_id(state), "markdown")
    assert "drafting up to 1 at once; then plain" in str(report.data)
    assert "data:image/svg" in str(report.data)
    store = open_policies(settings())
    policy = store.newest("plain")
    store.close()
    assert policy is not None
    assert policy.rules[0].steps == (Step(1, "drafting"),)
