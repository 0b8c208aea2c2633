"""A folder of prompts: versions, aliases, and what is said of files that cannot be read."""

from pathlib import Path

import pytest

from tierflow.errors import PromptError
from tierflow.prompting import PromptFiles

from .conftest import Write
from .words import saying


@pytest.fixture
def files(folder: Path) -> PromptFiles:
    return PromptFiles(folder)


def test_a_folder_that_is_not_there_has_no_prompts(files: PromptFiles) -> None:
    assert files.names() == []
    assert files.versions("triage") == []
    assert files.text("triage", "v1") is None
    assert files.aliases("triage") == {}


def test_versions_come_as_people_count_and_aliases_are_none(
    files: PromptFiles, write: Write
) -> None:
    for version in ("v10", "v2", "v1", "2026-01-02", "draft", "v1.1"):
        write(f"triage/{version}", 'ask = "a"')
    write("triage/aliases", 'production = "v2"')
    write("digest/aliases", 'production = "v2"')
    (files.folder / "README.md").write_text("These are prompts.")

    assert files.names() == ["triage"]
    assert files.versions("triage") == ["2026-01-02", "draft", "v1", "v1.1", "v2", "v10"]
    assert files.aliases("triage") == {"production": "v2"}


def test_an_edited_file_counts_at_once(files: PromptFiles, write: Write) -> None:
    write("triage/v1", 'ask = "a"')
    assert files.text("triage", "v1") == saying("a")
    write("triage/v1", 'ask = "b"')
    assert files.text("triage", "v1") == saying("b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("production = ", "is not valid TOML"),
        ("production = 2", 'production names no version. Write production = "v1".'),
        ('production = "../v1"', 'production names no version. Write production = "v1".'),
        ('"my alias" = "v1"', "'my alias' is no name of an alias"),
        ('v1 = "v1"', "v1 is also a version of 'triage'"),
    ],
)
def test_wrong_aliases_are_named_with_the_remedy(
    files: PromptFiles, write: Write, text: str, said: str
) -> None:
    write("triage/v1", 'ask = "a"')
    write("triage/aliases", text)
    with pytest.raises(PromptError) as raised:
        files.aliases("triage")
    assert said in str(raised.value)


def test_a_file_that_is_no_text_is_named(files: PromptFiles, write: Write) -> None:
    write("triage/v1", "").write_bytes(b'ask = "\xff"')
    with pytest.raises(PromptError, match=r"v1\.toml is not valid UTF-8"):
        files.text("triage", "v1")
    write("triage/v2", "").unlink()
    (files.folder / "triage" / "v2.toml").mkdir()
    with pytest.raises(PromptError, match=r"v2\.toml cannot be read: Is a directory"):
        files.text("triage", "v2")
