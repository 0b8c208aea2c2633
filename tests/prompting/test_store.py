"""The prompt store: published versions that never change, and aliases with their history."""

import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tierflow.errors import PromptError, StoreError
from tierflow.prompting import Move, PromptText
from tierflow.prompting.sql_store import SqlPrompts

from .test_text import prompts
from .words import NOW, saying


def publish(store: SqlPrompts, version: str, text: PromptText, name: str = "triage") -> bool:
    return store.publish(name, version, text, at=NOW, who="ada")


def test_nothing_is_known_at_first(store: SqlPrompts) -> None:
    assert store.names() == []
    assert store.versions("triage") == []
    assert store.text("triage", "v1") is None
    assert store.aliases("triage") == {}
    assert store.history("triage") == []


def test_a_look_makes_no_file(path: Path) -> None:
    store = SqlPrompts(path)
    store.aliases("triage")
    store.text("triage", "v1")
    assert not path.parent.exists()


def test_a_published_version_is_there_after_closing(store: SqlPrompts) -> None:
    assert publish(store, "v10", saying("ten"))
    assert publish(store, "v2", saying("two"))
    assert publish(store, "v2", saying("another"), name="digest")
    store.close()
    store.close()

    assert store.text("triage", "v2") == saying("two")
    assert store.text("digest", "v2") == saying("another")
    assert store.text("digest", "v10") is None
    assert store.versions("triage") == ["v2", "v10"]
    assert store.names() == ["digest", "triage"]


def test_a_version_never_changes(store: SqlPrompts) -> None:
    assert publish(store, "v1", saying("one"))
    assert not publish(store, "v1", saying(" one\n"))

    with pytest.raises(PromptError) as raised:
        publish(store, "v1", saying("canary"))

    said = str(raised.value)
    assert said.startswith("Version 'v1' of prompt 'triage' was published with another content")
    assert all(each.hash[:12] in said for each in (saying("one"), saying("canary")))
    assert "Give the new content a new version." in said
    assert store.text("triage", "v1") == saying("one")


def test_the_last_move_of_an_alias_counts_and_all_are_history(store: SqlPrompts) -> None:
    moves = [
        Move("production", "v1", NOW, "ada"),
        Move("candidate", "v2", NOW + 1, "bob"),
        Move("production", "v2", NOW, "ada", "better"),
    ]
    for move in moves:
        store.move("triage", move)
    store.move("digest", Move("production", "v9", NOW, "eve"))

    assert store.aliases("triage") == {"production": "v2", "candidate": "v2"}
    assert store.history("triage") == moves
    assert store.names() == ["digest", "triage"]


def test_an_alias_can_be_given_back_to_the_files_and_taken_again(store: SqlPrompts) -> None:
    store.move("triage", Move("production", "v1", NOW, "ada"))
    store.move("triage", Move("production", None, NOW, "bob"))
    assert store.aliases("triage") == {}
    store.move("triage", Move("production", "v2", NOW, "ada"))
    assert store.aliases("triage") == {"production": "v2"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(prompt=prompts, number=st.integers(0, 10**9))
def test_every_prompt_survives_the_store(
    store: SqlPrompts, prompt: PromptText, number: int
) -> None:
    version = f"{number}-{prompt.hash}"
    publish(store, version, prompt)
    found = store.text("triage", version)
    assert found is not None
    assert (found, found.hash) == (prompt, prompt.hash)


@pytest.mark.parametrize("body", ["no toml", 'ask = "another"', "ask = 3"])
def test_a_version_that_was_changed_in_the_store_is_an_error(store: SqlPrompts, body: str) -> None:
    publish(store, "v1", saying("one"))
    inside: Any = store
    with inside._database.connection() as connection:
        connection.execute(sa.update(inside._versions).values(body=body))

    with pytest.raises(StoreError, match="Publish its content as a new version") as raised:
        store.text("triage", "v1")
    assert body not in str(raised.value)


def test_a_damaged_file_is_named_with_what_to_do(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match=r"prompts\.db cannot be used: file is not a database"):
        SqlPrompts(path).aliases("triage")


def publish_many(place: Path | SecretStr, whose: str, together: threading.Barrier) -> int:
    """Publish as a worker of its own would, in a store that nobody has opened yet."""
    store, refused = SqlPrompts(place), 0
    together.wait()
    for number in range(10):
        try:
            publish(store, f"v{number}", saying(whose))
        except PromptError:
            refused += 1
        store.move("triage", Move("production", f"v{number}", NOW, whose))
    store.close()
    return refused


def test_of_processes_that_publish_one_version_together_one_wins(
    store: SqlPrompts, place: Path | SecretStr
) -> None:
    spawn = multiprocessing.get_context("spawn")
    with spawn.Manager() as manager, ProcessPoolExecutor(2, mp_context=spawn) as pool:
        together = manager.Barrier(2)
        ending = [pool.submit(publish_many, place, whose, together) for whose in "ab"]
        assert sum(each.result() for each in ending) == 10

    assert len(store.history("triage")) == 20
    assert store.aliases("triage") == {"production": "v9"}
