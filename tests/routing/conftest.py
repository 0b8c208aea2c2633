"""Fixtures: no event loop but those that a test runs itself."""

import asyncio

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_event_loop() -> None:
    """Keep litellm's blocking calls from opening an event loop that nobody closes."""
    asyncio.set_event_loop(None)
