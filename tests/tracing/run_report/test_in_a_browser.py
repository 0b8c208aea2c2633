"""The page in headless Chromium: it loads nothing, and can be read in both modes at any size."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.screens import ground_of, needs_browser, open_browser, unreadable_texts
from tierflow.tracing.pictures import DARK, GROUND
from tierflow.tracing.run_report import Run, page

from .runs import call, row, run

pytestmark = needs_browser

LONG = "a-step-with-a-name-that-goes-on-and-on"


def short_run() -> Run:
    rows = [
        row("one", 0, 4, step="classify", tier="frontier", escalations=1, passed_by="mine: 0.4"),
        row("two", 4, 4, step="classify", cache="exact"),
        row("three", 4, 9, step=LONG, outcome="AllDeploymentsFailedError", cost_usd=None),
    ]
    calls = [
        call("one", 0, 1),
        call("one", 1, 1.5, role="judge", tier="standard"),
        call("one", 1.5, 4, tier="frontier"),
        call("three", 4, 8, outcome="AttemptTimeoutError"),
        call("three", 4, 9, outcome="ProviderDownError"),
    ]
    return run(rows, calls, classify=(0.87, 1200))


def long_run() -> Run:
    names = ["triage", "urgency", LONG, *(f"step {n}" for n in range(30))]
    rows = [
        row(
            f"{n}",
            n / 10,
            n / 10 + 2 + n % 7,
            step=names[n % len(names)],
            cache="exact" if n % 9 == 0 else "miss",
            cost_usd=n * 1e-4,
            strongest_usd=n * 1e-3,
        )
        for n in range(1000)
    ]
    roles = ["answer", "repair", "judge", "shadow"]
    tiers = ["fast", "standard", "frontier", "specialist.legal"]
    outcomes = ["ok"] * 12 + ["RateLimitedError"]
    calls = [
        call(
            f"{n}",
            n / 10,
            n / 10 + 2,
            role=roles[n % 4],
            tier=tiers[n % 3 + n % 2],
            outcome=outcomes[n % 13],
        )
        for n in range(1000)
    ]
    return run(rows, calls)


@pytest.fixture(scope="module", params=["light", "dark"])
def browser(request: pytest.FixtureRequest) -> Iterator[Any]:
    with open_browser(request.param) as opened:
        opened.mode = request.param
        yield opened


@pytest.mark.parametrize("width", [1280, 800])
@pytest.mark.parametrize("made", [short_run, long_run], ids=["short", "long"])
def test_a_page_can_be_read(browser: Any, tmp_path: Path, made: Any, width: int) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(made()), encoding="utf-8")
    browser.set_window_size(width, 1000)
    browser.get(file.as_uri())

    assert unreadable_texts(browser) == []
    scrolls = "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not browser.execute_script(scrolls)
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    expected = GROUND if browser.mode == "light" else DARK[GROUND]
    assert ground == rgb(expected)
    pictures = browser.find_elements("css selector", "svg")
    assert [ground_of(each) for each in pictures] == [expected] * 2
    assert browser.execute_script("return performance.getEntriesByType('resource')") == []
    assert browser.get_log("browser") == []


def rgb(colour: str) -> str:
    parts = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgb({', '.join(map(str, parts))})"


def test_every_step_is_behind_a_click(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(long_run()), encoding="utf-8")
    browser.get(file.as_uri())
    (rows,) = browser.find_elements("css selector", "details tbody")

    assert not rows.is_displayed()
    browser.find_element("css selector", "summary").click()
    assert rows.is_displayed()
    assert len(rows.find_elements("css selector", "tr")) == 1000
