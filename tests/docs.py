"""Docs: what docs/observability.md shows, read out of it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "observability.md"


def section(heading: str) -> str:
    """The text below a heading, up to the next one."""
    text = PAGE.read_text(encoding="utf-8")
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def rows(heading: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line for line in section(heading).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def metrics_shown() -> dict[str, str]:
    """The metrics' names in OpenTelemetry by those in Prometheus."""
    return {row[2].strip("`"): row[0].strip("`") for row in rows("Metrics")}


def queries_shown() -> list[str]:
    """Every PromQL query of the page."""
    (block,) = re.findall(r"```promql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [line for line in block.splitlines() if not line.startswith("#")]
