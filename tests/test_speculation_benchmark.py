"""The speculation benchmark's form: its bars, and what it says without engines."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import engines, speculation


def compared(against: str, concurrency: int, speedup: float, *, adopted: bool) -> dict[str, Any]:
    return {
        "against": against,
        "concurrency": concurrency,
        "adopted": adopted,
        "acceptance": 0.7,
        "speedups": {"tokens_per_s": {"estimate": speedup, "low": speedup - 0.1}},
        "different": {"different": 0, "compared": 8},
    }


def found(*of: dict[str, Any]) -> dict[str, Any]:
    slice_ = {"slice": "label", "served_by": [], "reason": "", "compared": list(of)}
    return {"slices": [slice_], "setup": "vllm"}


GOOD, POOR = "drafting", "guessing"


def test_the_bars_are_of_both_concurrencies() -> None:
    figures = speculation.report(
        found(
            compared(GOOD, 1, 2.1, adopted=True),
            compared(POOR, 1, 0.4, adopted=False),
            compared(GOOD, 8, 0.8, adopted=False),
            compared(POOR, 8, 0.3, adopted=False),
        ),
        {},
    )
    assert figures["met"] == {"adopted_at_1": True, "rejected_at_8": True}
    assert figures["poor_rejected"]
    assert figures["machine"]["cpus"] > 0
    assert figures["speedup_at_1"] == [{"estimate": 2.1, "low": 2.0}]
    assert (figures["outputs_differ"], figures["outputs_compared"]) == (0, 32)


def test_what_is_adopted_at_eight_misses_its_bar() -> None:
    figures = speculation.report(
        found(
            compared(GOOD, 1, 1.0, adopted=False),
            compared(POOR, 1, 0.4, adopted=False),
            compared(GOOD, 8, 0.8, adopted=False),
            compared(POOR, 8, 1.8, adopted=True),
        ),
        {},
    )
    assert figures["met"] == {"adopted_at_1": False, "rejected_at_8": False}


def test_without_an_engine_it_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engines, "PYTHON", tmp_path / "none")
    with pytest.raises(SystemExit, match="make engines"):
        speculation.main([])
