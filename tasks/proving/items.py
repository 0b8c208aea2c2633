"""Items: labelled questions to a step, read from a file. Asks nothing."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ...errors import ConfigError, PromptError
from ...request import canonical_json
from ..spec import StepSpec

_FIELDS = ("label", "stratum")


@dataclass(frozen=True, slots=True)
class Item:
    """A question: the step's arguments by name. `stratum`: its kind, where the prompt names none.

    `label`: the right result as JSON data, None where the strongest tier's is to count as right.
    """

    arguments: Mapping[str, Any]
    label: Any = None
    stratum: str = "all"

    @property
    def key(self) -> str:
        """A hash of all of it."""
        whole = canonical_json([dict(self.arguments), self.label, self.stratum])
        return hashlib.sha256(whole.encode()).hexdigest()[:32]


def falls_below(share: float, key: str) -> bool:
    """Tell whether an item is one of that share of all, by its key alone: always the same ones."""
    return int(key[:8], 16) < share * 2**32


def label_text(spec: StepSpec[Any], item: Item) -> str:
    """Return an item's label as a reply that holds it. Raises ConfigError for another type's."""
    try:
        return spec.returns.write(item.label)
    except PromptError:
        raise ConfigError(
            f"A label does not fit the results of {spec.name}. Give values that it could return."
        ) from None


def read_items(path: Path) -> list[Item]:
    """Read items: a JSON object a line, the step's arguments by name, and `label`, `stratum`.

    Raises ConfigError that names the file and the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}. Give a file of JSON lines.") from exc
    return [_item(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]


def _item(line: str, where: str) -> Item:
    try:
        row: Any = json.loads(line)
    except json.JSONDecodeError as exc:
        raise ConfigError(f"{where} is no JSON: {exc}. Correct that line.") from exc
    if not isinstance(row, dict):
        raise ConfigError(f'{where} is no JSON object. Write {{"argument": ..., "label": ...}}.')
    known = cast("dict[str, Any]", row)
    stratum = known.get("stratum", "all")
    if not isinstance(stratum, str):
        raise ConfigError(f"{where} has the stratum {stratum!r:.60}, which is no text.")
    arguments = {name: value for name, value in known.items() if name not in _FIELDS}
    return Item(arguments, known.get("label"), stratum)
