"""What is never served to a similar question: whatever differs in anything but the ask."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.rollouts.started import answered_by
from tests.tasks.paraphrases import FRESH, LESSONS, MATTER_OF, TERMS, about, question_in
from tests.tasks.ways import Step, Way, both_ways
from tierflow import Cascade, Prompt, Sampling, schema
from tierflow.tasks import hands
from tierflow.tasks.spec import Surroundings

pytestmark = both_ways

Asks = Callable[[Way], Step]


def named(prompt: Callable[..., Any]) -> Callable[..., Any]:
    """Return a prompt function under the name of the step that is taught."""
    prompt.__name__ = prompt.__qualname__ = about.__name__
    return prompt


def changed(**fields: Any) -> Callable[[str], Prompt]:
    """Return the prompt that is taught, with something else in it."""

    def prompt(ask: str) -> Prompt:
        return replace(about(ask), **fields)

    return named(prompt)


def of_another_tenant(way: Way) -> Step:
    return way.step(changed(tenant="acme"), cache=TERMS)


def with_another_prefix(way: Way) -> Step:
    return way.step(changed(prefix="Name it."), cache=TERMS)


def with_an_example(way: Way) -> Step:
    examples = [("A lost key?", "key")]
    return way.step(changed(examples=examples), cache=TERMS)


def after_another_history(way: Way) -> Step:
    def chat(ask: str) -> Sequence[dict[str, Any]]:
        return [
            {"role": "system", "content": "Name the matter."},
            {"role": "user", "content": "Answer in capitals."},
            {"role": "assistant", "content": "AS YOU LIKE"},
            {"role": "user", "content": ask},
        ]

    return way.step(named(chat), cache=TERMS)


def by_another_speaker(way: Way) -> Step:
    def chat(ask: str) -> Sequence[dict[str, Any]]:
        system = {"role": "system", "content": "Name the matter."}
        return [system, {"role": "user", "name": "Eve", "content": ask}]

    return way.step(named(chat), cache=TERMS)


def at_another_tier(way: Way) -> Step:
    return way.step(about, cache=TERMS, tier="standard")


def with_a_cascade(way: Way) -> Step:
    return way.step(about, cache=TERMS, cascade=Cascade("standard", schema(), max_loss=None))


def with_another_sampling(way: Way) -> Step:
    return way.step(about, cache=TERMS, sampling=Sampling(max_tokens=99))


def of_another_name(way: Way) -> Step:
    return way.step(about, cache=TERMS, name="about it")


def whose_answer_changes(way: Way) -> Step:
    return way.step(changed(volatile=True), cache=TERMS)


def sampled(way: Way) -> Step:
    return way.step(about, cache=TERMS, sampling=Sampling(temperature=0.5))


def test_the_very_step_that_was_taught_is_served(way: Way, taught: Path) -> None:
    del taught
    step = way.step(about, cache=TERMS)
    assert [step(each).cache for each in FRESH[:20]].count("semantic") >= 10


@pytest.mark.parametrize(
    ("asks", "use"),
    [
        (of_another_tenant, "miss"),
        (with_another_prefix, "miss"),
        (with_an_example, "miss"),
        (after_another_history, "miss"),
        (by_another_speaker, "miss"),
        (at_another_tier, "miss"),
        (with_a_cascade, "miss"),
        (with_another_sampling, "miss"),
        (of_another_name, "miss"),
        (whose_answer_changes, "off"),
        (sampled, "off"),
    ],
)
def test_nothing_that_was_taught_is_served_to_a_step(
    *, way: Way, taught: Path, provider: FakeProvider, asks: Asks, use: str
) -> None:
    del taught
    for model in ("fast", "standard"):
        provider.script(model, theirs)
    step = asks(way)
    found = [step(each) for each in FRESH[:8] + LESSONS[:4]]
    assert {each.value.startswith("theirs") for each in found} == {True}
    # Among themselves they may share what they were taught in common.
    assert found[0].cache == use
    assert {each.cache for each in found} <= {use, "semantic"}


def theirs(body: dict[str, Any]) -> Say:
    """Answer as nobody did before."""
    return Say(f"theirs: {MATTER_OF[question_in(body)]}")


def test_nothing_is_served_across_result_types(
    way: Way, taught: Path, provider: FakeProvider
) -> None:
    del taught
    provider.script("fast", Say({"value": "theirs"}))
    step = way.step(about, cache=TERMS, returns=str | None)
    found = [step(each) for each in FRESH[:8] + LESSONS[:4]]
    assert {(each.value, each.cache) for each in found} == {("theirs", "miss")}


def test_nothing_is_served_across_the_arms_of_a_rollout(way: Way, taught: Path) -> None:
    del taught
    step = way.step(about, cache=TERMS, rollout=answered_by("candidate", "new"))

    def in_a_flow(around: Surroundings) -> Surroundings:
        return replace(around, where=replace(around.where, flow_run_id="run-1"))

    found = [step.within(in_a_flow, each) for each in FRESH[:8] + LESSONS[:4]]
    assert {(each.arm, each.cache) for each in found} == {("new/candidate", "miss")}


def test_nothing_is_served_to_a_question_longer_than_the_encoder_reads(
    way: Way, taught: Path, provider: FakeProvider
) -> None:
    del taught
    provider.script("fast", Say("long"))
    story = "It all began on a day like any other, and then it rained. " * 60
    step = way.step(about, cache=TERMS)
    assert {step(story + each).cache for each in FRESH[:4]} == {"miss"}


@pytest.mark.parametrize(
    "last",
    [
        {"role": "user", "content": [{"type": "text", "text": "What about a late parcel?"}]},
        {"role": "user", "content": " "},
        {"role": "assistant", "content": "A late parcel is"},
    ],
    ids=["parts", "blank", "assistant"],
)
def test_what_is_no_plain_question_is_not_even_looked_for(
    way: Way, catalogue: Catalogue, provider: FakeProvider, encoding: Path, last: dict[str, Any]
) -> None:
    catalogue()
    provider.script("fast", Say("fine"))

    def chat() -> Sequence[dict[str, Any]]:
        return [last]

    step = way.step(chat, cache=TERMS)
    assert [step().cache, step().cache] == ["miss", "exact"]
    assert not (encoding / "similar.db").exists()


def test_tenants_that_learn_together_share_no_answers(
    way: Way, taught: Path, provider: FakeProvider
) -> None:
    del taught
    tenants = [f"tenant {number}" for number in range(4)]

    def ask(question: str, tenant: str) -> Prompt:
        return replace(about(question), tenant=tenant)

    def says_whose(body: dict[str, Any]) -> Say:
        return Say(MATTER_OF[question_in(body)] + " of " + asking[0])

    provider.script("fast", says_whose)
    step = way.step(named(ask), cache=TERMS)
    mixed = random.Random(3).sample([(each, who) for each in LESSONS[:12] for who in tenants], 48)
    asking = [""]
    uses: list[str] = []
    for question, tenant in mixed:
        asking[0] = tenant
        answer = step(question, tenant)
        assert answer.value.endswith(f" of {tenant}")
        uses.append(answer.cache)
    # They do profit from what was learned with others.
    assert "semantic" in uses
    assert hands().store.stats().entries >= uses.count("miss")
