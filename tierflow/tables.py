"""Ground: tables in a terminal. What does not fit beside the key is left out, and named."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

LEAST_KEY = 16
"""Letters of a name that stay in a line, however narrow the terminal is."""

_LINES = 1
"""Letters of a line between columns, and of the last one's edge."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `folds`: at so many letters it may go on in the next line; 0: it never does.

    `spare`: the column that goes first where the terminal is too narrow has the highest; one of 0
    stays. `right`: for numbers. `note`: what the heading means, said below the table.
    """

    heading: str
    right: bool = False
    folds: int = 0
    spare: int = 0
    note: str = ""


def key(heading: str) -> Column:
    """Return the column of names that rows are told apart by."""
    return Column(heading, folds=LEAST_KEY)


def number(heading: str, spare: int = 0, note: str = "") -> Column:
    """Return a column of numbers."""
    return Column(heading, right=True, spare=spare, note=note)


Rows = Sequence[Sequence[str] | None]
"""Cells in rich's markup, row by row; None draws a line."""


def print_table(
    columns: Sequence[Column], rows: Rows, *, title: str = "", caption: str = "", padding: int = 1
) -> None:
    """Print a table as wide as the terminal allows. See `table`."""
    console = Console()
    console.print(
        table(columns, rows, console.width, title=title, caption=caption, padding=padding)
    )


def table(
    columns: Sequence[Column],
    rows: Rows,
    width: int,
    *,
    title: str = "",
    caption: str = "",
    padding: int = 1,
) -> Table:
    """Return a table of at most so many letters. What is left out stands in its caption.

    `padding`: letters on both sides of a cell.
    """
    cells = [row for row in rows if row is not None]
    longest = [_longest(each, [row[at] for row in cells]) for at, each in enumerate(columns)]
    least = [_least(each, longest[at]) for at, each in enumerate(columns)]
    beside = 2 * padding + _LINES
    kept = _kept(columns, [each + beside for each in least], width)
    room = width - _LINES - sum(least[at] + beside for at in kept)
    widths = _shared(room, [least[at] for at in kept], [longest[at] for at in kept])
    left_out = [each.heading for at, each in enumerate(columns) if at not in kept]
    found = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        padding=(0, padding),
    )
    for at, letters in zip(kept, widths, strict=True):
        each = columns[at]
        found.add_column(
            each.heading,
            justify="right" if each.right else "left",
            no_wrap=not each.folds,
            overflow="fold",
            width=letters,
        )
    for row in rows:
        if row is None:
            found.add_section()
        else:
            found.add_row(*(row[at] for at in kept))
    notes = [
        caption,
        *(f"{columns[at].heading}: {columns[at].note}." for at in kept if columns[at].note),
    ]
    if left_out:
        notes.append(f"No room for: {', '.join(left_out)}. A wider terminal or --json has them.")
    found.caption = "\n".join(filter(None, notes)) or None
    return found


def _longest(column: Column, cells: Sequence[str]) -> int:
    """Return how many letters a column's longest line has."""
    return max(Text.from_markup(each).cell_len for each in (column.heading, *cells))


def _least(column: Column, longest: int) -> int:
    """Return how many letters a column needs."""
    return min(longest, max(column.folds, len(column.heading))) if column.folds else longest


def _shared(room: int, least: Sequence[int], longest: Sequence[int]) -> list[int]:
    """Return widths from the least ones up, with the room that is left to whoever lacks most."""
    found = list(least)
    for _ in range(min(room, sum(longest) - sum(least))):
        found[max(range(len(found)), key=lambda at: longest[at] - found[at])] += 1
    return found


def _kept(columns: Sequence[Column], widths: Sequence[int], width: int) -> Sequence[int]:
    """Return which columns there is room for. `widths`: with the line before each."""
    kept = list(range(len(columns)))
    while sum(widths[at] for at in kept) + _LINES > width:
        spare = max(kept, key=lambda at: columns[at].spare)
        if not columns[spare].spare:
            # Better cut than without what it is about.
            break
        kept.remove(spare)
    return kept
