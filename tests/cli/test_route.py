"""`tierflow route`: learning a step's route from a file of items, and what is said of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.lint_files import run as lint
from tierflow.cli import cli
from tierflow.tasks import close_hands

STEP = """
from typing import Literal
from tierflow import Prompt, Route, llm_task

@llm_task(tier="fast", returns=Literal["even", "odd"], route=Route("frontier", min_quality=0.8))
def parity(number: str) -> Prompt:
    return Prompt(prefix="Even or odd?", ask=number)
"""


def even(body: dict[str, Any]) -> str:
    return "odd" if int(body["messages"][-1]["content"][-1]) % 2 else "even"


@pytest.fixture
def step(project: Path, catalogue: Catalogue, provider: FakeProvider) -> str:
    """A file with a step whose cheap tier knows short numbers only."""
    catalogue()
    (project / "sums.py").write_text(STEP)
    provider.script(
        "fast",
        lambda body: Say(
            {"value": even(body) if len(body["messages"][-1]["content"]) < 4 else "even"},
            input_tokens=5,
        ),
    )
    provider.script("frontier", lambda body: Say({"value": even(body)}, input_tokens=900))
    rows = [
        *({"number": str(n), "label": "odd" if n % 2 else "even"} for n in range(200)),
        *({"number": f"1000{n}", "label": "odd" if n % 2 else "even"} for n in range(80)),
    ]
    (project / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return "sums.py:parity"


def run(*words: str) -> Result:
    close_hands()
    return CliRunner().invoke(cli, ["route", *words])


def test_learning_opens_the_route_and_says_what_it_costs(step: str) -> None:
    done = run("learn", step, "--items", "items.jsonl", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["step"], found["items"], found["opens"]) == ("parity", 280, True)
    assert found["chosen"]["quality_lower"] >= 0.8
    assert found["chosen"]["cost_usd"] < found["tiers"]["frontier"]["cost_usd"]
    (kept,) = json.loads(run("status", "--json").stdout)
    assert kept["offers"] == found["offers"]
    assert {each["reach"] for each in kept["offers"]} == {"cascade routing", "routing", "cascade"}


def test_it_is_said_in_words_too(step: str) -> None:
    said = run("learn", step, "--items", "items.jsonl").stdout
    assert "frontier alone" in said
    assert "> cascade routing" in said
    assert "parity: the step goes the way marked >" in said
    assert "parity: learned" in run("status", "parity").stdout


def test_without_any_route_it_says_what_to_run(project: Path) -> None:
    assert "tierflow route learn" in run("status").stdout
    done = run("status", "nothing")
    assert done.exit_code == 1
    assert "tierflow route learn" in done.output


def test_lint_finds_a_route_that_was_not_learned(step: str) -> None:
    run("status")
    assert "nothing learned" in lint("sums.py").stdout
    run("learn", step, "--items", "items.jsonl")
    assert not lint("sums.py").stdout


def test_lint_knows_the_tiers_of_a_route(project: Path) -> None:
    Path("best.py").write_text(STEP.replace('"frontier"', '"best"'))
    assert "names the tier 'best'" in lint("best.py").stdout
