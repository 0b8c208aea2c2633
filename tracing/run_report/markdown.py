"""Markdown: a report as the Prefect UI shows it, and a terminal can."""

from collections.abc import Iterator

from ...markdown import literal
from .contents import Contents, Section, Table


def markdown(contents: Contents, *, pictures: bool = True) -> str:
    """Return a report as Markdown. `pictures`: within it, as `data:` URIs."""
    return "\n".join(_lines(contents, pictures=pictures))


def _lines(contents: Contents, *, pictures: bool) -> Iterator[str]:
    yield from (f"# {literal(contents.title)}", "", literal(contents.headline), "")
    yield from (f"Began {contents.began}. Flow run `{contents.flow_run_id}`.", "")
    for section in contents.sections:
        yield from _section(section, pictures=pictures)


def _section(section: Section, *, pictures: bool) -> Iterator[str]:
    has_picture = pictures and section.picture is not None
    if not has_picture and section.table is None:
        return
    yield from (f"## {section.title}", "")
    if has_picture and section.picture is not None:
        yield from (f"![{literal(section.picture.title)}]({section.picture.data_uri})", "")
        if section.note:
            yield from (section.note, "")
    if section.table is not None:
        yield from _table(section.table)


def _table(table: Table) -> Iterator[str]:
    rules = ["---:" if at in table.numbers else "---" for at in range(len(table.columns))]
    yield f"| {' | '.join(table.columns)} |"
    yield f"| {' | '.join(rules)} |"
    for row in table.rows:
        yield f"| {' | '.join(literal(cell) for cell in row)} |"
    yield ""
    if table.rest:
        yield from (table.rest, "")
