"""Fixtures: no event loop but those that a test runs itself, and the spans of one test."""

import asyncio

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from .emitted import Emitted


@pytest.fixture(autouse=True)
def no_event_loop() -> None:
    """Without this litellm's blocking client opens an event loop that nobody closes."""
    asyncio.set_event_loop(None)


@pytest.fixture
def exporter(emitted: Emitted) -> InMemorySpanExporter:
    """An exporter that holds the spans of this test once they have ended."""
    return emitted.exporter
