"""Spans of steps that ask in the words of a registered prompt: its name, never its text."""

from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Prompt, prompt

from .emitted import attributes
from .test_spans import by_name

CANARY = "canary-in-the-prompt"


def written(exporter: InMemorySpanExporter) -> str:
    """All that spans say, as one text."""
    return "".join(span.to_json() for span in exporter.get_finished_spans())


def sorting(ticket: str) -> Prompt:
    return replace(prompt("sorting")(shop=CANARY, ticket=ticket), tenant="acme")


@pytest.fixture
def registered(catalogue: Catalogue, provider: FakeProvider, project: Path) -> None:
    catalogue()
    provider.script("fast", Say("sorted"))
    folder = project / "prompts" / "sorting"
    folder.mkdir(parents=True)
    (folder / "v3.toml").write_text(
        f'prefix = "{CANARY} of {{{{shop}}}}"\nask = "{{{{ticket}}}}"\n'
    )
    (folder / "aliases.toml").write_text('production = "v3"')


@both_ways
def test_a_steps_span_names_prompt_version_and_content_and_holds_no_text(
    way: Way, registered: None, provider: FakeProvider, exporter: InMemorySpanExporter
) -> None:
    step = way.step(sorting)
    answer = step(CANARY)
    step(CANARY)

    assert answer.prompt_id is not None
    assert CANARY in str(provider.calls[0].body)
    named = by_name(exporter)
    spans = [*named["step sorting"], *named["chat fast"]]
    # The second answer is from the cache.
    assert len(spans) == 3
    for span in spans:
        found = attributes(span)
        assert found["gen_ai.prompt.name"] == "sorting"
        assert found["tierflow.prompt.version"] == "v3"
        assert found["tierflow.prompt.hash"] == answer.prompt_id.hash
    assert CANARY not in written(exporter)


@both_ways
def test_a_span_of_another_prompt_names_none(
    way: Way, registered: None, exporter: InMemorySpanExporter
) -> None:
    way.step(plain)("Where is it?")

    assert ".prompt." not in written(exporter)
