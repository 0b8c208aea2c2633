"""Tables in a terminal: names stay readable, and what has no room is named below."""

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tierflow.tables import LEAST_KEY, Column, key, number, table

NUMBERS = [number("calls"), number("cached", 2), number("unpriced", 1, "without a price")]


def shown(width: int, *rows: tuple[str, ...]) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table([key("step"), *NUMBERS], rows, width, caption="USD."))
    return captured.get()


def test_a_wide_terminal_shows_all() -> None:
    said = shown(120, ("sort the tickets of all shops", "12", "3,456", "0"))
    for text in ("sort the tickets of all shops", "cached", "unpriced: without a price.", "USD."):
        assert text in said
    assert "No room" not in said


def test_what_a_narrow_one_has_no_room_for_is_named_and_its_note_is_not() -> None:
    said = shown(42, ("a-name-of-16-let", "12", "3,456", "0"))
    assert "a-name-of-16-let" in said
    assert "No room for: cached." in " ".join(said.split())
    said = shown(32, ("a-name-of-16-let", "12", "3,456", "0"))
    assert "No room for: cached, unpriced." in " ".join(said.split())
    assert "without a price" not in said


def test_a_name_is_no_markup_where_it_is_escaped_and_a_colour_takes_no_room() -> None:
    said = shown(80, ("\\[red]step", "[red]12[/]", "1", "0"))
    assert "[red]step" in said
    assert "[/]" not in said


def test_a_line_is_drawn_where_a_row_is_none() -> None:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(table([key("step"), number("n")], [("one", "1"), None, ("total", "1")], 80))
    assert "├" in captured.get()


@given(
    name=st.text("ab", min_size=1, max_size=60),
    cells=st.lists(st.integers(0, 10**12), min_size=1, max_size=8),
    width=st.integers(24, 200),
)
def test_a_name_keeps_its_least_width_and_no_line_is_longer_than_the_terminal(
    name: str, cells: list[int], width: int
) -> None:
    columns = [key("name"), *(number(f"n{at}", at + 1) for at in range(len(cells)))]
    console = Console(width=width)
    made = table(columns, [(name, *map(str, cells))], width)
    with console.capture() as captured:
        console.print(made)
    said = captured.get()
    assert name[:LEAST_KEY] in said
    assert all(len(line) <= width for line in said.splitlines())
    assert "…" not in said
    left_out = len(columns) - len(made.columns)
    assert ("No room for" in " ".join(said.split())) == (left_out > 0)


def test_a_column_without_spare_stays_even_where_it_is_cut() -> None:
    made = table([key("name"), Column("value")], [("a" * 16, "b" * 40)], 30)
    assert len(made.columns) == 2


@given(names=st.lists(st.text("ab", min_size=1, max_size=60), min_size=3, max_size=3))
def test_several_columns_that_fold_share_the_room_and_none_is_cut(names: list[str]) -> None:
    columns = [key("tier"), key("model"), Column("load", folds=8), number("$")]
    console = Console(width=60)
    with console.capture() as captured:
        console.print(table(columns, [(*names, "1")], 60))
    lines = captured.get().rstrip().splitlines()
    assert {line[-1] for line in lines} <= set("┓┃┩│┘")
