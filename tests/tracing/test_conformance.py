"""Conformance: one run of every feature, held against the GenAI conventions v1.41.1."""

import json
import os
import random
import shutil
import subprocess
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import BaseModel

from tests.conftest import Catalogue
from tests.fakes import BreakStream, Fail, FakeProvider, Say
from tests.tasks.paraphrases import FRESH, LESSONS, NEVER_CHECK, TERMS, about, says_matter
from tests.tasks.ways import Way, plain
from tierflow import Cascade, Chunk, Prompt, Sampling, SemanticCache, TierflowError, model_judge
from tierflow.tracing import names
from tierflow.tracing.evaluation_event import emit_evaluation

from .conformance import (
    BUCKETS,
    OURS,
    faults_of_event,
    faults_of_series,
    faults_of_span,
    later,
    registry,
)
from .emitted import Emitted, attributes

STEP = Way(is_async=False).step
LATER = Way(is_async=True).step
CALLS = Say("here", input_tokens=100, output_tokens=20, cached_tokens=40, reasoning_tokens=5)
RULE = Cascade(to="frontier", judge=model_judge("standard", "Is it right?"), max_loss=None)
ALL = Sampling(temperature=0.5, top_p=0.9, max_tokens=50, seed=7, stop=("END",))


class City(BaseModel):
    city: str


def ignore(_: Chunk) -> None:
    """Stream, and drop what comes."""


def breaks(_: Chunk) -> None:
    raise RuntimeError("the listener broke")


def whole(ask: str) -> Prompt:
    return Prompt(prefix="Guide.", examples=[("a", City(city="b"))], ask=ask, tenant="acme")


def miss(provider: FakeProvider) -> None:
    provider.script("fast", CALLS)
    STEP(plain, sampling=ALL)("Where is it?")


def hit(provider: FakeProvider) -> None:
    provider.script("fast", CALLS)
    for _ in range(2):
        STEP(plain)("Where is it?")


def structured(provider: FakeProvider) -> None:
    provider.script("fast", [Say("no JSON"), Say({"city": "Bonn"})])
    LATER(whole, returns=City)("Where is it?")


def escalation(provider: FakeProvider) -> None:
    provider.script("fast", Say("cheap"))
    provider.script("standard", Say({"score": 0.1, "reason": "no"}))
    provider.script("frontier", Say("strong"))
    STEP(whole, cascade=RULE)("Where is it?")


def failover(provider: FakeProvider) -> None:
    provider.script("fast", Fail(503))
    provider.script("spare", CALLS)
    STEP(plain)("Where is it?")


def error(provider: FakeProvider) -> None:
    provider.script("fast", Fail(500))
    provider.script("spare", Fail(429))
    STEP(plain)("Where is it?")


def streaming(provider: FakeProvider) -> None:
    provider.script("fast", Say("one two three", input_tokens=10, output_tokens=3))
    STEP(plain, on_chunk=ignore)("Where is it?")
    LATER(plain, on_chunk=ignore)("Where is it now?")


def broken_stream(provider: FakeProvider) -> None:
    provider.script("fast", BreakStream(2, "one two three"))
    provider.script("spare", CALLS)
    STEP(plain, on_chunk=ignore)("Where is it?")


def left_stream(provider: FakeProvider) -> None:
    provider.script("fast", Say("one two three"))
    with suppress(RuntimeError):
        STEP(plain, on_chunk=breaks)("Where is it?")


def embedding(provider: FakeProvider) -> None:
    provider.script("fast", CALLS)
    # Not known from an earlier test: they share the encoder's folder.
    STEP(plain, cache=SemanticCache(max_wrong_rate=0.01))(f"Where is {uuid.uuid4()}?")


def local(provider: FakeProvider) -> None:
    del provider
    STEP(plain, tier="specialist.local")("The parcel came. It was wet. Nobody was at home.")


def evaluation(provider: FakeProvider) -> None:
    del provider
    emit_evaluation("helpful", 0.5, "fair", "so so", "1" * 32, "2" * 16, "r-1", {names.STEP: "a"})


