"""Partial spans: a call that was left or broke off says on its span what that cost."""

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.conftest import Catalogue
from tests.fakes import BreakStream, FakeProvider
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Chunk
from tierflow.errors import AllDeploymentsFailedError
from tierflow.tracing import names


def ignore(_: Chunk) -> None:
    """Stream, and drop what comes."""


@both_ways
def test_the_span_of_a_stream_that_broke_off_says_what_it_cost(
    way: Way, catalogue: Catalogue, provider: FakeProvider, exporter: InMemorySpanExporter
) -> None:
    catalogue()
    provider.script("fast", BreakStream(2, "one two three four"))

    with pytest.raises(AllDeploymentsFailedError):
        way.step(plain, on_chunk=ignore)("Where is it?")

    (chat,) = [span for span in exporter.get_finished_spans() if span.name == "chat fast"]
    found = dict(chat.attributes or {})
    sent, heard = found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]
    assert isinstance(sent, int)
    assert (sent > 0, heard) == (True, 2)
    assert found[names.USAGE_ESTIMATED] is True
    assert found[names.COST_USD] == pytest.approx((sent + 10 * 2) / 1e6)
    assert found["error.type"] == "ProviderDownError"
    assert "two" not in chat.to_json()
