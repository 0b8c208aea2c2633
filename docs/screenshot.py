"""Take the README's pictures: a flow run's task runs, and its cost table, in the Prefect UI.

Needs Debian's `chromium` and `chromium-driver`, and a Prefect server with a finished run:
`python docs/screenshot.py --server http://127.0.0.1:4200 --flow-run ID --artifact tierflow-triage`
"""

import argparse
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import (
    element_to_be_clickable,
    visibility_of_element_located,
)
from selenium.webdriver.support.wait import WebDriverWait

IMAGES = Path(__file__).parent / "images"
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def main() -> None:
    """Open the two pages, wait until they hold what they should, and save them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="http://127.0.0.1:4200")
    parser.add_argument("--flow-run", required=True, help="id of a finished flow run")
    parser.add_argument("--artifact", default="tierflow-triage", help="key of its cost table")
    given = parser.parse_args()
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in _FLAGS:
        options.add_argument(flag)
    IMAGES.mkdir(exist_ok=True)
    driver: Any = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    with driver as browser:
        wait = WebDriverWait(browser, timeout=60)
        browser.set_window_size(1400, 1250)
        browser.get(f"{given.server}/runs/flow-run/{given.flow_run}")
        tab = (By.XPATH, "//*[normalize-space()='Task Runs' and not(*)]")
        wait.until(element_to_be_clickable(tab)).click()
        wait.until(visibility_of_element_located((By.XPATH, "//*[contains(text(), 'tier: ')]")))
        browser.save_screenshot(str(IMAGES / "task-runs.png"))
        browser.set_window_size(2360, 640)
        browser.get(f"{given.server}/artifacts/key/{given.artifact}")
        latest = (By.XPATH, "//a[contains(@href, '/artifacts/artifact/')]")
        wait.until(element_to_be_clickable(latest)).click()
        wait.until(visibility_of_element_located((By.XPATH, "//*[normalize-space()='total']")))
        browser.save_screenshot(str(IMAGES / "cost-table.png"))


if __name__ == "__main__":
    main()
