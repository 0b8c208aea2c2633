"""Fixtures: an event loop policy that opens no loop unasked, and the ledger's rows as they are."""

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import FakeEngine, FakeProvider
from tests.tasks.asker import Asker
from tests.tasks.paraphrases import LESSONS, NEVER_CHECK, TERMS, about, says_matter
from tests.tasks.ways import Way
from tests.tasks.world import AT, KEYS, NOW
from tierflow.settings import settings
from tierflow.tasks import close_hands
from tierflow.tasks.proving.collecting import Collected, calibrate_judge
from tierflow.tasks.proving.items import Item
from tierflow.tasks.spec import Surroundings
from tierflow.tracing import Where

Rows = Callable[[], list[dict[str, Any]]]
Calibrate = Callable[..., Collected]


@pytest.fixture(autouse=True)
def no_event_loop() -> None:
    """Without this litellm's blocking client opens an event loop that nobody closes."""
    asyncio.set_event_loop(None)


@pytest.fixture
def rows(project: Path) -> Rows:
    """Read the ledger past the code that is tested; rows outside of a flow are there too."""

    def read() -> list[dict[str, Any]]:
        with closing(sqlite3.connect(project / ".tierflow" / "ledger.db")) as ledger:
            ledger.row_factory = sqlite3.Row
            found = ledger.execute("SELECT * FROM answers_v4 ORDER BY id").fetchall()
        return [dict(row) for row in found]

    return read


@pytest.fixture
def calls(project: Path) -> Rows:
    """Read the ledger's calls likewise."""

    def read() -> list[dict[str, Any]]:
        with closing(sqlite3.connect(project / ".tierflow" / "ledger.db")) as ledger:
            ledger.row_factory = sqlite3.Row
            found = ledger.execute("SELECT * FROM calls_v1 ORDER BY id").fetchall()
        return [dict(row) for row in found]

    return read


@pytest.fixture
def around(project: Path) -> Surroundings:
    """The shipped catalogue with one key; a clock that goes on by a second at each look."""
    del project
    seconds = iter(range(1000))
    return Surroundings(settings(), KEYS, Where(AT), lambda: float(next(seconds)), now=lambda: NOW)


@pytest.fixture
def encoding(project: Path, minilm_home: Path) -> Path:
    """A home in the project that shares the exported encoder. Return it."""
    home = project / ".tierflow"
    home.mkdir(mode=0o700)
    (home / "encoder").symlink_to(minilm_home / "encoder")
    return home


@pytest.fixture(scope="session")
def lessons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that needs a proven promise leaves it for the others."""
    return tmp_path_factory.mktemp("lessons") / "home"


@pytest.fixture
def taught(
    catalogue: Catalogue,
    provider: FakeProvider,
    encoding: Path,
    lessons: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A home where the promise of `about` is proven; nothing more is checked that need not be."""
    catalogue()
    provider.script("fast", says_matter)
    if lessons.exists():
        shutil.copytree(lessons, encoding, dirs_exist_ok=True)
    else:
        monkeypatch.setattr(random, "random", random.Random(1).random)
        step = Way(is_async=False).step(about, cache=TERMS)
        for each in LESSONS:
            step(each)
        close_hands()
        shutil.copytree(encoding, lessons, ignore=shutil.ignore_patterns("encoder"))
    monkeypatch.setattr(random, "random", NEVER_CHECK)
    provider.reset()
    provider.script("fast", says_matter)
    return encoding


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that needs what items bring leaves it for the others."""
    return tmp_path_factory.mktemp("outcomes")


@pytest.fixture
def calibrate(project: Path, outcomes: Path) -> Calibrate:
    """Calibrate a step's judge as the command line does, and settle.

    `told`: a name for what the tiers are scripted to say. What another test has asked under this
    name is not asked again: that takes seconds. None: all is asked.
    """
    mine = project / ".tierflow" / "calibrations"

    def calibrate(step: Any, items: Sequence[Item], told: str | None = "remainders") -> Collected:
        theirs = outcomes / str(told)
        if told and theirs.exists():
            mine.parent.mkdir(mode=0o700, exist_ok=True)
            shutil.copytree(theirs, mine, dirs_exist_ok=True)
        found = calibrate_judge(step, items).collected
        close_hands()
        if told:
            shutil.copytree(mine, theirs, dirs_exist_ok=True)
        return found

    return calibrate


@pytest.fixture
def engines(running_provider: FakeProvider) -> Iterator[list[FakeEngine]]:
    """Three replicas that are up. The provider is here for how it has litellm's clients opened."""
    del running_provider
    with ExitStack() as stack:
        yield [stack.enter_context(FakeEngine(text=f"from {each}")) for each in "abc"]


@pytest.fixture(scope="session")
def asker() -> Iterator[Asker]:
    """Another process that runs steps as sync functions."""
    asker = Asker("sync")
    yield asker
    asker.close()
