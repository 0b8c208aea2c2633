"""Files: a folder of prompts, `<name>/<version>.toml`, and `<name>/aliases.toml` beside them.

Read anew each time, so an edited file counts at once. Writes nothing.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import PromptError
from .text import PromptText

ALIASES = "aliases.toml"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_DIGITS = re.compile(r"(\d+)")


def check_name(name: str, kind: str) -> None:
    """Refuse what is no name of a prompt, version or alias. Raises PromptError."""
    if not _NAME.fullmatch(name):
        raise PromptError(
            f"{name!r:.60} is no name of {kind}. Use letters, digits, _, . and -, such as "
            "triage, v2 or production."
        )


def in_order(versions: Sequence[str]) -> list[str]:
    """Return versions sorted as people count: v2 before v10."""

    def parts(version: str) -> list[tuple[int, str]]:
        return [
            (int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(version)
        ]

    return sorted(versions, key=parts)


class PromptFiles:
    """The prompts in a folder, which need not be there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> Sequence[str]:
        """Return the names of the prompts, sorted."""
        found = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        return [path.name for path in found if path.is_dir() and self.versions(path.name)]

    def versions(self, name: str) -> Sequence[str]:
        """Return the versions of a prompt, in order."""
        found = (self.folder / name).glob("*.toml")
        return in_order([path.stem for path in found if path.name != ALIASES])

    def text(self, name: str, version: str) -> PromptText | None:
        """Return what a version says, None without its file. Raises PromptError."""
        path = self.path(name, version)
        found = _read(path)
        return None if found is None else PromptText.from_toml(found, str(path))

    def aliases(self, name: str) -> Mapping[str, str]:
        """Return a prompt's aliases and the versions they stand for. Raises PromptError."""
        path = self.folder / name / ALIASES
        try:
            aliases = tomllib.loads(_read(path) or "")
        except tomllib.TOMLDecodeError as exc:
            raise PromptError(f"{path} is not valid TOML: {exc}. Correct that line.") from exc
        for alias, version in aliases.items():
            check_name(alias, "an alias")
            if not isinstance(version, str) or not _NAME.fullmatch(version):
                raise PromptError(f'{path}: {alias} names no version. Write {alias} = "v1".')
            if self.path(name, alias).exists():
                raise PromptError(
                    f"{path}: {alias} is also a version of {name!r}. Give the alias another name."
                )
        return aliases

    def path(self, name: str, version: str) -> Path:
        """Return where a version's file would be."""
        return self.folder / name / f"{version}.toml"


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise PromptError(
            f"{path} cannot be read: {exc.strerror}. Correct the file's rights."
        ) from exc
    except UnicodeDecodeError:
        # Its own words would quote the prompt's bytes.
        raise PromptError(f"{path} is not valid UTF-8. Save it as UTF-8.") from None
