"""Configured: the rollouts of tierflow.toml, and what is said of wrong ones."""

from pathlib import Path

import pytest

from tierflow.errors import ConfigError
from tierflow.request import Sampling
from tierflow.rollouts import Rollout, Variant, error_rate, quality
from tierflow.rollouts.configured import ConfiguredRollout, configured
from tierflow.rollouts.terms import Terms
from tierflow.settings import settings

WHOLE = """
[rollouts.triage-v2]
steps = ["shadow", 5, 50]
guardrails = [{ metric = "error_rate", limit = 1.5 }, { metric = "quality", evaluation = "good" }]
signals = [{ metric = "cost_per_task" }]
assign_by = "tenant"
min_units = 300

[rollouts.triage-v2.candidate]
classify = { tier = "standard", model = "openai/gpt-6.1-sol" }
reply = { prompt = "reply", sampling = { temperature = 0.2 } }

[rollouts.triage-v2.candidate.urgency.cascade]
to = "frontier"
judge = "schema"

[rollouts.triage-v2.baseline]
reply = { prompt = "reply-v1" }
"""


def read(project: Path, text: str) -> ConfiguredRollout:
    (project / "tierflow.toml").write_text(text)
    return configured(settings())["triage-v2"]


def test_terms_and_variants_are_read(project: Path) -> None:
    found = read(project, WHOLE)
    wanted = Rollout(
        "triage-v2",
        Variant(),
        steps=("shadow", 5, 50),
        guardrails=(error_rate(1.5), quality("good")),
        signals=found.of_step("reply").signals,
        assign_by="tenant",
        min_units=300,
    )
    assert found.terms == Terms.of(wanted)
    assert found.candidate["classify"] == Variant(tier="standard", model="openai/gpt-6.1-sol")
    assert found.candidate["reply"] == Variant(
        prompt_name="reply", sampling=Sampling(temperature=0.2)
    )
    assert found.candidate["urgency"].cascade == {"to": "frontier", "judge": "schema"}
    assert found.baseline == {"reply": Variant(prompt_name="reply-v1")}


def test_the_steps_under_one_name_are_a_chain(project: Path) -> None:
    found = read(project, WHOLE)
    assert found.steps == ("classify", "reply", "urgency")
    rollouts = [found.of_step(each) for each in found.steps]
    assert {each.name for each in rollouts} == {"triage-v2"}
    assert [Terms.of(each) for each in rollouts] == [found.terms] * 3
    assert found.of_step("another").candidate == Variant()


def test_what_is_not_written_is_as_in_code(project: Path) -> None:
    found = read(project, '[rollouts.triage-v2]\ncandidate.classify = { tier = "standard" }')
    assert found.terms == Terms()


def test_without_any_there_are_none(project: Path) -> None:
    assert configured(settings()) == {}


def test_a_variable_goes_over_the_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERFLOW_ROLLOUTS__triage-v2__min_units", "7")
    assert read(project, WHOLE).terms.min_units == 7


A = 'candidate.a = { tier = "standard" }\n'


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (A + "stepz = [1]", r"rollouts\.triage-v2\.stepz is no key\. Known: steps, "),
        ("steps = [5]", r"triage-v2\.candidate is missing"),
        ("candidate = {}", r"triage-v2\.candidate is \{\} .*, so there is nothing to try"),
        ('candidate.a = { teer = "fast" }', r"candidate\.a\.teer is no key\. Known: tier, model"),
        ('candidate.a = { tier = "big" }', r"a\.tier in tierflow\.toml: No tier 'big'\. Known: f"),
        ('candidate.a = { model = "gpt" }', "Write it first: openai/gpt"),
        (
            'candidate.a = { cascade = { to = "big", judge = "schema" } }',
            r"candidate\.a\.cascade\.to in tierflow\.toml: No tier 'big'",
        ),
        (
            'candidate.a = { cascade = { to = "frontier", judge = "me" } }',
            r"cascade\.judge is 'me': input should be 'schema' or 'confidence'",
        ),
        ("candidate.a = { sampling = { temp = 0 } }", r"sampling\.temp is no key\. Known: temper"),
        (A + 'min_units = "many"', r"min_units is 'many': input should be a valid integer"),
        (A + 'steps = [5, "x"]', r"steps\.1 is 'x'\. Give \"shadow\" or a percentage"),
        (A + "steps = [50, 5]", "give rising percentages"),
        (A + 'guardrails = [{ metric = "err" }]', r"guardrails\.0\.metric is 'err'\. Known: erro"),
        (A + "guardrails = [{ limit = 2 }]", r"guardrails\.0\.metric is missing in \{'limit': 2\}"),
        (A + 'guardrails = [{ metric = "quality" }]', r"guardrails\.0\.evaluation is missing"),
        (
            A + 'signals = [{ metric = "error_rate", marg = 1 }]',
            r"signals\.0\.marg is no key\. Known: metric, limit, margin",
        ),
        (A + 'guardrails = [{ metric = "error_rate", limit = 0.5 }]', "limit 0.5 must be 1 or mor"),
        (A + "confidence = 2", "confidence is 2.0, but lies between 0 and 1"),
    ],
)
def test_a_wrong_one_is_named_with_key_value_and_remedy(
    project: Path, text: str, wanted: str
) -> None:
    with pytest.raises(ConfigError, match=wanted):
        read(project, f"[rollouts.triage-v2]\n{text}")


def test_a_value_where_a_table_belongs_is_named(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"rollouts\.triage-v2 is 5 .* Write \[rollouts\.tri"):
        read(project, "[rollouts]\ntriage-v2 = 5")


def test_a_prompt_cannot_be_given_twice() -> None:
    with pytest.raises(ValueError, match="Give one of them"):
        Variant(prompt=str, prompt_name="reply")


def test_variants_with_a_cascade_have_a_hash() -> None:
    rule = {"to": "frontier", "judge": "schema"}
    assert len({Variant(cascade=rule), Variant(cascade=dict(rule)), Variant()}) == 2
