"""Running: what every benchmark's command line needs. Measures nothing."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any


def enter(home: Path, api_url: str) -> None:
    """Keep this process from the user's settings, folders and servers, and keep it quiet."""
    for name in tuple(os.environ):
        if name.startswith(("PREFECT_", "TIERFLOW_", "LITELLM_", "OPENAI_", "OTEL_")):
            del os.environ[name]
    os.environ |= {
        "DO_NOT_TRACK": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
        "PREFECT_API_URL": api_url,
        "PREFECT_HOME": str(home),
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "TIERFLOW_CONFIG": str(home / "tierflow.toml"),
        "TIERFLOW_HOME": str(home / "tierflow"),
    }


def at_least_one(text: str) -> int:
    """Read a number of the command line. Raises ArgumentTypeError below 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def machine() -> dict[str, Any]:
    """Return what was measured on, as JSON data. `load`: means over 1, 5 and 15 minutes, by now."""
    return {
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "processor": _processor(),
        "load": [*os.getloadavg()],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def write(found: Mapping[str, Any], path: Path | None) -> None:
    """Write what was measured as JSON, and say so; nothing for no path."""
    if path is not None:
        path.write_text(json.dumps(found, indent=2), encoding="utf-8")
        print(f"Wrote {path}", file=sys.stderr)


def end(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  # a signal handler's form
    """End this process as the signal asks, cleaning up on the way."""
    sys.exit(128 + signum)
