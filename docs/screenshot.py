"""Take the README's pictures: a flow run's task runs, cost table and report in the Prefect UI.

Needs what browser.py needs, and a Prefect server with a finished run of the demo:
`python docs/screenshot.py --server http://127.0.0.1:4200 --flow-run ID`
"""

import argparse
from pathlib import Path
from typing import Any

from browser import open_browser
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import (
    element_to_be_clickable,
    visibility_of_element_located,
)
from selenium.webdriver.support.wait import WebDriverWait

IMAGES = Path(__file__).parent / "images"
_TITLE = "triage"


def main() -> None:
    """Open the pages, wait until they hold what they should, and save them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="http://127.0.0.1:4200")
    parser.add_argument("--flow-run", required=True, help="id of a finished flow run")
    parser.add_argument("--artifact", default="tierflow-triage", help="key of its cost table")
    given = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    with open_browser() as browser:
        wait = WebDriverWait(browser, timeout=60)
        browser.set_window_size(1400, 1250)
        browser.get(f"{given.server}/runs/flow-run/{given.flow_run}")
        tab = (By.XPATH, "//*[normalize-space()='Task Runs' and not(*)]")
        wait.until(element_to_be_clickable(tab)).click()
        wait.until(visibility_of_element_located((By.XPATH, "//*[contains(text(), 'tier: ')]")))
        browser.save_screenshot(str(IMAGES / "task-runs.png"))
        browser.set_window_size(2360, 640)
        open_latest(browser, wait, f"{given.server}/artifacts/key/{given.artifact}")
        wait.until(visibility_of_element_located((By.XPATH, "//*[normalize-space()='total']")))
        browser.save_screenshot(str(IMAGES / "cost-table.png"))
        browser.set_window_size(1180, 1420)
        open_latest(browser, wait, f"{given.server}/artifacts/key/{given.artifact}-report")
        wait.until(visibility_of_element_located((By.XPATH, "//h2[contains(., 'cost')]")))
        browser.save_screenshot(str(IMAGES / "run-report.png"))


def open_latest(browser: Any, wait: "WebDriverWait[Any]", page: str) -> None:
    """Go from the page of an artifact's key to its newest artifact."""
    browser.get(page)
    latest = (By.XPATH, "//a[contains(@href, '/artifacts/artifact/')]")
    wait.until(element_to_be_clickable(latest)).click()


if __name__ == "__main__":
    main()
