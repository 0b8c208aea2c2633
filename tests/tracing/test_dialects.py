"""Dialects: what Langfuse, MLflow and Phoenix read beside the conventions, and only where asked."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.tasks.ways import Way, plain
from tierflow import Cascade, Chunk, model_judge
from tierflow.telemetry_settings import Dialect
from tierflow.tracing import names
from tierflow.tracing.dialects import of_call, of_span

from .emitted import Emitted, attributes

STEP = Way(is_async=False).step
RULE = Cascade(to="frontier", judge=model_judge("standard", "Is it right?"), max_loss=None)
ALL: tuple[Dialect, ...] = ("langfuse", "mlflow", "phoenix")
THEIRS = {
    names.SPAN_KIND,
    names.SESSION,
    names.LANGFUSE_TYPE,
    names.LANGFUSE_COST,
    names.LANGFUSE_FIRST_AT,
    names.MLFLOW_COST,
}
RUN = {names.FLOW_RUN_ID: "run-1"}


def ignore(_: Chunk) -> None:
    """Stream, and drop what comes."""


def speaking(catalogue: Catalogue, *dialects: Dialect) -> Path:
    path = catalogue()
    said = f"\n[telemetry]\ndialects = {json.dumps(dialects)}\n"
    path.write_text(path.read_text(encoding="utf-8") + said, encoding="utf-8")
    return path


def test_without_a_dialect_nothing_of_it_is_emitted(
    catalogue: Catalogue, provider: FakeProvider, emitted: Emitted
) -> None:
    speaking(catalogue)
    provider.script("fast", Say("here"))
    STEP(plain, on_chunk=ignore)("Where is it?")
    assert not any(THEIRS & attributes(span).keys() for span in emitted.spans())


def test_a_call_says_its_cost_and_when_its_first_token_came(
    catalogue: Catalogue, provider: FakeProvider, emitted: Emitted
) -> None:
    speaking(catalogue, *ALL)
    provider.script("fast", Say("one two", input_tokens=100, output_tokens=20))
    STEP(plain, on_chunk=ignore)("Where is it?")

    call = emitted.span("chat fast")
    said = attributes(call)
    assert json.loads(said[names.LANGFUSE_COST]) == {"total": said[names.COST_USD]}
    assert json.loads(said[names.MLFLOW_COST]) == {"total_cost": said[names.COST_USD]}
    first = datetime.fromisoformat(said[names.LANGFUSE_FIRST_AT])
    began, ended = (
        datetime.fromtimestamp((at or 0) / 1e9, UTC) for at in (call.start_time, call.end_time)
    )
    assert began.replace(microsecond=0) <= first <= ended


def test_steps_are_chains_and_judges_evaluators(
    catalogue: Catalogue, provider: FakeProvider, emitted: Emitted
) -> None:
    speaking(catalogue, *ALL)
    provider.script("fast", Say("cheap"))
    provider.script("standard", Say({"score": 0.1, "reason": "no"}))
    provider.script("frontier", Say("strong"))
    STEP(plain, cascade=RULE)("Where is it?")

    kinds = {
        span.name: (attributes(span)[names.SPAN_KIND], attributes(span)[names.LANGFUSE_TYPE])
        for span in emitted.spans()
        if not span.name.startswith("chat ")
    }
    assert kinds == {"step plain": ("CHAIN", "chain"), "judge model": ("EVALUATOR", "evaluator")}


@pytest.mark.parametrize(
    ("dialect", "span", "call"),
    [
        ("langfuse", {names.LANGFUSE_TYPE, names.SESSION}, {names.LANGFUSE_COST}),
        ("mlflow", {names.SPAN_KIND, names.SESSION}, {names.MLFLOW_COST}),
        ("phoenix", {names.SPAN_KIND, names.SESSION}, set[str]()),
    ],
)
def test_each_dialect_says_its_own(dialect: Dialect, span: set[str], call: set[str]) -> None:
    assert of_span(RUN, {dialect}).keys() == span
    assert of_call(0.1, None, {dialect}).keys() == call


@given(st.sets(st.sampled_from(ALL)))
def test_what_is_not_known_is_not_said(dialects: set[Dialect]) -> None:
    assert of_call(None, None, dialects) == {}
    assert names.SESSION not in of_span({names.STEP: "a"}, dialects)
