"""Pictures: the same bytes for the same figure, and legible on a light and on a dark page."""

import base64
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tierflow.tracing.pictures import (
    GROUND,
    INK,
    MAIN,
    OTHER,
    QUIET,
    THIRD,
    data_uri,
    dress,
    new_figure,
)

HEAD = "data:image/svg+xml;base64,"
PROGRAM = """
import hashlib, sys
from tests.tracing.test_pictures import drawn
print(hashlib.sha256(drawn().encode()).hexdigest(), "matplotlib.pyplot" in sys.modules)
"""


def drawn() -> str:
    """A figure of a line and a point, as the text of its SVG."""
    figure = new_figure(400, 300)
    axes = figure.subplots()
    dress(axes, x="time, s", y="cost, USD")
    axes.plot([0, 1], [0, 1], color=MAIN)
    axes.plot([0.5], [0.2], "o", color=OTHER, clip_on=True, label="one & only")
    axes.legend(frameon=False, labelcolor=INK)
    uri = data_uri(figure)
    assert uri.startswith(HEAD)
    return base64.b64decode(uri.removeprefix(HEAD)).decode()


def modes(svg: str) -> list[dict[str, str]]:
    """The colours by their variable, in the light mode and in the dark one."""
    light, dark = re.findall(r":root\{([^}]*)\}", svg)
    return [dict(re.findall(r"(--\w+):(#\w+)", each)) for each in (light, dark)]


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_a_picture_is_an_image_of_its_size_with_its_texts() -> None:
    root = ET.fromstring(drawn())

    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert (root.get("width"), root.get("height")) == ("300pt", "225pt")
    texts = {each.text for each in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"time, s", "cost, USD", "one & only"} <= texts


def test_every_colour_follows_the_pages_mode() -> None:
    svg = drawn()
    styles, shapes = svg[: svg.index("</style>")], svg[svg.index("</style>") :]
    light, dark = modes(styles)

    assert light.keys() == dark.keys()
    assert set(re.findall(r"var\((--\w+)\)", shapes)) <= light.keys()
    assert not re.findall(r"#[0-9a-f]{6}\b", shapes)
    assert "prefers-color-scheme:dark" in styles


@pytest.mark.parametrize(
    ("colour", "least"), [(INK, 7.0), (QUIET, 4.5), (MAIN, 4.5), (OTHER, 3.0), (THIRD, 3.0)]
)
def test_what_is_said_stands_out_from_the_ground_in_both_modes(colour: str, least: float) -> None:
    for mode in modes(drawn()):
        assert contrast(mode[f"--{colour[1:]}"], mode[f"--{GROUND[1:]}"]) >= least


def test_the_same_figure_is_the_same_bytes_in_every_process_and_never_through_pyplot() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in "12"
    }

    assert len(said) == 1
    assert said.pop().split()[1] == "False"


def test_threads_that_draw_at_once_draw_the_same() -> None:
    with ThreadPoolExecutor(4) as threads:
        drawing = [threads.submit(drawn) for _ in range(8)]
        assert len({each.result() for each in drawing}) == 1


def test_the_processs_own_settings_stay() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    drawn()
    assert dict(mpl.rcParams) == before
