"""Fixtures: the spans of one test, and no event loop but those that a test runs itself."""

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@pytest.fixture(autouse=True)
def no_event_loop() -> None:
    """Without this litellm's blocking client opens an event loop that nobody closes."""
    asyncio.set_event_loop(None)


@pytest.fixture(scope="session")
def running_exporter() -> Iterator[InMemorySpanExporter]:
    """OpenTelemetry takes one tracer provider for the life of a process."""
    exporter, provider = InMemorySpanExporter(), trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield exporter
    exporter.shutdown()


@pytest.fixture
def exporter(running_exporter: InMemorySpanExporter) -> InMemorySpanExporter:
    """An exporter that holds the spans of this test once they have ended."""
    running_exporter.clear()
    return running_exporter
