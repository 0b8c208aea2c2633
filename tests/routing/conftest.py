"""Fixtures: no event loop but those that a test runs itself."""

import asyncio

import pytest


@pytest.fixture(autouse=True)
def no_event_loop() -> None:
    """Without this litellm's blocking client opens an event loop that nobody closes."""
    asyncio.set_event_loop(None)
