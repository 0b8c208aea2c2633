"""Screens: pages in a real browser, where one is installed, and what can be measured of them."""

from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from docs.browser import CHROMIUM, DRIVER, open_browser

__all__ = [
    "HAS_BROWSER",
    "Shown",
    "ground_of",
    "needs_browser",
    "open_browser",
    "shown_images",
    "unreadable_texts",
]

HAS_BROWSER = CHROMIUM.exists() and DRIVER.exists() and find_spec("selenium") is not None

needs_browser = pytest.mark.skipif(
    not HAS_BROWSER,
    reason="no Chromium: apt-get install chromium chromium-driver; pip install 'tierflow[dev]'",
)

_UNREADABLE = """
const found = [];
for (const svg of document.querySelectorAll('svg')) {
  const frame = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')].map(each => [each, each.getBoundingClientRect()]);
  const scale = frame.width / svg.viewBox.baseVal.width;
  for (const [each, box] of texts) {
    if (box.left < frame.left || box.right > frame.right
        || box.top < frame.top || box.bottom > frame.bottom)
      found.push(`${each.textContent} leaves the picture`);
    if (parseFloat(each.getAttribute('font-size')) * scale < 9)
      found.push(`${each.textContent} is tiny`);
    for (const [other, place] of texts)
      if (each !== other && box.left < place.right - 1 && place.left < box.right - 1
          && box.top < place.bottom - 3 && place.top < box.bottom - 3)
        found.push(`${each.textContent} lies on ${other.textContent}`);
  }
}
return found;
"""


def unreadable_texts(browser: Any) -> list[str]:
    """What is wrong with the texts of a page's SVG pictures: cut off, tiny, or on each other."""
    found: list[str] = browser.execute_script(_UNREADABLE)
    return found


@dataclass(frozen=True, slots=True)
class Shown:
    """An image of a page: how wide it is there, how wide it was drawn, and its ground's colour."""

    width: float
    own_width: float
    ground: str


def shown_images(browser: Any, selector: str) -> list[Shown]:
    """Return the images of a page that have loaded; none while the page changes."""
    from selenium.common.exceptions import StaleElementReferenceException

    try:
        return [
            Shown(each.size["width"], float(each.get_property("naturalWidth")), ground_of(each))
            for each in browser.find_elements("css selector", selector)
            if each.get_property("complete") and each.size["width"]
        ]
    except StaleElementReferenceException:
        return []


def ground_of(element: Any) -> str:
    """The colour of a picture just inside its upper left corner, as #rrggbb."""
    with Image.open(BytesIO(element.screenshot_as_png)) as shown:
        red, green, blue = shown.convert("RGB").getpixel((20, 6))  # type: ignore[misc]  # of RGB
    return f"#{red:02x}{green:02x}{blue:02x}"
