"""Pictures: figures for pages with a light and a dark mode, such as the Prefect UI's.

A picture goes into a page as a `data:` URI of an SVG image: into a Markdown artifact, because an
image artifact prints the whole URI beneath the picture. Its colours follow the page's mode where
the browser passes that on; where it does not, the picture has its own ground and stays legible.
matplotlib is loaded with the first picture, and never through pyplot: that keeps figures for ever.
"""

import base64
import io
import threading
from collections.abc import Mapping
from typing import Any, TypeAlias

Figure: TypeAlias = Any
Axes: TypeAlias = Any
"""matplotlib's own, whose types a strict checker finds half unknown."""

GROUND, INK, QUIET, PALE, LINES = "#fefefe", "#1e2329", "#5c6670", "#b4bcc6", "#e2e5e9"
"""Background, text, what is said in passing, bars behind it, and grid: of the light mode."""

MAIN, WASH, OTHER, THIRD = "#1d5fd6", "#e6eefc", "#c2410c", "#0f7b6c"
"""What the picture is about, a touch of it, what it is compared with, and a further one."""

DARK: Mapping[str, str] = {
    GROUND: "#1d1e22",
    INK: "#e8eaed",
    QUIET: "#a2abb5",
    PALE: "#59616c",
    LINES: "#383b42",
    MAIN: "#7cabff",
    WASH: "#25314a",
    OTHER: "#ff9d5c",
    THIRD: "#4fd1bd",
}
"""The colours of the dark mode, by those of the light one. Others stay what they are."""

SMALL, NORMAL = 9.0, 10.0
"""Sizes of text, in points."""

_PX_PER_INCH = 96
_ROUNDED_PX = 8.0
# matplotlib measures text in the font that it brings along, which is wider than these are.
FONTS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
_drawing = threading.Lock()


def new_figure(width_px: int, height_px: int) -> Figure:
    """Return an empty figure on a ground of its own, with rounded corners."""
    import matplotlib.figure as figures  # noqa: PLC0415  # slow to import
    from matplotlib.patches import FancyBboxPatch  # noqa: PLC0415  # slow to import

    width, height = width_px / _PX_PER_INCH, height_px / _PX_PER_INCH
    figure: Figure = figures.Figure((width, height), layout="constrained")
    figure.patch.set_visible(False)
    edge = 0.5 / _PX_PER_INCH
    card = FancyBboxPatch(
        (edge, edge),
        width - 2 * edge,
        height - 2 * edge,
        boxstyle=f"round,pad=0,rounding_size={_ROUNDED_PX / _PX_PER_INCH}",
        transform=figure.dpi_scale_trans,
        facecolor=GROUND,
        edgecolor=LINES,
        linewidth=0.75,
        zorder=-1,
    )
    figure.add_artist(card)
    figure.get_layout_engine().set(w_pad=0.16, h_pad=0.16)
    return figure


def dress(axes: Axes, *, x: str = "", y: str = "") -> None:
    """Give axes the look of all pictures: a quiet grid, no frame, and names with their units."""
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    axes.grid(color=LINES, linewidth=0.8)
    axes.tick_params(length=0, labelsize=SMALL, labelcolor=QUIET, pad=6)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel(x, fontsize=NORMAL, color=INK, labelpad=8)
    axes.set_ylabel(y, fontsize=NORMAL, color=INK, labelpad=8)


def data_uri(figure: Figure) -> str:
    """Return a figure as the `data:` URI of an SVG image: the same bytes for the same figure."""
    return f"data:image/svg+xml;base64,{base64.b64encode(_svg(figure).encode()).decode()}"


def _svg(figure: Figure) -> str:
    import matplotlib as mpl  # noqa: PLC0415  # slow to import
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415  # slow to import

    library: Any = mpl
    canvas: Any = FigureCanvasSVG(figure)
    written = io.BytesIO()
    # Ids come of a salt and metadata of the clock, unless they are told; and the settings that
    # tell them are the whole process's.
    unsigned: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    settings = {"svg.hashsalt": "tierflow", "svg.fonttype": "none", "svg.id": None}
    with _drawing, library.rc_context(settings):
        canvas.print_svg(written, metadata=unsigned)
    drawn = written.getvalue().decode()
    start = drawn.index("<svg")
    head = drawn.index(">", start) + 1
    return drawn[start:head] + styles() + _themed(drawn[head:])


def styles(dark: Mapping[str, str] = DARK) -> str:
    """Return the style of a picture whose colours are these, by those of the light mode."""
    light = ";".join(f"{_variable(colour)}:{colour}" for colour in dark)
    others = ";".join(f"{_variable(colour)}:{other}" for colour, other in dark.items())
    return (
        f"<style>:root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{others}}}}}"
        f"text{{font-family:{FONTS}!important}}</style>"
    )


def themed(colour: str) -> str:
    """Return a colour of the light mode as the one of the page's mode, in CSS."""
    return f"var({_variable(colour)})"


def _themed(drawn: str) -> str:
    for colour in DARK:
        drawn = drawn.replace(colour, themed(colour))
    return drawn


def _variable(colour: str) -> str:
    return f"--{colour[1:]}"
