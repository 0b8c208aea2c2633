"""The rules of `tierflow lint`, one by one: what they find in a step and what they let pass."""

import time
from pathlib import Path

import pytest

from tests.lint_files import POLICY, STEP, prove, run, said
from tests.routing.gate.labels import a_calibration
from tierflow.routing.gate import open_calibrations
from tierflow.settings import settings


@pytest.fixture(autouse=True)
def empty_project(project: Path) -> Path:
    return project


def rules(options: str, before: str = "") -> list[str]:
    """The rules that a step with these options breaks, its judge being calibrated."""
    prove()
    found = said(f"{before}\n@llm_task({options}){STEP}")
    assert found["steps"] == 1
    return [each["rule"] for each in found["findings"]]


# --- each rule


def test_a_step_with_nothing_special_is_clean() -> None:
    prove()
    found = said(f'@llm_task(tier="fast", retries=2, cascade=Cascade("frontier", schema())){STEP}')
    assert (found["findings"], found["notes"], found["suppressed"]) == ([], [], [])


@pytest.mark.parametrize(
    ("options", "broken"),
    [
        ('tier="frontier"', ["TF001"]),
        ('tier="frontier", reason=""', ["TF001"]),
        ('tier="frontier", reason="goes to customers unread"', []),
        ('tier="standard"', []),
        ('tier="fast", rollout=Rollout("v2", Variant(tier="frontier"), 0.1)', ["TF001"]),
        ('tier="fast", rollout=Rollout("v2", Variant(prompt=len), share=0.1)', []),
    ],
)
def test_a_premium_tier_needs_a_reason(options: str, broken: list[str]) -> None:
    assert rules(options) == broken


@pytest.mark.parametrize(
    ("cascade", "broken"),
    [
        ('Cascade("frontier", confidence(), max_loss=None)', ["TF002"]),
        ('Cascade("frontier", confidence(), None, None)', ["TF002"]),
        ('Cascade(to="frontier", judge=confidence(), max_loss=0.02)', []),
        ('Cascade("frontier", confidence())', []),
        ("None", []),
    ],
)
def test_a_cascade_without_proof_is_found(cascade: str, broken: list[str]) -> None:
    assert rules(f'tier="fast", cascade={cascade}') == broken


def test_a_gate_without_calibration_is_found_also_where_there_is_no_store_yet() -> None:
    source = f'@llm_task(tier="fast", cascade=Cascade("frontier", confidence())){STEP}'
    (found,) = said(source)["findings"]
    assert (found["rule"], "no calibration for step@fast" in found["message"]) == ("TF002", True)
    store = open_calibrations(settings())
    now = time.time()
    store.add(a_calibration("other@fast", at=now))
    (found,) = said(source)["findings"]
    assert (found["rule"], "no calibration for step@fast" in found["message"]) == ("TF002", True)
    store.add(a_calibration("step@fast", at=now - 400 * 86_400))
    (found,) = said(source)["findings"]
    assert "400 days ago" in found["message"]
    store.add(a_calibration("step@fast", at=now))
    assert not said(source)["findings"]
    longer = source.replace('"frontier"', '("standard", "frontier")')
    (found,) = said(longer)["findings"]
    assert "step@standard" in found["message"]
    # A step is known by the name that Prefect gives it.
    (found,) = said(source.replace("tier=", 'name="sort", tier='))["findings"]
    assert "sort@fast" in found["message"]
    store.close()


@pytest.mark.parametrize(
    ("options", "broken"),
    [
        ("sampling=Sampling(temperature=0.7)", ["TF003"]),
        ("sampling=Sampling(temperature=0.7), cache=ExactCache(ttl_s=60)", ["TF003"]),
        ("sampling=Sampling(temperature=0.7), cache=SemanticCache()", ["TF003"]),
        ("sampling=Sampling(temperature=0.7), cache=None", []),
        ("sampling=Sampling(temperature=0.7), cache=ExactCache(any_temperature=True)", []),
        ("sampling=Sampling(temperature=0)", []),
        ("sampling=Sampling(max_tokens=9)", []),
    ],
)
def test_a_temperature_that_defeats_the_cache_is_found(options: str, broken: list[str]) -> None:
    assert rules(f'tier="fast", {options}') == broken


@pytest.mark.parametrize(
    "lines",
    [
        "sampling = { temperature = 0.7 }",
        "sampling = { max_tokens = 400 }",
        'deployments = [{ model = "openai/x", params = { temperature = 1.0 } }]',
    ],
)
def test_a_tiers_own_temperature_counts_unless_the_step_sets_one(lines: str) -> None:
    Path("tierflow.toml").write_text(f"[tiers.standard]\n{lines}\n")
    assert rules('tier="standard"') == ["TF003"]
    assert rules('tier="fast", cascade=Cascade("standard", schema())') == ["TF003"]
    assert rules('tier="standard", sampling=Sampling(temperature=0)') == []
    assert rules('tier="fast"') == []