FEATURES: dict[str, Callable[[FakeProvider], None]] = {
    each.__name__: each
    for each in (
        miss,
        hit,
        structured,
        escalation,
        failover,
        error,
        streaming,
        broken_stream,
        left_stream,
        embedding,
        local,
        evaluation,
    )
}


@pytest.fixture(params=["v1.41.1", "latest"])
def profile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(catalogue: Catalogue, provider: FakeProvider, minilm_home: Path, profile: str) -> Path:
    """A project that captures content everywhere, with a home that shares the exported encoder."""
    path = catalogue(fast=["fast", "spare"])
    with path.open("a", encoding="utf-8") as file:
        file.write('\n[tiers.specialist.local]\ndeployments = [{ model = "local/extractive" }]\n')
        file.write("[telemetry]\ncapture_content = 'span_and_event'\ntenant_label = true\n")
        file.write(f"profile = '{profile}'\n")
    home = path.parent / ".tierflow"
    home.mkdir(mode=0o700)
    (home / "encoder").symlink_to(minilm_home / "encoder")
    provider.script("fast", CALLS)
    return path


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("feature", FEATURES)
def test_what_a_feature_emits_is_what_the_conventions_allow(
    feature: str, provider: FakeProvider, emitted: Emitted, profile: str
) -> None:
    with suppress(TierflowError):
        FEATURES[feature](provider)

    spans, events = emitted.spans(), emitted.events()
    series = [each for each in emitted.series() if not each.metric.startswith("otel.")]
    faults = {span.name: faults_of_span(span, emitted.at_start(span), profile) for span in spans}
    faults |= {
        str(each.log_record.event_name): faults_of_event(
            str(each.log_record.event_name), dict(each.log_record.attributes or {}), profile
        )
        for each in events
    }
    faults |= {f"{each.metric} {each.labels}": faults_of_series(each) for each in series}
    assert {name: each for name, each in faults.items() if each} == {}
    assert spans or events
    assert series


SPANS = {
    "miss": ["step plain", "chat fast"],
    "hit": ["step plain", "chat fast", "step plain"],
    "structured": ["step whole", "chat fast", "chat fast"],
    "escalation": ["step whole", "chat fast", "judge model", "chat standard", "chat frontier"],
    "failover": ["step plain", "chat fast", "chat spare"],
    "error": ["step plain", "chat fast", "chat spare"],
    "streaming": ["step plain", "chat fast"] * 2,
    "broken_stream": ["step plain", "chat fast", "chat spare"],
    "left_stream": ["step plain", "chat fast"],
    "embedding": ["step plain", "embeddings all-MiniLM-L6-v2", "chat fast"],
    "local": ["step plain", "chat extractive"],
    "evaluation": [],
}


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("profile", ["v1.41.1"], indirect=True)
@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_emits_its_spans_and_every_name_is_in_the_table(
    feature: str, provider: FakeProvider, emitted: Emitted
) -> None:
    with suppress(TierflowError):
        FEATURES[feature](provider)

    assert [span.name for span in emitted.spans()] == SPANS[feature]
    known = {value for value in vars(names).values() if isinstance(value, str)} | names.OF_A_CALL
    for found in map(attributes, emitted.spans()):
        assert found.keys() <= known
    metrics = {metric.name for metric in names.METRICS} | BUCKETS.keys()
    told = {each.metric for each in emitted.series() if not each.metric.startswith("otel.")}
    assert told <= metrics


