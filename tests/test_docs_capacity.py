"""docs/capacity.md: what it tells one to type is there."""

import re
import shlex
from pathlib import Path

import click
import pytest

from tierflow.cli import cli

PAGE = Path(__file__).parents[1] / "docs" / "capacity.md"
BLOCKS = re.findall(
    r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)
COMMANDS = [
    line
    for line in "".join(BLOCKS).replace("\\\n", " ").splitlines()
    if line.startswith("tierflow")
]


def test_the_page_shows_both_commands() -> None:
    assert {tuple(shlex.split(each)[1:3]) for each in COMMANDS} == {
        ("serving", "fit"),
        ("serving", "plan"),
    }


@pytest.mark.parametrize("line", COMMANDS)
def test_every_option_of_the_page_is_one(line: str) -> None:
    _, group, name, *words = shlex.split(line)
    shown = cli.commands[group]
    assert isinstance(shown, click.Group)
    known = {option for each in shown.commands[name].params for option in each.opts}
    assert {word for word in words if word.startswith("--")} <= known
