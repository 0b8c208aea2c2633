"""`tierflow lint`: which steps it finds by their source alone, and what it leaves unsaid."""

import ast
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.tasks import TaskOptions

from tests.lint_files import HEAD, POLICY, STEP, prove, run, said
from tierflow import Cascade, Rollout, Route, Variant, schema
from tierflow.linting.found import MAX_LOSS, OURS
from tierflow.linting.scope import Scope
from tierflow.linting.steps import read_source
from tierflow.tasks import decorator


@pytest.fixture(autouse=True)
def empty_project(project: Path) -> Path:
    return project


def unchecked(options: str, before: str = "") -> set[str]:
    """The rules that could not be checked for a step with these options; none finds anything."""
    found = said(f"{before}\n@llm_task({options}){STEP}")
    assert not found["findings"]
    return {rule for note in found["notes"] for rule in note["rules"]}


# --- what is a step


@pytest.mark.parametrize(
    "source",
    [
        'import tierflow as t\n@t.llm_task(tier="frontier")' + STEP,
        'from tierflow import llm_task as ask\n@ask(tier="frontier")' + STEP,
        'from tierflow.tasks import llm_task\n@llm_task(tier="frontier")\nasync ' + STEP[1:],
        'from tierflow import llm_task\nstep = llm_task(tier="frontier")(len)',
        'from tierflow import llm_task\nTIER = "frontier"\n@llm_task(tier=TIER)' + STEP,
        "def make():\n    from tierflow import llm_task\n    @llm_task(tier='frontier')"
        + indent(STEP, "    "),
        'from tierflow import llm_task\nclass A:\n    @llm_task(tier="frontier")'
        + indent(STEP, "    "),
    ],
    ids=["module", "renamed", "async", "called", "constant", "in a function", "in a class"],
)
def test_a_step_is_found_however_it_is_written(source: str) -> None:
    found = said(source, head="")
    assert (found["steps"], [each["rule"] for each in found["findings"]]) == (1, ["TF001"])


def test_another_librarys_decorator_is_none_of_ours() -> None:
    source = "from other import task\ndef llm_task(**o): ...\n@llm_task(tier='frontier')" + STEP
    assert said(source, head="")["steps"] == 0


def test_with_options_is_held_to_the_rules_for_what_it_changes() -> None:
    step = f'@llm_task(tier="fast", cascade=Cascade("frontier", schema(), max_loss=None)){STEP}'
    found = said(f'{step}\nstrong = step.with_options(tier="frontier", cascade=None)')["findings"]
    assert [each["rule"] for each in found] == ["TF002", "TF001"]
    # What the base breaks is said once.
    found = said(f"{step}\nagain = step.with_options(retries=3)\nagain.with_options(retries=4)")
    assert [each["rule"] for each in found["findings"]] == ["TF002"]
    reason = step.replace("tier=", 'reason="why", tier=').replace("max_loss=None", "")
    prove()
    assert not said(f'{reason}\nstrong = step.with_options(tier="frontier")')["findings"]


def test_with_options_of_a_prefect_task_is_left_alone() -> None:
    assert said("task.with_options(retries=3, name='x')")["steps"] == 0


def test_of_a_step_from_another_file_only_what_is_written_here_is_known() -> None:
    source = "from steps_of_others import step\nstep.with_options(tier='best')"
    found = said(source, head="")
    assert [each["rule"] for each in found["findings"]] == ["TF006"]
    assert "TF002" in found["notes"][0]["rules"]


# --- what is not literal