@pytest.mark.parametrize("profile", ["v1.41.1"], indirect=True)
def test_a_similar_hit_is_a_step_with_an_embedding_and_no_call(
    site: Path, provider: FakeProvider, emitted: Emitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write_text(site.read_text(encoding="utf-8").replace("span_and_event", "no_content"))
    provider.script("fast", says_matter)
    monkeypatch.setattr(random, "random", random.Random(1).random)
    step = STEP(about, cache=TERMS)
    for each in LESSONS:
        step(each)
    monkeypatch.setattr(random, "random", NEVER_CHECK)

    for each in FRESH:
        emitted.clear()
        # Words that nobody has encoded before in this process.
        if step(f"{each} ({uuid.uuid4().hex[:6]})").cache == "semantic":
            break

    assert [span.name for span in emitted.spans()] == [
        "step about",
        "embeddings all-MiniLM-L6-v2",
    ]
    spans = emitted.spans()
    assert not any(faults_of_span(each, emitted.at_start(each), "v1.41.1") for each in spans)
    assert attributes(spans[0])[names.CACHE] == "semantic"
    (hits,) = (each for each in emitted.series() if each.metric == names.HIT_COUNT.name)
    assert (hits.value, hits.labels[names.CACHE]) == (1, "semantic")


@pytest.mark.parametrize("profile", ["v1.41.1"], indirect=True)
def test_what_is_remembered_is_not_encoded_and_has_no_span(site: Path, emitted: Emitted) -> None:
    del site
    ask = f"Where is {uuid.uuid4()}?"
    for refresh in (False, True):
        STEP(plain, cache=SemanticCache(max_wrong_rate=0.01, refresh=refresh))(ask)
    named = [span.name for span in emitted.spans()]
    assert named.count("chat fast") == 2
    assert named.count("embeddings all-MiniLM-L6-v2") == 1


def test_the_names_of_the_conventions_are_in_their_registry() -> None:
    renamed, added = later()
    known = registry()["attributes"].keys() | set(renamed.values())
    table = {value for value in vars(names).values() if isinstance(value, str)} | names.OF_A_CALL
    metrics = registry()["metrics"].keys() | added.keys()
    events = registry()["events"].keys()
    named = {name for name in table if name.startswith("gen_ai.")}
    assert named - events <= known
    assert {each.name for each in names.METRICS if each.name.startswith("gen_ai.")} <= metrics
    deprecated = {name for name, rule in registry()["attributes"].items() if rule.get("deprecated")}
    assert not named & deprecated


def test_provider_names_are_those_of_the_conventions() -> None:
    known = set(registry()["attributes"]["gen_ai.provider.name"]["values"])
    assert set(names.PROVIDERS.values()) <= known


def test_no_metric_can_be_told_apart_by_an_id_or_a_name_of_many_values() -> None:
    for metric in names.METRICS:
        assert set(metric.labels) <= names.LABELS
    assert not names.LABELS & {names.REF, names.FLOW_RUN_ID, names.TASK_RUN_ID, names.RESPONSE_ID}


def test_the_profiles_differ_by_what_was_renamed() -> None:
    renamed, _ = later()
    old, new = (names.PROFILES[name].cache_write for name in ("v1.41.1", "latest"))
    assert renamed == {old: new}


CONVENTIONS = (
    "https://github.com/open-telemetry/semantic-conventions/archive/refs/tags/v1.41.1.zip[model]"
)


@pytest.mark.skipif(shutil.which("weaver") is None, reason="no weaver on the PATH")
@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("profile", ["v1.41.1"], indirect=True)
def test_weaver_finds_nothing_either(provider: FakeProvider, emitted: Emitted) -> None:
    for feature in (miss, escalation, failover, streaming, embedding):
        feature(provider)
    samples = [
        {
            "span": {
                "name": span.name,
                "kind": span.kind.name.lower(),
                "attributes": [
                    {"name": name, "value": value}
                    for name, value in attributes(span).items()
                    if not name.startswith(OURS)
                ],
            }
        }
        for span in emitted.spans()
    ]
    conventions = os.environ.get("WEAVER_REGISTRY", CONVENTIONS)
    command = ["weaver", "registry", "live-check", "-r", conventions]
    options = ["--input-source", "stdin", "--input-format", "json", "--format", "json"]
    done = subprocess.run(
        [*command, *options], input=json.dumps(samples), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
