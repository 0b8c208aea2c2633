"""Page: a report as one HTML file that needs no other, no script and no network."""

from collections.abc import Iterator, Sequence
from html import escape

from ..pictures import FONTS, GROUND, INK, LINES, MAIN, QUIET, WASH, themed
from ..report import usd
from .contents import Contents, Section, Table, contents_of, every_step
from .run import Run
from .svg import styles

WIDTH_PX = 1040
_LEAST_PX = 880
"""Of a picture: its texts are too small below that. A smaller window scrolls it."""

_STYLE = f"""
:root{{color-scheme:light dark}}
body{{margin:0;background:{themed(GROUND)};color:{themed(INK)};font:15px/1.5 {FONTS}}}
main{{max-width:{WIDTH_PX}px;margin:0 auto;padding:32px 24px 64px}}
h1{{font-size:26px;margin:0}}
h2{{font-size:18px;margin:40px 0 12px}}
p{{margin:8px 0;color:{themed(QUIET)}}}
code{{font-size:13px}}
svg{{display:block;width:100%;min-width:{_LEAST_PX}px;height:auto}}
dl{{display:grid;grid-template-columns:repeat(auto-fit,minmax(112px,1fr));gap:8px;margin:24px 0 0}}
dl div{{padding:10px 12px;border:1px solid {themed(LINES)};border-radius:8px}}
dt{{font-size:12px;color:{themed(QUIET)}}}
dd{{margin:0;font-size:20px;font-weight:600;font-variant-numeric:tabular-nums}}
.wide{{overflow-x:auto;margin-top:16px}}
table{{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}}
th,td{{padding:5px 0 5px 14px;text-align:left;border-bottom:1px solid {themed(LINES)}}}
th:first-child,td:first-child{{padding-left:0}}
th{{color:{themed(QUIET)};font-weight:600;white-space:nowrap}}
td{{overflow-wrap:break-word;max-width:360px}}
.n{{text-align:right;white-space:nowrap}}
tbody tr:hover{{background:{themed(WASH)}}}
summary{{cursor:pointer;color:{themed(MAIN)};margin-top:40px}}
"""


def page(run: Run) -> str:
    """Return a report as HTML, with a table of every step. It follows the reader's mode."""
    return "\n".join(_page(contents_of(run, WIDTH_PX), every_step(run)))


def _page(contents: Contents, steps: Table) -> Iterator[str]:
    title = escape(f"{contents.title}: run report")
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    # Nothing is to be loaded or run, whatever a name in the tables may look like.
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield f"<title>{title}</title>\n{styles()}\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>"
    yield f"<h1>{escape(contents.title)}</h1>"
    flow_run = escape(contents.flow_run_id)
    yield f"<p>Began {contents.began}. Flow run <code>{flow_run}</code>.</p>"
    yield f"<p>{escape(contents.headline)}</p>"
    yield from _tiles(contents)
    for section in contents.sections:
        yield from _section(section)
    yield f"<details><summary>All {len(steps.rows):,} steps</summary>"
    yield from _table(steps)
    yield "</details>\n</main>\n</body>\n</html>\n"


def _tiles(contents: Contents) -> Iterator[str]:
    total, one = contents.total, contents.total.summary
    tiles = {
        "calls": f"{one.calls:,}",
        "cache hits": f"{one.exact_hits + one.similar_hits:,}",
        "cost": usd(one.cost_usd),
        "if strongest": "unknown" if one.strongest_usd is None else usd(one.strongest_usd),
        "unpriced": f"{one.unpriced:,}",
        "escalated": f"{total.escalated:,}",
        "failed over": f"{total.failed_over:,}",
        "failed": f"{one.failed_steps:,}",
    }
    if total.score is not None:
        tiles["mean quality"] = f"{total.score[0]:.2f}"
    yield "<dl>"
    for name, value in tiles.items():
        yield f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
    yield "</dl>"


def _section(section: Section) -> Iterator[str]:
    yield f"<h2>{escape(section.title)}</h2>"
    if section.picture is not None:
        yield f'<div class="wide">{section.picture.svg}</div>'
    if section.note:
        yield f"<p>{escape(section.note)}</p>"
    if section.table is not None:
        yield from _table(section.table)


def _table(table: Table) -> Iterator[str]:
    yield '<div class="wide"><table><thead><tr>'
    yield _cells("th", table.columns, table.numbers)
    yield "</tr></thead><tbody>"
    for row in table.rows:
        yield f"<tr>{_cells('td', row, table.numbers)}</tr>"
    yield "</tbody></table></div>"
    if table.rest:
        yield f"<p>{escape(table.rest)}</p>"


def _cells(tag: str, cells: Sequence[str], numbers: frozenset[int]) -> str:
    return "".join(
        f"<{tag}{' class=n' if at in numbers else ''}>{escape(cell)}</{tag}>"
        for at, cell in enumerate(cells)
    )
