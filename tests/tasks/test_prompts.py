"""Steps that ask in the words of a registered prompt: which, under which rollout, accounted how."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.rollouts.started import answered_by
from tests.tasks.conftest import Rows
from tests.tasks.remainders import ITEMS, Remainder, a_cascade, cheaply, seventh
from tests.tasks.ways import Way, both_ways, settled
from tierflow import Prompt, Rollout, Variant, llm_task, prompt
from tierflow.errors import PromptError, UnknownPromptError
from tierflow.prompting import PromptText, Registry, open_registry
from tierflow.settings import settings
from tierflow.tasks import close_hands
from tierflow.tasks.proving.collecting import calibrate_judge
from tierflow.tasks.spec import Surroundings

cloudpickle: Any = import_module("cloudpickle")  # it ships no types

pytestmark = both_ways

triage_prompt = prompt("triage")
Operate = Callable[[Callable[[Registry], object]], None]


def triage(ticket: str) -> Prompt:
    return replace(triage_prompt(ticket=ticket), tenant="acme")


def unregistered(ticket: str) -> Prompt:
    return Prompt(ask=ticket)


def hash_of(name: str) -> str:
    path = Path("prompts") / f"{name}.toml"
    return PromptText.from_toml(path.read_text(), name).hash


@pytest.fixture(autouse=True)
def triage_files(catalogue: Catalogue, provider: FakeProvider, project: Path) -> None:
    catalogue()
    provider.script("fast", Say("sorted"))
    folder = project / "prompts" / "triage"
    folder.mkdir(parents=True)
    for version in ("v1", "v2"):
        (folder / f"{version}.toml").write_text(
            f'prefix = "Sort by {version}."\nask = "Ticket: {{{{ticket}}}}"'
        )
    (folder / "aliases.toml").write_text('production = "v1"')


@pytest.fixture
def operate(project: Path) -> Operate:
    """Do something with the registry as an operator would, and go on in a new process."""

    def operate(change: Callable[[Registry], object]) -> None:
        registry = open_registry(settings())
        change(registry)
        registry.close()
        close_hands()

    return operate


def move(alias: str, to: str) -> Callable[[Registry], object]:
    return lambda registry: registry.move("triage", alias, to, at=time.time(), who="ada")


def said(provider: FakeProvider) -> list[str]:
    return [each["content"] for each in provider.calls[-1].body["messages"]]


def in_a_run(around: Surroundings) -> Surroundings:
    return replace(around, where=replace(around.where, flow_run_id="run"))


def a_candidate(reference: str) -> Rollout:
    return answered_by("candidate", "new", Variant(prompt=prompt(reference)))


def test_a_step_asks_in_the_words_of_the_alias_and_says_which(
    way: Way, provider: FakeProvider, rows: Rows
) -> None:
    answer = way.step(triage)("Where?")

    assert said(provider) == ["Sort by v1.", "Ticket: Where?"]
    assert answer.prompt_id == ("triage", "v1", hash_of("triage/v1"))
    (row,) = rows()
    assert (row["prompt"], row["prompt_version"]) == ("triage", "v1")
    assert row["prompt_hash"] == hash_of("triage/v1")
    assert row["tenant"] == "acme"


def test_a_step_without_a_registered_prompt_names_none(way: Way, rows: Rows) -> None:
    assert way.step(unregistered)("Where?").prompt_id is None
    (row,) = rows()
    assert (row["prompt"], row["prompt_version"], row["prompt_hash"]) == ("", "", "")


def test_an_operator_moves_the_alias_without_a_deploy(
    way: Way, provider: FakeProvider, operate: Operate
) -> None:
    step = way.step(triage)
    step("Where?")
    operate(move("production", "v2"))

    answer = step("Where?")

    assert said(provider) == ["Sort by v2.", "Ticket: Where?"]
    assert answer.prompt_id == ("triage", "v2", hash_of("triage/v2"))
    assert answer.cache == "miss"


def test_a_hit_names_its_prompt_too(way: Way, rows: Rows) -> None:
    step = way.step(triage)
    step("Where?")
    answer = step("Where?")
    assert (answer.cache, answer.prompt_id) == ("exact", ("triage", "v1", hash_of("triage/v1")))
    assert [row["prompt_version"] for row in rows()] == ["v1", "v1"]


@pytest.mark.parametrize("reference", ["triage@v2", "triage@candidate"])
def test_a_candidate_goes_in_place_and_the_steps_function_still_decides_the_rest(
    way: Way, provider: FakeProvider, operate: Operate, rows: Rows, reference: str
) -> None:
    operate(move("candidate", "v2"))
    step = way.step(triage, rollout=a_candidate(reference))

    answer = step.within(in_a_run, "Where?")

    assert said(provider) == ["Sort by v2.", "Ticket: Where?"]
    assert (answer.arm, answer.prompt_id) == (
        "new/candidate",
        ("triage", "v2", hash_of("triage/v2")),
    )
    (row,) = rows()
    assert (row["tenant"], row["prompt_version"]) == ("acme", "v2")
    # Only while that step asked.
    assert way.step(triage)("Where?").prompt_id == ("triage", "v1", hash_of("triage/v1"))


@pytest.mark.parametrize("function", [triage, unregistered])
def test_a_candidate_that_would_change_nothing_is_an_error(
    way: Way, provider: FakeProvider, project: Path, function: Callable[..., Any]
) -> None:
    step = way.step(function, rollout=a_candidate("digest@v2"))
    with pytest.raises(PromptError, match="digest@v2 cannot go in place of what the step asks"):
        step.within(in_a_run, "Where?")
    assert not provider.calls


def test_a_wrong_name_is_an_error_before_any_call(way: Way, provider: FakeProvider) -> None:
    def later(ticket: str) -> Prompt:
        return prompt("triage@later")(ticket=ticket)

    def other(ticket: str) -> Prompt:
        return triage_prompt(tiket=ticket)

    with pytest.raises(UnknownPromptError, match="has no version or alias 'later'"):
        way.step(later)("Where?")
    with pytest.raises(PromptError, match=r"Give ticket=\.\.\. instead of 'tiket'"):
        way.step(other)("Where?")
    assert not provider.calls


def test_a_step_with_a_prompt_travels(way: Way) -> None:
    step = way.step(triage)
    again = cloudpickle.loads(cloudpickle.dumps(step.task))
    assert replace(step, task=again)("Where?").prompt_id == step("Where?").prompt_id


def remainder(number: str) -> Prompt:
    return prompt("seven")(yesterday=f"Monday {number}", number=number)


def test_what_is_proven_holds_for_the_words_whatever_is_filled_in(
    way: Way, provider: FakeProvider, project: Path
) -> None:
    provider.script("fast", cheaply)
    provider.script("frontier", seventh)
    folder = project / "prompts" / "seven"
    folder.mkdir()
    words = 'prefix = "Divide by seven. Yesterday: {{yesterday}}."\nask = "{{number}}"\n'
    (folder / "v1.toml").write_text(words)
    (folder / "v2.toml").write_text(words.replace("Divide", "Please divide"))
    (folder / "aliases.toml").write_text('production = "v1"')
    cascade = a_cascade(max_loss=0.05)
    calibrate_judge(llm_task(tier="fast", returns=Remainder, cascade=cascade)(remainder), ITEMS)
    settled()

    step = way.step(remainder, returns=Remainder, cascade=cascade)
    assert step("299").tier == "fast"

    (folder / "aliases.toml").write_text('production = "v2"')
    close_hands()
    refused = step("298")
    assert refused.tier == "frontier"
    assert "another prompt" in refused.verdicts[0].reason


def test_nothing_of_a_store_is_made_by_asking(way: Way, project: Path) -> None:
    way.step(triage)("Where?")
    assert not list((project / ".tierflow").glob("prompts*"))


def test_examples_become_part_of_the_prefix(
    way: Way, provider: FakeProvider, project: Path
) -> None:
    (project / "prompts" / "triage" / "v1.toml").write_text(
        'prefix = "Sort."\nask = "{{ticket}}"\n[[examples]]\nask = "7"\nresult = { left = 0 }'
    )
    provider.script("fast", Say({"left": 3}))
    assert way.step(triage, returns=Remainder)("10").value == Remainder(left=3)
    assert said(provider) == ["Sort.", "7", json.dumps({"left": 0}, separators=(",", ":")), "10"]
