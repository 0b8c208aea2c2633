"""Speculation: a draft model is to be adopted where it helps, and nowhere else.

Run `make engines` once, then `python -m benchmarks.speculation --json FILE`. Real vLLM on this
machine's CPUs serves one model in three ways: plainly; with a good draft model; and by guessing
from the prompt's own words, which here is of no use. Two real steps record their requests, and
`tierflow serving validate` decides by replaying them. With two cores a good draft pays for one
request at a time, and not for eight.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tierflow.errors import EngineStartError
from tierflow.serving.engines import Launch

from .engines import LARGE, engines, save_model, vllm, vllm_python
from .running import at_least_one, end, enter, machine, write

_BARS = {"adopted_at_1": True, "rejected_at_8": True}
_GOOD, _POOR = "drafting", "guessing"
_DRAFTED = 4
_SHAPE = replace(LARGE, damping=0.02, window=2048)
_OPTIONS = (
    *("--max-model-len", "1024", "--max-num-batched-tokens", "1024"),
    "--no-enable-prefix-caching",
)
_LENGTHS = {"label": 32, "draw_up": 64}
"""The steps, and how many tokens each has written."""


def measure(concurrencies: Sequence[int], pairs: int, seed: int) -> dict[str, Any]:
    """Return the decision of each slice. Leaves nothing behind. Raises EngineStartError."""
    vllm_python()
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="tierflow-benchmark-")))
        enter(home, "http://127.0.0.1:9/api")  # no step here runs in a flow
        print("Making the models ...", file=sys.stderr)
        model = save_model(_SHAPE, home / "model", draft=home / "draft")
        bases = stack.enter_context(engines(_ways(model, home / "draft"), home))
        (home / "tierflow.toml").write_text(_settings(bases))
        _record()
        return asyncio.run(_decide(concurrencies, pairs, seed))


def _ways(model: Path, draft: Path) -> Sequence[Launch]:
    drafting = {"model": str(draft), "method": "draft_model", "num_speculative_tokens": _DRAFTED}
    guessing = {"method": "ngram", "num_speculative_tokens": _DRAFTED, "prompt_lookup_max": 3}
    return (
        vllm(model, *_OPTIONS),
        vllm(model, *_OPTIONS, "--speculative-config", json.dumps(drafting)),
        vllm(model, *_OPTIONS, "--speculative-config", json.dumps(guessing)),
    )


def _settings(bases: Sequence[str]) -> str:
    pools = "\n".join(
        f'[pools.{name}]\nreplicas = ["{base}"]'
        for name, base in zip(("plain", _GOOD, _POOR), bases, strict=True)
    )
    tier = '{ model = "hosted_vllm/small", pool = "plain" }'
    tiers = f"[tiers.fast]\ndeployments = [{tier}]\ntimeout_s = 300"
    return f'{pools}\n{tiers}\n[cassette]\npath = "requests.jsonl"\n'


def _record() -> None:
    """Have two steps ask the plain pool, so that their requests are on the cassette."""
    from tierflow import Sampling, llm_task
    from tierflow.tasks import close_hands

    def ask(number: int) -> str:
        return f"def number_{number}(self, value={number % 7}):\n    return "

    print("Recording two steps ...", file=sys.stderr)
    for name, tokens in _LENGTHS.items():
        step: Any = llm_task(tier="fast", name=name, sampling=Sampling(max_tokens=tokens))(ask)
        step.batch.fn(step.batch.items(([*range(12)],), {}))
    close_hands()


async def _decide(concurrencies: Sequence[int], pairs: int, seed: int) -> dict[str, Any]:
    from tierflow.serving.validation.opening import Validation
    from tierflow.serving.validation.report import as_json
    from tierflow.serving.validation.trials import Extent
    from tierflow.serving.validation.validating import Question
    from tierflow.settings import settings

    extent = Extent(tuple(sorted({1, 8, *concurrencies})), pairs, per_place=1)
    validation = Validation(settings(), Question("plain", extent=extent, seed=seed), (_GOOD, _POOR))
    with Progress(console=Console(stderr=True)) as bar:
        replaying = bar.add_task("Replaying", total=validation.blocks)
        found = await validation.run(lambda: bar.advance(replaying))
    return as_json(validation.policy(found, now=time.time()), found)


def report(found: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures as JSON data; `adopted_at_1` and `rejected_at_8` are of every slice."""
    compared = [(slice_, one) for slice_ in found["slices"] for one in slice_["compared"]]
    at: dict[int, dict[str, list[Any]]] = {}
    for _, one in compared:
        at.setdefault(one["concurrency"], {}).setdefault(one["against"], []).append(one)
    figures = {
        "adopted_at_1": all(one["adopted"] for one in at[1][_GOOD]),
        "rejected_at_8": not any(one["adopted"] for way in at[8].values() for one in way),
        "poor_rejected": not any(one["adopted"] for of in at.values() for one in of[_POOR]),
        "acceptance": [one["acceptance"] for one in at[1][_GOOD]],
        "speedup_at_1": [_low(one) for one in at[1][_GOOD]],
        "speedup_at_8": [_low(one) for one in at[8][_GOOD]],
        "outputs_differ": sum(one["different"]["different"] for _, one in compared),
        "outputs_compared": sum(one["different"]["compared"] for _, one in compared),
    }
    return {
        **figures,
        "decisions": {
            slice_["slice"]: {"served_by": slice_["served_by"], "reason": slice_["reason"]}
            for slice_ in found["slices"]
        },
        "bars": _BARS,
        "met": {name: figures[name] == bar for name, bar in _BARS.items()},
        "slices": found["slices"],
        "setup": found["setup"],
        "parameters": parameters,
        "machine": machine(),
    }


def _low(one: Mapping[str, Any]) -> Mapping[str, float] | None:
    found = one["speedups"].get("tokens_per_s")
    return found and {"estimate": found["estimate"], "low": found["low"]}


def show(figures: Mapping[str, Any]) -> None:
    """Print what was decided of each slice, and whether the bars were met."""
    table = Table(title="Who serves what", title_justify="left")
    for heading in ("requests", "against", "at once", "times as fast", "at least", "adopted"):
        table.add_column(heading)
    for slice_ in figures["slices"]:
        for one in slice_["compared"]:
            times = _low(one)
            table.add_row(
                slice_["slice"],
                one["against"],
                str(one["concurrency"]),
                f"{times['estimate']:.2f}" if times else "?",
                f"{times['low']:.2f}" if times else "?",
                "yes" if one["adopted"] else "no",
            )
    Console().print(table)
    for name, met in figures["met"].items():
        print(f"{name}: {'met' if met else 'missed'}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark. A missed bar is printed; it is no error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speculation", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--pairs", type=at_least_one, default=8, help="of each trial, 6 or more")
    parser.add_argument(
        "--concurrency", type=at_least_one, nargs="*", default=[], help="besides 1 and 8"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the order of replays")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, end)
    try:
        found = measure(options.concurrency, options.pairs, options.seed)
    except EngineStartError as exc:
        sys.exit(str(exc))
    figures = report(found, {"pairs": options.pairs, "seed": options.seed})
    show(figures)
    write(figures, options.json)


if __name__ == "__main__":
    main()
