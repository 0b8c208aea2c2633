"""`tierflow rollout lint`: what is odd about rollouts before anybody starts them."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tierflow.cli import cli

HEAD = "from tierflow import Rollout, Variant, llm_task, judged, quality, error_rate\n"


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["rollout", "lint", *words])


def linted(project: Path, toml: str, code: str = "", *words: str) -> dict[str, Any]:
    (project / "tierflow.toml").write_text(toml)
    (project / "steps.py").write_text(HEAD + code)
    ended = run("steps.py", "--json", *words)
    found: dict[str, Any] = json.loads(ended.stdout)
    assert ended.exit_code == bool(found["findings"])
    return found


def rules(found: dict[str, Any]) -> list[str]:
    return [each["rule"] for each in found["findings"]]


def step(rollout: str, name: str = "a", more: str = "") -> str:
    return f'@llm_task(tier="fast", rollout={rollout}{more})\ndef {name}(x): ...\n'


GOOD = '[rollouts.v2]\ncandidate.a = { tier = "standard" }\n'


def test_what_is_well_has_no_findings(project: Path) -> None:
    other = step('Rollout("v3", Variant(tier="standard"))', "b")
    found = linted(project, GOOD, step("None") + other)
    assert found["findings"] == []


@pytest.mark.parametrize(
    ("toml", "rule", "said"),
    [
        ("[rollouts.v2]\nstep = 1", "TR001", "step is no key"),
        ("[rollouts.v2]\ncandidate.a = {}", "TR002", "changes nothing"),
        (
            '[rollouts.v2]\ncandidate.a = { model = "x/y" }\nbaseline.a = { model = "x/y" }',
            "TR002",
            "changes nothing",
        ),
        ('[rollouts.v2]\ncandidate.a = { tier = "big" }', "TR003", "No tier 'big'"),
        (GOOD + "max_step_s = 60", "TR004", "below min_step_s"),
    ],
)
def test_a_wrong_one_in_the_file_is_found(project: Path, toml: str, rule: str, said: str) -> None:
    found = linted(project, toml)
    assert rules(found) == [rule]
    assert said in found["findings"][0]["message"]


@pytest.mark.parametrize(
    ("rollout", "rule"),
    [
        ('Rollout("v3", Variant(tier="standard"), steps=[50, 5])', "TR001"),
        ('Rollout("v3", Variant(tier="standard"), confidense=0.9)', "TR001"),
        ('Rollout("v3", Variant())', "TR002"),
        ('Rollout("v3", candidate=Variant(tier="fast"))', "TR002"),
        ('Rollout("v3", Variant(tier="big"))', "TR003"),
        ('Rollout("v3", Variant(tier="standard"), max_step_s=10.0)', "TR004"),
        ('Rollout("v3", Variant(tier="standard"), guardrails=[quality("good")])', "TR005"),
    ],
)
def test_a_wrong_one_in_code_is_found(project: Path, rollout: str, rule: str) -> None:
    found = linted(project, "", step(rollout))
    assert rules(found) == [rule]
    (finding,) = found["findings"]
    assert finding["where"].startswith("steps.py:2:")
    assert finding["rollout"] == "v3"


def test_a_candidate_with_the_steps_own_tier_changes_nothing(project: Path) -> None:
    toml = '[rollouts.v2]\ncandidate.a = { tier = "fast" }'
    code = '@llm_task(tier="fast")\ndef a(x): ...\n'
    assert rules(linted(project, toml, code)) == ["TR002"]
    assert rules(linted(project, toml, code.replace("fast", "standard"))) == []


TRIED = '[rollouts.v2]\ncandidate.a = { prompt = "triage@v2" }\n'


def test_a_prompt_that_the_registry_lacks_is_found(project: Path) -> None:
    found = linted(project, TRIED)
    assert rules(found) == ["TR007"]
    assert "No prompt 'triage'" in found["findings"][0]["message"]
    (project / "prompts" / "triage").mkdir(parents=True)
    (project / "prompts" / "triage" / "v2.toml").write_text('ask = "{{x}}"')
    assert rules(linted(project, TRIED)) == []


@pytest.mark.parametrize("change", ['prompt=prompt("triage@v9")', 'prompt_name="triage@v9"'])
def test_one_in_code_is_looked_up_too(project: Path, change: str) -> None:
    code = f'from tierflow import prompt\n{step(f"""Rollout("v3", Variant({change}))""")}'
    assert rules(linted(project, "", code)) == ["TR007"]


def test_a_step_that_no_file_has_is_found(project: Path) -> None:
    found = linted(project, GOOD, step("None", "b"))
    assert rules(found) == ["TR008"]
    assert "names the step 'a'" in found["findings"][0]["message"]


def test_a_prompt_function_changes_something(project: Path) -> None:
    assert rules(linted(project, "", step('Rollout("v3", Variant(prompt=other))'))) == []


def test_a_step_of_a_chain_may_change_nothing(project: Path) -> None:
    code = step('Rollout("v3", Variant(tier="standard"))') + step('Rollout("v3", Variant())', "b")
    assert rules(linted(project, "", code)) == []


EVALUATIONS = pytest.mark.parametrize(
    ("evaluate", "wanted"),
    [
        (', evaluate=[judged("good", tier="fast", rubric="r")]', []),
        (', evaluate=[judged("bad", tier="fast", rubric="r")]', ["TR005"]),
        (", evaluate=[anything()]", []),
        (", evaluate=EVALUATORS", []),
        ("", ["TR005"]),
    ],
)


@EVALUATIONS
def test_a_quality_metric_in_code_needs_an_evaluation_where_that_can_be_seen(
    project: Path, evaluate: str, wanted: list[str]
) -> None:
    rollout = 'Rollout("v3", Variant(tier="standard"), signals=[quality("good")])'
    assert rules(linted(project, "", step(rollout, more=evaluate))) == wanted


@EVALUATIONS
def test_a_quality_metric_in_the_file_needs_one_of_the_steps_that_it_names(
    project: Path, evaluate: str, wanted: list[str]
) -> None:
    toml = GOOD + 'signals = [{ metric = "quality", evaluation = "good" }]'
    code = f'@llm_task(tier="fast"{evaluate})\ndef a(x): ...\n'
    assert rules(linted(project, toml, code)) == wanted


def test_the_same_name_with_other_terms_is_found(project: Path) -> None:
    same = step('Rollout("v2", Variant(tier="standard"))')
    other = step('Rollout("v2", Variant(tier="standard"), min_units=7)')
    assert rules(linted(project, GOOD, same)) == []
    found = linted(project, GOOD, other)
    assert rules(found) == ["TR006"]
    assert "than in tierflow.toml: min_units." in found["findings"][0]["message"]


def test_a_chain_whose_steps_have_other_terms_is_found(project: Path) -> None:
    one = step('Rollout("v3", Variant(tier="standard"))')
    other = step('Rollout("v3", Variant(tier="standard"), min_units=7)', "b")
    assert rules(linted(project, "", one + other)) == ["TR006"]


def test_too_few_units_for_the_time_are_found_where_they_are_told(project: Path) -> None:
    short = linted(project, GOOD, "", "--units-per-day", "100")
    assert set(rules(short)) == {"TR004"}
    assert "needs 2,000 units, 20.0 days at 100 a day" in short["findings"][0]["message"]
    assert rules(linted(project, GOOD, "", "--units-per-day", "5000")) == []


def test_without_them_it_says_what_would_be_too_few(project: Path) -> None:
    (note,) = linted(project, GOOD)["notes"]
    assert "below 286 a day the step 5 % pauses" in note


def test_what_is_no_literal_is_said_to_be_unknown(project: Path) -> None:
    found = linted(project, "", step("made()") + step('Rollout("v3", **OPTIONS)', "b"))
    assert found["findings"] == []
    assert len(found["notes"]) == 2


def test_a_file_that_is_no_python_is_found(project: Path) -> None:
    assert rules(linted(project, "", "def (")) == ["TR001"]


def test_in_words_it_names_file_rule_and_remedy(project: Path) -> None:
    (project / "tierflow.toml").write_text("[rollouts.v2]\ncandidate.a = {}")
    ended = run()
    assert ended.exit_code == 1
    assert ended.stdout.startswith("tierflow.toml: TR002 v2 has a candidate that changes nothing.")
    assert ended.stdout.endswith("1 rollout, 1 finding.\n")
