"""Rollout report: why a rollout stands where it does, as Markdown and as JSON."""

import base64
import json
import re
import xml.etree.ElementTree as ET

import pytest

from tierflow.rollouts import cost_per_task, error_rate, p95_latency, quality
from tierflow.rollouts.advancing import advance, shown
from tierflow.rollouts.controller import Judgement
from tierflow.rollouts.report import as_json, headline, markdown
from tierflow.rollouts.verbs import abort, pause, promote

from .filed import FiledRollouts
from .observed import NOW, STEP_S, a_rollout, begun, pairs, seen

ROLLOUT = a_rollout(
    guardrails=(error_rate(1.0), quality("helpful"), p95_latency()), signals=(cost_per_task(),)
)
NAME = ROLLOUT.name


def told(
    errors: tuple[float, float] = (0.02, 0.02), units: int = 6000
) -> tuple[str, FiledRollouts]:
    store = FiledRollouts()
    state = begun(ROLLOUT)
    assert store.put(state)
    store.observe(NAME, seen(state, units, errors=errors))
    found = advance(store, NAME, NOW + STEP_S)
    return markdown(found.after, found.judgement, store.history(NAME)), store


def rows(text: str, first: str) -> list[list[str]]:
    """The cells of the table whose heading begins so."""
    lines = text[text.index(f"| {first}") :].splitlines()
    found = [line.strip("| ").split(" | ") for line in lines]
    return found[2 : next((at for at, line in enumerate(lines) if not line), len(lines))]


def test_a_roll_back_says_what_was_harmed_and_by_how_much() -> None:
    text, _ = told(errors=(0.2, 0.02))
    assert text.startswith("# triage-v2: taken back, the baseline answers\n\nerror rate is harmed")
    assert re.search(r"error rate is harmed by \+0\.1\d+ \(\+0\.1\d* to \+0\.2\d*\)", text)
    first = rows(text, "metric")[0]
    assert first[:3] == ["error rate", "guardrail", "**harmed**"]


def test_a_harm_in_few_units_has_a_size_too() -> None:
    store = FiledRollouts()
    state = begun(ROLLOUT)
    assert store.put(state)
    store.observe(NAME, seen(state, 700, errors=(0.6, 0.02)))
    found = advance(store, NAME, NOW + 1)
    assert found.after.phase == "degraded"
    text = markdown(found.after, found.judgement)
    assert re.search(r"harmed by \+0\.[456]\d* \(too few units for bounds\)", text)
    assert "nan" not in text
    assert "inf" not in text


def test_every_metric_and_every_step_has_its_row() -> None:
    text, store = told()
    readings, steps = rows(text, "metric"), rows(text, "revision")
    assert [each[0] for each in readings] == [each.name for each in ROLLOUT.metrics]
    assert all(re.search(r"\(.+ to .+\)", each[3]) for each in readings)
    assert [each[0] for each in steps] == [
        str(each.revision) for each in reversed(store.history(NAME))
    ]
    assert steps[-1][-1] == "Started"


def test_its_picture_is_an_image_for_both_modes() -> None:
    (uri,) = re.findall(r"\(data:image/svg\+xml;base64,([^)]+)\)", told()[0])
    drawn = base64.b64decode(uri).decode()
    assert ET.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme:dark" in drawn
    for metric in ROLLOUT.metrics:
        assert metric.name in drawn


def test_a_shadow_has_rows_and_no_picture() -> None:
    rollout = a_rollout(steps=("shadow", 10))
    store = FiledRollouts()
    assert store.put(begun(rollout))
    for each in pairs(50, 0.0):
        store.pair(rollout.name, each)
    text = markdown(*shown(store, rollout.name, NOW))
    assert "in the shadow (step 1 of 2)" in text
    assert "data:image" not in text
    assert rows(text, "metric")[1][-2:] == ["50", "50"]


def test_a_paused_one_says_how_to_go_on() -> None:
    state = pause(ROLLOUT, begun(ROLLOUT), "me", NOW, "lunch")
    text = markdown(state, Judgement("hold", "It is paused"))
    assert "lunch." in text
    assert "`approve-rollout` with `rollout=triage-v2`" in text


def test_what_people_write_breaks_no_table() -> None:
    state = pause(ROLLOUT, begun(ROLLOUT), "me|you", NOW, "a | b\n<img src=x> [c](d)")
    text = markdown(state, Judgement("hold", ""), [state])
    assert "a \\| b &lt;img src=x&gt; \\[c\\](d)" in text
    assert rows(text, "revision")[0][5] == "me\\|you"


def test_one_that_waits_says_what_for() -> None:
    store = FiledRollouts()
    assert store.put(begun(ROLLOUT))
    text = markdown(*shown(store, NAME, NOW + 1))
    assert "Not decided yet: 0 of 100 units of the candidate were seen." in text


@pytest.mark.parametrize("units", [0, 50, 3000])
def test_its_json_is_json_however_little_was_seen(units: int) -> None:
    store = FiledRollouts()
    state = begun(ROLLOUT)
    assert store.put(state)
    store.observe(NAME, seen(state, units))
    found = as_json(*shown(store, NAME, NOW), store.history(NAME))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["phase"] == "progressing"
    assert {each["metric"] for each in found["readings"]} == {each.name for each in ROLLOUT.metrics}


def test_a_headline_says_where_it_stands() -> None:
    state = begun(ROLLOUT)
    assert headline(state) == "progressing, 10 % of units (step 1 of 3)"
    assert (
        headline(promote(ROLLOUT, state, "me", NOW, full=True))
        == "taken over, the candidate answers"
    )
    ended = abort(ROLLOUT, state, "me", NOW, "no")
    assert ended is not None
    assert headline(ended).startswith("taken back")
