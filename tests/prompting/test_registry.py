"""The registry: files and store together, a short memory, and what is said of wrong names."""

import logging
from pathlib import Path

import pytest

from tierflow.errors import PromptError, StoreError, UnknownPromptError
from tierflow.prompting import Registry
from tierflow.prompting.registry import FRESH_S

from .conftest import Write
from .words import NOW, Clock, break_store, mend_store, saying


@pytest.fixture
def triage(write: Write) -> None:
    """A prompt with two versions in files, and production at the first."""
    for version in ("v1", "v2"):
        write(f"triage/{version}", f'ask = "{version}: {{{{ticket}}}}"')
    write("triage/aliases", 'production = "v1"')


def move(registry: Registry, alias: str, to: str | None) -> None:
    registry.move("triage", alias, to, at=NOW, who="ada")


def ask_of(registry: Registry, reference: str = "production") -> str:
    return registry.find("triage", reference).prompt({"ticket": "Where?"}).ask


def test_an_alias_of_the_files_stands_until_the_store_says_otherwise(
    registry: Registry, triage: None, clock: Clock
) -> None:
    assert ask_of(registry) == "v1: Where?"
    assert ask_of(registry, "v2") == "v2: Where?"
    assert registry.aliases("triage")["production"].origin == "file"

    move(registry, "production", "v2")
    clock.seconds += FRESH_S
    assert ask_of(registry) == "v2: Where?"
    assert registry.aliases("triage")["production"].origin == "store"

    move(registry, "production", None)
    clock.seconds += FRESH_S
    assert ask_of(registry) == "v1: Where?"


def test_what_was_read_is_followed_for_two_seconds_and_no_longer(
    registry: Registry, triage: None, clock: Clock
) -> None:
    assert ask_of(registry) == "v1: Where?"
    move(registry, "production", "v2")
    clock.seconds += FRESH_S - 0.01
    assert ask_of(registry) == "v1: Where?"
    clock.seconds += 0.01
    assert ask_of(registry) == "v2: Where?"
    assert FRESH_S <= 10


def test_a_version_that_only_a_file_had_is_published_when_an_alias_is_moved_to_it(
    registry: Registry, triage: None, folder: Path
) -> None:
    move(registry, "candidate", "v2")
    move(registry, "production", "candidate")
    (folder / "triage" / "v2.toml").unlink()

    found = registry.look("triage", "production")
    assert (found.version, found.origin) == ("v2", "store")
    assert registry.versions("triage") == ["v1", "v2"]
    assert registry.names() == ["triage"]


def test_a_published_version_goes_over_a_file_that_was_edited(
    registry: Registry, triage: None, write: Write
) -> None:
    registry.publish("triage", "v1", at=NOW, who="ada")
    write("triage/v1", 'ask = "edited: {{ticket}}"')

    assert ask_of(registry) == "v1: Where?"
    with pytest.raises(PromptError, match="a version never changes"):
        registry.publish("triage", "v1", at=NOW, who="ada")


