"""Fixtures: a fake provider on a real socket, an empty project folder, a real Prefect server."""

import asyncio
import gc
import json
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from openai import AsyncOpenAI, OpenAI
from prefect.testing.utilities import prefect_test_harness

from tests.fakes import FakeProvider
from tests.postgres import PACKAGE, PostgresServer
from tests.tracing.emitted import Emitted
from tierflow.encoder_export import open_model
from tierflow.encoder_source import find_source
from tierflow.routing.lasting import on_lasting_loop
from tierflow.routing.vendor import litellm
from tierflow.tasks import close_hands

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
# Read when numpy is first imported. Threads that wait for each other cost the small matrices here
# several times what they bring, the more so where tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A slow machine must not fail a test: timings belong in benchmarks.
settings.register_profile("tierflow", deadline=None)
settings.load_profile("tierflow")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Collect what the last flow run leaked: nothing else would, and it would fail the session."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "[Uu]nclosed", ResourceWarning)
        for _ in range(3):
            gc.collect()


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell that starts the tests in the background ignores Ctrl-C, and so would every process
    # that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

PRICES = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 10.0}
"""Of every deployment in a test's catalogue, so that costs can be worked out by hand."""

Catalogue = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what needs a Prefect server first, so that of several workers one starts it."""
    items.sort(key=lambda item: "prefect_server" not in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def running_provider() -> Iterator[FakeProvider]:
    with FakeProvider() as provider, pytest.MonkeyPatch.context() as patch:
        _open_vendor_clients_one_by_one(patch)
        yield provider
        _close_vendor_clients()


@pytest.fixture
def provider(running_provider: FakeProvider) -> FakeProvider:
    """The fake provider, with no script and no calls yet."""
    running_provider.reset()
    return running_provider


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory without any key or setting of the machine's."""
    for name in os.environ:
        if name.startswith("TIERFLOW_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    close_hands()


@pytest.fixture
def catalogue(project: Path, provider: FakeProvider) -> Catalogue:
    """Write a tierflow.toml whose tiers are models of the fake provider.

    `catalogue(fast=["a", "b"], frontier=["c"], timeout_s=1.0)`; what is not named answers at the
    model of its own name.
    """

    def write(*, timeout_s: float = 10.0, max_wait_s: float = 5.0, **tiers: list[str]) -> Path:
        named = {"fast": ["fast"], "standard": ["standard"], "frontier": ["frontier"]} | tiers
        lines: list[str] = []
        for tier, models in named.items():
            heading = tier if tier in {"fast", "standard", "frontier"} else f"specialist.{tier}"
            deployments = ", ".join(_deployment(model, provider.base_url) for model in models)
            lines += [
                f"[tiers.{heading}]",
                f"deployments = [{deployments}]",
                f"timeout_s = {timeout_s}",
                f"max_wait_s = {max_wait_s}",
            ]
        path = project / "tierflow.toml"
        path.write_text("\n".join(lines))
        return path

    return write


def _deployment(model: str, base_url: str) -> str:
    fields: dict[str, Any] = {"model": f"openai/{model}", "api_base": base_url, **PRICES}
    return "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in fields.items()) + " }"


@pytest.fixture(scope="session")
def minilm_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that holds the exported MiniLM, which takes seconds to make: once for all workers."""
    mine = tmp_path_factory.getbasetemp()
    home = (mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / "minilm-home"
    open_model(find_source("minilm"), home)
    return home


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A real Prefect server with a database of its own, for tests that run flows."""
    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture(scope="session")
def emitting() -> Iterator[Emitted]:
    """OpenTelemetry takes one provider of a kind for the life of a process."""
    emitted = Emitted()
    yield emitted
    emitted.exporter.shutdown()


@pytest.fixture
def emitted(emitting: Emitted) -> Emitted:
    """What was told to OpenTelemetry since this test began."""
    emitting.clear()
    return emitting


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL server with pgvector, of this test run alone."""
    for package in (PACKAGE, "psycopg"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is missing: pip install 'tierflow[test]'")
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty database of this test's, as it would stand in TIERFLOW_STORE_URL."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop_database(url)


def _open_vendor_clients_one_by_one(patch: pytest.MonkeyPatch) -> None:
    """Let threads that ask at once have one client of litellm's.

    Each would open its own, and all but the last be left to the garbage collector, which finds
    their sockets open in the middle of any test.
    """
    litellm()
    from litellm.llms.openai.openai import OpenAIChatCompletion

    one_at_a_time, name = threading.Lock(), "_get_openai_client"
    opened: Any = getattr(OpenAIChatCompletion, name)

    def opened_alone(*given: Any, **named: Any) -> Any:
        with one_at_a_time:
            return opened(*given, **named)

    patch.setattr(OpenAIChatCompletion, name, opened_alone)


def _close_vendor_clients() -> None:
    """Close the connections that litellm keeps for reuse: it closes none itself."""
    from litellm.llms.custom_httpx.http_handler import HTTPHandler

    kept: Any = litellm().in_memory_llm_clients_cache
    for client in kept.cache_dict.values():
        # The second kind asks Anthropic and Gemini.
        if isinstance(client, OpenAI | HTTPHandler):
            client.close()
    asyncio.run(on_lasting_loop(_close_async_clients(kept)))
    kept.flush_cache()


async def _close_async_clients(kept: Any) -> None:
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    for client in kept.cache_dict.values():
        if isinstance(client, AsyncOpenAI | AsyncHTTPHandler):
            await client.close()