@pytest.mark.parametrize(
    ("options", "broken"),
    [
        ('tier="frontier", reason="why", tags=["internal"]', ["TF004"]),
        ('tier="frontier", reason="why", tags={"other"}', []),
        ('tier="fast", tags=["internal"], cascade=Cascade("frontier", schema())', ["TF004"]),
        ('tier="fast", tags=["internal"], cache=SemanticCache(judge="frontier")', ["TF004"]),
        ('tier="fast", tags=["internal"], evaluate=[safety(tier="frontier")]', ["TF004"]),
        ('tier="fast", tags=["internal"], evaluate=(safety(), checked("ok", bool))', []),
        (
            'tier="fast", tags=("internal",), cascade=Cascade("standard", agreement("frontier"))',
            ["TF004"],
        ),
        (
            'tier="fast", tags=["internal"], cascade=Cascade("standard", model_judge("fast", "?"))',
            [],
        ),
        ('tier="specialist.far", tags=["pii"]', ["TF004"]),
        ('tier="fast", tags=["pii", "bought"]', []),
        ('tier="standard", tags=["bought"]', ["TF004"]),
    ],
)
def test_what_the_policy_forbids_is_found(options: str, broken: list[str]) -> None:
    Path("tierflow.toml").write_text(POLICY)
    assert rules(options) == broken


@pytest.mark.parametrize(
    ("judge", "broken"),
    [
        ('pairwise_judge("fast", "?", against="standard")', []),
        ('pairwise_judge("fast", "?", against="frontier")', ["TF004"]),
        ('pairwise_judge("frontier", "?", against="fast")', ["TF004"]),
        ('trained("scorer")', []),
        ('trained("scorer", helper="frontier")', ["TF004"]),
        ('unit_tests("def test_it(): pass")', []),
    ],
)
def test_every_tier_that_a_judge_asks_is_held_to_the_policy(judge: str, broken: list[str]) -> None:
    Path("tierflow.toml").write_text(POLICY)
    rule = f'cascade=Cascade("standard", {judge})'
    assert rules(f'tier="fast", tags=["internal"], {rule}') == broken


TYPES = """
class Mood(Enum):
    GOOD = 1
    BAD = 2
    _ignore_ = []
    def loud(self): ...
class Ticket(BaseModel):
    mood: Mood
    urgent: bool
    kind: Literal["a", "b"] | None = None
class Text(BaseModel):
    mood: Mood
    why: str
Many = Literal["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"]
Few = Annotated[Optional[Many], "words"]
"""


@pytest.mark.parametrize(
    ("returns", "is_simple"),
    [
        ("bool", True),
        ("Mood", True),
        ('Literal["yes", "no"]', True),
        ("Literal['a'] | None", True),
        ("Optional[Mood]", True),
        ("Many", False),
        ("Few", False),
        ("Ticket", False),
        ("Text", False),
        ("str", False),
        ("list[Mood]", False),
        ("bool | str", False),
    ],
)
def test_a_simple_task_may_not_begin_at_frontier_whatever_the_reason(
    returns: str, *, is_simple: bool
) -> None:
    options = f'tier="frontier", reason="why", returns={returns}'
    assert rules(options, TYPES) == (["TF005"] if is_simple else [])
    assert rules(f'tier="fast", returns={returns}', TYPES) == []


def test_how_few_results_are_simple_is_a_setting() -> None:
    options = 'tier="frontier", reason="why", returns=Ticket'
    Path("tierflow.toml").write_text("[policy]\nsimple_values = 12\n")
    found = said(f"{TYPES}\n@llm_task({options}){STEP}")["findings"]
    assert [each["rule"] for each in found] == ["TF005"]
    # 2 moods, urgent or not, 2 kinds or none.
    assert "12 possible results" in found[0]["message"]


@pytest.mark.parametrize(
    "options",
    [
        'tier="specialist.legal"',
        'tier="fast", cascade=Cascade("best", schema())',
        'tier="fast", cascade=Cascade("frontier", agreement("quick"))',
        'tier="fast", rollout=Rollout("v2", Variant(None, "quick"), 0.1)',
        'tier="fast", evaluate=[judged("helpful", tier="quick", rubric="?")]',
    ],
)
def test_a_tier_that_the_catalogue_lacks_is_found(options: str) -> None:
    assert rules(options) == ["TF006"]


def test_a_file_that_is_no_python_is_found() -> None:
    Path("steps.py").write_text("def step(:\n")
    done = run("steps.py")
    assert done.exit_code == 1
    assert done.stdout.startswith("steps.py:1:10: TF000 cannot be read")
