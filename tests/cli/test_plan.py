"""The command line: what providers are told to keep of a step's prompt."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tierflow.cli import cli

STEPS = """
from tierflow import Cascade, Prompt, llm_task, schema

PREFIX = "Sort the message of the customer to the desk that should answer it. " * 300

@llm_task(tier="fast")
def sort(message: str, desk: str = "any") -> Prompt:
    return Prompt(prefix=PREFIX, ask=f"{desk}: {message}")

@llm_task(tier="fast")
async def sort_later(message: str) -> Prompt:
    return Prompt(prefix=PREFIX, ask=message)

@llm_task(tier="fast", cascade=Cascade(to="frontier", judge=schema()))
def judged(number: int) -> Prompt:
    return Prompt(prefix=PREFIX, ask=str(number + 1))

def plain() -> str:
    return "no step"
"""


@pytest.fixture
def steps(project: Path) -> str:
    path = project / "steps_of_mine.py"
    path.write_text(STEPS)
    return str(path)


def plan(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["cache", "plan", *arguments])


def test_it_names_decision_numbers_and_reason_of_each_deployment(steps: str) -> None:
    result = plan(f"{steps}:sort", "--calls", "1000", "--json")

    found = json.loads(result.stdout)
    claude, gpt, gemini = found["deployments"]
    assert (found["step"], found["calls"]) == ("sort", 1000)
    assert (claude["dialect"], claude["marks"], claude["ttl"]) == ("anthropic", [1], "5m")
    assert claude["planned_usd"] < 0.12 * claude["plain_usd"]
    assert claude["least_tokens"] < 5100 < claude["most_tokens"]
    assert claude["min_tokens"] == 512
    assert gpt["cache_key"]
    assert (gemini["dialect"], gemini["marks"]) == ("automatic", [])
    assert all(each["reason"] for each in found["deployments"])


def test_it_reads_as_a_text_too(steps: str) -> None:
    result = plan(f"{steps}:sort")

    assert result.exit_code == 0
    assert "sort: 100 calls with one prefix" in result.stdout
    assert "told keep for 5m, marks behind message 1" in result.stdout
    assert "instead of $" in result.stdout


def test_a_single_call_is_told_to_keep_nothing(steps: str) -> None:
    found = json.loads(plan(f"{steps}:sort", "--calls", "1", "--json").stdout)

    assert found["deployments"][0]["marks"] == []
    assert "no further call" in found["deployments"][0]["reason"]


def test_an_async_step_and_a_modules_name_work_too(steps: str) -> None:
    result = plan("steps_of_mine:sort_later", "--json")

    assert json.loads(result.stdout)["step"] == "sort_later"


def test_the_tiers_of_a_cascade_are_all_explained(steps: str) -> None:
    found = json.loads(plan(f"{steps}:judged", "--example", "[7]", "--json").stdout)

    assert {each["tier"] for each in found["deployments"]} == {"fast", "frontier"}


def test_an_example_by_name_or_in_order_fills_the_arguments(steps: str) -> None:
    assert plan(f"{steps}:sort", "--example", '{"message": "a", "desk": "b"}').exit_code == 0
    assert plan(f"{steps}:sort", "--example", '["a", "b"]').exit_code == 0
    assert plan(f"{steps}:judged", "--example", "7").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("sort",), 2, "module:function"),
        (("{steps}:plain",), 1, "no step 'plain'"),
        (("{steps}:missing",), 1, "no step 'missing'"),
        (("nowhere.py:sort",), 1, "cannot be imported"),
        (("no.such.module:sort",), 1, "cannot be imported"),
        (("{steps}:sort", "--example", "{"), 2, "no JSON"),
        (("{steps}:sort", "--example", '{"who": 1}'), 2, "does not fit"),
        (("{steps}:judged",), 1, "--example"),
        (("{steps}:sort", "--calls", "0"), 2, "--calls"),
    ],
)
def test_what_cannot_be_planned_is_said(
    arguments: tuple[str, ...], code: int, said: str, steps: str
) -> None:
    result = plan(*(each.replace("{steps}", steps) for each in arguments))

    assert result.exit_code == code
    assert said in result.output