def test_while_the_store_is_out_what_was_known_goes_on(
    registry: Registry, triage: None, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    move(registry, "production", "v2")
    assert ask_of(registry) == "v2: Where?"
    store = registry.store
    break_store(store)  # type: ignore[arg-type]  # it is the SQL one

    with caplog.at_level(logging.WARNING, "tierflow"):
        for _ in range(3):
            clock.seconds += FRESH_S
            assert ask_of(registry) == "v2: Where?"

    (record,) = caplog.records
    assert "prompt store" in record.message
    assert "Prompt triage stays at v2" in record.message
    mend_store(store)  # type: ignore[arg-type]
    clock.seconds += FRESH_S
    assert ask_of(registry) == "v1: Where?"


def test_where_nothing_was_known_when_the_store_went_out_the_files_decide(
    registry: Registry, triage: None, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    move(registry, "production", "v2")
    break_store(registry.store)  # type: ignore[arg-type]

    with caplog.at_level(logging.WARNING, "tierflow"):
        assert ask_of(registry) == "v1: Where?"
    assert "Prompt triage stays at v1" in caplog.text

    with pytest.raises(StoreError):
        registry.find("digest", "production")
    with pytest.raises(StoreError):
        registry.look("triage", "production")


def test_a_file_that_became_wrong_is_an_error_until_it_is_mended(
    registry: Registry, triage: None, clock: Clock, write: Write
) -> None:
    assert ask_of(registry) == "v1: Where?"
    write("triage/v1", "ask =")
    clock.seconds += FRESH_S
    for _ in range(2):
        with pytest.raises(PromptError, match="is not valid TOML"):
            ask_of(registry)
    write("triage/v1", 'ask = "mended: {{ticket}}"')
    assert ask_of(registry) == "mended: Where?"


@pytest.mark.parametrize(
    ("name", "reference", "said"),
    [
        ("triag", "production", ["No prompt 'triag'.", "Did you mean 'triage'?", "triag/v1.toml"]),
        (
            "triage",
            "prodution",
            [
                "Prompt 'triage' has no version or alias 'prodution'.",
                "Versions: v1, v2; aliases: production.",
                "Did you mean 'production'?",
                "`tierflow prompt alias triage prodution VERSION`",
            ],
        ),
        ("triage", "v3", ["Versions: v1, v2;", "triage/v3.toml"]),
    ],
)
def test_an_unknown_name_is_named_with_the_nearest_and_the_remedy(
    registry: Registry, triage: None, name: str, reference: str, said: list[str]
) -> None:
    with pytest.raises(UnknownPromptError) as raised:
        registry.find(name, reference)
    assert all(each in str(raised.value) for each in said), raised.value


def test_an_alias_of_a_version_that_is_gone_says_where_it_stands(
    registry: Registry, triage: None, write: Write
) -> None:
    write("triage/aliases", 'production = "v3"')
    with pytest.raises(UnknownPromptError) as raised:
        registry.find("triage", "production")
    assert "The alias 'production' of prompt 'triage' stands for 'v3'" in str(raised.value)
    assert "in triage/aliases.toml" in str(raised.value)
    assert "tierflow prompt alias triage production VERSION" in str(raised.value)


@pytest.mark.parametrize("name", ["../triage", "a/b", "", "tri age", "a@b", "\x1b[2J"])
def test_what_is_no_name_is_refused_before_anything_is_read(registry: Registry, name: str) -> None:
    for use in (
        lambda: registry.find(name, "production"),
        lambda: registry.find("triage", name),
        lambda: registry.publish(name, "v1", at=NOW, who="ada"),
        lambda: registry.publish("triage", name, at=NOW, who="ada"),
        lambda: registry.move(name, "production", "v1", at=NOW, who="ada"),
        lambda: move(registry, name, "v1"),
    ):
        with pytest.raises(PromptError, match="is no name of"):
            use()


def test_an_alias_and_a_version_never_share_a_name(
    registry: Registry, triage: None, write: Write
) -> None:
    with pytest.raises(PromptError, match="'v2' is a version of prompt 'triage'"):
        move(registry, "v2", "v1")
    move(registry, "v3", "v1")
    write("triage/v3", 'ask = "a"')
    with pytest.raises(PromptError, match="'v3' is an alias of prompt 'triage'"):
        registry.publish("triage", "v3", at=NOW, who="ada")


def test_publishing_what_is_no_file_is_an_error(registry: Registry, triage: None) -> None:
    with pytest.raises(UnknownPromptError, match=r"v3\.toml\. Versions beside it: v1, v2\. Write"):
        registry.publish("triage", "v3", at=NOW, who="ada")
    with pytest.raises(UnknownPromptError):
        move(registry, "production", "v3")
    assert registry.store.history("triage") == []


def test_a_prompt_says_what_it_is_made_of(registry: Registry, write: Write) -> None:
    write(
        "triage/v1",
        'prefix = "Sort for {{shop}}."\nask = "{{ticket}}"\n'
        '[[examples]]\nask = "Money!"\nresult = "refund"',
    )
    found = registry.find("triage", "v1").prompt({"shop": "Acme", "ticket": 7})
    assert (found.prefix, found.ask) == ("Sort for Acme.", "7")
    assert found.examples == [("Money!", "refund")]
    content = registry.find("triage", "v1").text.hash
    assert found.prompt_id == ("triage", "v1", content)
    assert found.template == f"triage {content}"
    assert registry.find("triage", "v1").text != saying("{{ticket}}")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "The field 'ticket' of prompt triage@v1 has no value. Give ticket=..."),
        ({"tiket": "canary"}, "has no value. Give ticket=... instead of 'tiket'."),
        ({"ticket": ["canary"]}, "was given list. Give text or a number"),
        ({"ticket": None}, "was given NoneType"),
        ({"ticket": True}, "was given bool"),
    ],
)
def test_a_field_without_a_fit_value_is_named_without_any_value(
    registry: Registry, triage: None, given: dict[str, object], said: str
) -> None:
    with pytest.raises(PromptError) as raised:
        registry.find("triage", "v1").prompt(given)
    assert said in str(raised.value)
    assert "canary" not in str(raised.value)


def test_a_version_may_do_without_a_field_that_code_gives(registry: Registry, triage: None) -> None:
    found = registry.find("triage", "v1").prompt({"ticket": "Where?", "shop": ["Acme"]})
    assert found.ask == "v1: Where?"