@pytest.mark.parametrize(
    ("options", "before", "rules"),
    [
        ("tier=pick()", "", {"TF001", "TF005", "TF006"}),
        ("tier=TIER", "TIER = 'fast'\nTIER = 'frontier'", {"TF001", "TF005", "TF006"}),
        ("tier=TIER", "if x:\n    TIER = 'frontier'", {"TF001", "TF005", "TF006"}),
        ("tier=TIER", "for TIER in ('fast', 'frontier'): ...", {"TF001", "TF005", "TF006"}),
        ("tier=TIER", "from tiers import TIER", {"TF001", "TF005", "TF006"}),
        ('tier="frontier", reason=WHY', "from words import WHY", {"TF001"}),
        ('tier="frontier", reason="why", returns=Ticket', "from types_ import Ticket", {"TF005"}),
        ('tier="fast", cascade=rule()', "def rule(): ...", {"TF002", "TF006"}),
        (
            'tier="fast", cascade=Cascade("frontier", mine(), max_loss=LOSS)',
            "def mine(): ...",
            {"TF002", "TF006"},
        ),
        ('tier="fast", evaluate=[mine()]', "def mine(): ...", {"TF006"}),
        ('tier="fast", evaluate=mine', "from checks import mine", {"TF006"}),
        ('tier="fast", sampling=Sampling(temperature=HEAT)', "", {"TF003"}),
        ('tier="fast", sampling=Sampling(temperature=1), cache=mine', "", {"TF003", "TF006"}),
        ('tier="fast", **more', "", {"TF001", "TF002", "TF003", "TF005", "TF006"}),
    ],
)
def test_what_is_no_literal_is_said_to_be_unknown(
    options: str, before: str, rules: set[str]
) -> None:
    assert unchecked(options, before) == rules


def test_a_parameter_hides_a_constant_of_the_same_name() -> None:
    inner = indent(f"@llm_task(tier=TIER){STEP}", "    ")
    found = said(f'TIER = "frontier"\ndef make(TIER):\n{inner}')
    assert not found["findings"]
    assert found["notes"][0]["rules"] == ["TF001", "TF005", "TF006"]


def test_tags_that_are_no_literal_leave_the_policy_unchecked() -> None:
    Path("tierflow.toml").write_text(POLICY)
    assert unchecked('tier="frontier", reason="why", tags=tags()') == {"TF004"}


def test_tags_of_the_policy_that_no_step_carries_are_named() -> None:
    Path("tierflow.toml").write_text(POLICY)
    Path("steps.py").write_text(f'{HEAD}@llm_task(tier="fast", tags=["pii", "internl"]){STEP}')
    done = run("steps.py")
    assert done.exit_code == 0
    assert "no step here carries: bought, internal." in done.stderr


# --- suppression


@pytest.mark.parametrize(
    "comment",
    [
        "# tierflow: ignore[TF001] a replay of paid answers",
        "# tierflow: ignore[TF001, TF005]: a replay of paid answers",
        "# tierflow:ignore[TF001] - a replay of paid answers",
    ],
)
@pytest.mark.parametrize(
    "step", ['@llm_task(tier="frontier"){0}', '@llm_task({0}\n    tier="frontier",\n)']
)
def test_a_comment_with_a_why_suppresses(step: str, comment: str) -> None:
    found = said(step.format(f"  {comment}") + STEP)
    assert not found["findings"]
    (suppressed,) = found["suppressed"]
    assert (suppressed["rule"], suppressed["why"]) == ("TF001", "a replay of paid answers")


@pytest.mark.parametrize(
    "comment",
    [
        "# tierflow: ignore[TF001]",
        "# tierflow: ignore[TF001] -",
        "# tierflow: ignore[TF002] another rule",
        "# tierflow: ignore[] no rule",
        "# tierflow: ignore every rule",
    ],
)
def test_a_comment_without_a_why_or_without_the_rule_does_not(comment: str) -> None:
    (found,) = said(f'@llm_task(tier="frontier")  {comment}{STEP}')["findings"]
    says_so = "says no why" in found["message"]
    assert says_so == comment.startswith("# tierflow: ignore[TF001]")


def test_a_comment_on_another_line_or_in_a_text_does_not() -> None:
    comment = "# tierflow: ignore[TF001] why"
    elsewhere = f'{comment}\n@llm_task(tier="frontier", name="{comment}"){STEP}'
    found = said(elsewhere)
    assert [each["rule"] for each in found["findings"]] == ["TF001"]
    assert [each["message"] for each in found["notes"]] == ["This ignore suppresses nothing."]


# --- the command


