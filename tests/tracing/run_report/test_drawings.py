"""Drawings: well-formed whatever the names are, inside their frame, legible in both modes."""

import base64
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.tracing.run_report.runs import call, row, run, runs
from tests.tracing.test_pictures import contrast, modes
from tierflow.tracing.pictures import GROUND, WASH
from tierflow.tracing.run_report import Run
from tierflow.tracing.run_report.figures import figures_of
from tierflow.tracing.run_report.kinds import COLOURS, DARK_COLOURS, Kind
from tierflow.tracing.run_report.step_picture import step_picture
from tierflow.tracing.run_report.svg import Picture, fitted, width_of
from tierflow.tracing.run_report.waterfall_picture import note, waterfall_picture

SVG = "{http://www.w3.org/2000/svg}"
HEAD = "data:image/svg+xml;base64,"


def drawn(picture: Picture) -> str:
    """The picture's own text."""
    assert picture.data_uri.startswith(HEAD)
    return base64.b64decode(picture.data_uri.removeprefix(HEAD)).decode()


def both(found: Run, width: float = 672) -> list[Picture]:
    return [waterfall_picture(found, width), step_picture(figures_of(found)[0], width)]


def texts(picture: Picture) -> list[str]:
    return [each.text or "" for each in ET.fromstring(drawn(picture)).iter(f"{SVG}text")]


@given(runs(most=60), st.sampled_from([672, 1040]))
@example(run([row("one", 0, 1), row("two", 0, 1e-300)]), 672)
def test_every_shape_lies_inside_the_frame(found: Run, width: float) -> None:
    for picture in both(found, width):
        root = ET.fromstring(drawn(picture))
        assert (float(root.get("width", 0)), picture.width) == (width, width)
        for shape in root.iter(f"{SVG}rect"):
            x, y, w, h = (float(shape.get(side, 0)) for side in ("x", "y", "width", "height"))
            assert x >= 0
            assert y >= 0
            assert w >= 0
            assert h >= 0
            assert x + w <= picture.width + 0.1
            assert y + h <= picture.height + 0.1
        for path in root.iter(f"{SVG}path"):
            for x, y, w, h in re.findall(
                r"M([\d.]+) ([\d.]+)h([\d.]+)v([\d.]+)", path.get("d", "")
            ):
                assert float(x) + float(w) <= picture.width
                assert float(y) + float(h) <= picture.height


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_name_breaks_a_picture(step: str, error: str) -> None:
    rows = [row("one", 0, 1, step=step), row("two", 0, 1, step=step, outcome=error)]

    for found in (run(rows), run(rows * 30)):
        for picture in both(found):
            root = ET.fromstring(drawn(picture))
            assert {each.tag.removeprefix(SVG) for each in root.iter()} <= {
                *("svg", "style", "rect", "path", "text", "line", "circle", "title"),
            }
            ET.fromstring(picture.svg)


def test_a_short_run_has_a_line_for_each_step_with_what_it_took() -> None:
    rows = [
        row("one", 0, 1.234, step="classify", cost_usd=0.0123),
        row("two", 2, 2, step="draft", cache="exact"),
        row("three", 3, 4, step="digest", outcome="UnparseableReplyError"),
        row("four", 4, 5, step="free", cost_usd=None),
    ]

    said = texts(waterfall_picture(run(rows, [call("one", 0, 1)]), 672))

    for each in ("classify", "1.23 s · $0.0123", "exact hit", "1.00 s · no price", "answer: fast"):
        assert each in said
    assert any(each.startswith("Unparseable") for each in said)
    assert "A line is a step" in note(run(rows))


def test_a_long_run_has_a_band_for_each_name_and_says_so() -> None:
    rows = [row(f"{n}", n, n + 4, step="draft" if n % 2 else "triage") for n in range(1000)]
    found = run(rows, [call(f"{n}", n, n + 4) for n in range(1000)])

    picture = waterfall_picture(found, 672)

    assert {"triage", "draft", "500", "up to 2.0 at once"} <= set(texts(picture))
    assert len(drawn(picture)) < 40_000
    assert "1,000 steps, too many to draw one by one" in note(found)


def test_what_is_longer_than_its_place_is_cut() -> None:
    name = "a-step-with-a-name-that-goes-on-and-on"

    for picture in both(run([row("one", 0, 1, step=name)])):
        (shown,) = (each for each in texts(picture) if each.startswith("a-step"))
        assert shown.endswith("…")


@given(st.text(), st.floats(20, 200))
def test_a_fitted_text_is_no_wider_than_its_place(said: str, width: float) -> None:
    found = fitted(said, width)

    assert width_of(found) <= width or found == "…"
    assert found == said or said.startswith(found.removesuffix("…"))


def test_quality_is_drawn_where_there_is_any() -> None:
    rows = [row("one", 0, 1, step="a"), row("two", 0, 1, step="b")]

    with_scores = texts(step_picture(figures_of(run(rows, a=(0.87, 12)))[0], 672))
    without = texts(step_picture(figures_of(run(rows))[0], 672))

    assert {"quality, 0 to 1", "0.87 of 12", "not scored"} <= set(with_scores)
    assert "quality, 0 to 1" not in without


@pytest.mark.parametrize("kind", COLOURS)
def test_every_kind_of_call_stands_out_from_the_ground_in_both_modes(kind: Kind) -> None:
    colour = COLOURS[kind]
    assert contrast(colour, GROUND) >= 3
    assert contrast(DARK_COLOURS[colour], DARK_COLOURS[GROUND]) >= 3


def test_every_colour_of_a_picture_follows_the_pages_mode() -> None:
    found = run([row("one", 0, 1)], [call("one", 0, 1)])
    for picture in both(found):
        svg = drawn(picture)
        styles, shapes = svg[: svg.index("</style>")], svg[svg.index("</style>") :]
        light, dark = modes(styles)
        assert light.keys() == dark.keys()
        assert set(re.findall(r"var\((--\w+)\)", shapes)) <= light.keys()
        assert not re.findall(r"#[0-9a-f]{6}\b", shapes)
        assert f"--{WASH[1:]}" in light
