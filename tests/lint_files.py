"""Lint files: a file with a step in it, and what `tierflow lint` says of that."""

import json
import time
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from tests.routing.gate.labels import a_calibration
from tierflow.cli import cli
from tierflow.routing.gate import open_calibrations
from tierflow.settings import settings

HEAD = """
from enum import Enum
from typing import Annotated, Literal, Optional
from pydantic import BaseModel
import tierflow
from tierflow import (
    Cascade, ExactCache, Prompt, Rollout, Route, Sampling, SemanticCache, Variant,
    agreement, confidence, llm_task, model_judge, pairwise_judge, schema, trained, unit_tests,
)
"""
STEP = "\ndef step(ask: str) -> str:\n    return ask\n"


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["lint", *words])


def said(source: str, *, head: str = HEAD) -> dict[str, Any]:
    """What `--json` says of a file with this text."""
    Path("steps.py").write_text(head + source)
    done = run("steps.py", "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == (1 if found["findings"] else 0)
    return found


def prove() -> None:
    """Have the store hold a calibration of the step at each tier that it may begin at."""
    store = open_calibrations(settings())
    for tier in ("fast", "standard", "frontier"):
        store.add(a_calibration(f"step@{tier}", at=time.time()))
    store.close()


POLICY = """
[tiers.fast]
deployments = [{ model = "openai/near", region = "eu" }]
[tiers.standard]
deployments = [{ model = "anthropic/near", region = "eu" }]
[tiers.specialist.far]
deployments = [{ model = "openai/far", region = "us" }]
[policy.max_tier]
internal = "standard"
[policy.tagged.pii]
regions = ["eu"]
[policy.tagged.bought]
providers = ["openai"]
"""
