"""A headless Chromium, for pictures of pages and for tests of them.

Needs Debian's `chromium` and `chromium-driver`, and selenium.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


@contextmanager
def open_browser(mode: Literal["light", "dark"] = "light") -> Generator[Any]:
    """Open a browser whose user prefers that mode. Yields selenium's driver."""
    from selenium.webdriver import Chrome, ChromeOptions  # noqa: PLC0415  # only where it is used
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415

    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in _FLAGS:
        options.add_argument(flag)
    driver: Any = Chrome(options=options, service=Service(str(DRIVER)))
    with driver as browser:
        prefers = {"name": "prefers-color-scheme", "value": mode}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [prefers]})
        yield browser