def test_a_finding_is_a_line_with_place_rule_and_remedy() -> None:
    Path("steps.py").write_text(f'from tierflow import llm_task\n@llm_task(tier="frontier"){STEP}')
    done = run("steps.py")
    assert done.exit_code == 1
    (line,) = done.stdout.splitlines()
    assert line.startswith("steps.py:2:16: TF001 Step 'step' begins at the premium tier")
    assert 'reason="..."' in line
    assert "1 finding," in done.stderr


def test_nothing_of_the_files_is_run() -> None:
    assert not said(f'raise SystemExit(7)\n@llm_task(tier="fast"){STEP}')["findings"]


def test_folders_are_searched_and_each_file_is_read_once(empty_project: Path) -> None:
    for name in ("a/b/one.py", ".hidden/two.py", "a/__pycache__/three.py", "a/four.txt"):
        path = empty_project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'from tierflow import llm_task\n@llm_task(tier="frontier"){STEP}')
    found = json.loads(run(".", "a", "a/b/one.py", "--json").stdout)
    assert (found["files"], found["steps"], len(found["findings"])) == (1, 1, 1)


@pytest.mark.parametrize("words", [[], ["nowhere"], ["empty"], ["--what", "."]])
def test_misuse_is_exit_code_2(words: list[str], empty_project: Path) -> None:
    (empty_project / "empty").mkdir()
    assert run(*words).exit_code == 2


def test_wrong_settings_are_no_findings() -> None:
    Path("steps.py").write_text(HEAD)
    Path("tierflow.toml").write_text('[policy.max_tier]\ninternal = "cheap"\n')
    done = run("steps.py")
    assert done.exit_code == 2
    assert "policy.max_tier.internal" in done.stderr


def test_a_store_that_cannot_be_read_is_said(empty_project: Path) -> None:
    Path("steps.py").write_text(HEAD)
    home = empty_project / ".tierflow"
    home.mkdir()
    (home / "judges.db").write_bytes(b"no database" * 100)
    done = run("steps.py")
    assert done.exit_code == 0
    assert "Calibrations were not checked" in done.stderr


def test_help_names_every_rule_and_a_look_makes_no_folder(empty_project: Path) -> None:
    shown = run("--help").stdout
    assert all(f"TF00{number}" in shown for number in range(7))
    said(f'@llm_task(tier="fast", cascade=Cascade("frontier", schema())){STEP}')
    assert not (empty_project / ".tierflow").exists()


def test_our_own_flows_are_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    done = run("flows", "--json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["findings"], found["notes"]) == (0, [], [])
    assert found["steps"] >= 6


# --- what the source reader takes for granted


def names(of: Callable[..., Any]) -> list[str]:
    return [each.name for each in fields(of)]  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # dataclasses


def test_positions_and_defaults_are_those_of_the_real_values() -> None:
    assert names(Cascade)[:4] == ["to", "judge", "threshold", "max_loss"]
    assert names(Rollout)[:2] == ["name", "candidate"]
    assert names(Variant)[:2] == ["prompt", "tier"]
    assert Cascade("frontier", schema()).max_loss == MAX_LOSS
    assert names(Route)[0] == "to"
    known = decorator.ChangedOptions.__optional_keys__ - TaskOptions.__optional_keys__
    assert known == OURS


PIECES = st.sampled_from(
    [
        "import tierflow as t",
        "from tierflow import llm_task",
        "@llm_task(tier='fast')",
        "@t.llm_task(",
        ")",
        "def f(a, *b, c=1): pass",
        "class A(B): x = 1",
        "x = f.with_options(tier=1)",
        "match x:\n    case [a, *b]: pass",
        "try: x\nexcept E as e: pass",
        "x: int = 3",
        "global x",
        "f = llm_task(*y, tier=x)(lambda z: z)",
        "# tierflow: ignore[TF001] y",
    ]
)


@given(st.lists(PIECES, max_size=8).map("\n".join) | st.text(max_size=80))
def test_any_text_is_read_or_is_a_syntax_error(text: str) -> None:
    with suppress(SyntaxError):
        read_source(text)


def test_a_name_bound_twice_stands_for_nothing() -> None:
    scope = Scope.of(ast.parse("a = 1\nb = 2\nb = 3\ndef f():\n    global a\n    a = 2\n"))
    assert not scope.constants
