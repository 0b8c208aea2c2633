"""Prompt cache: what providers bill for a fan-out with one long prefix, planned and unplanned.

Run `python -m benchmarks.prompt_cache --json FILE`. A step is mapped over 1,000 messages behind
a prefix of 4,400 tokens, 32 at a time, as a Prefect flow over real litellm and real sockets. The
provider is a fake one that keeps a real prefix cache and bills by the published rules of each
maker (tests/fakes/billing.py, terms.py); the bill is its own, not the product's account. It takes
0.6 s to the first token, as real ones do with a prompt of this length: what is written cannot be
read before that.

The bill is the input side: outputs are one word and cost the same in every scenario. Ratios of
two bills, lower is better:

- cost_over_no_marks: planned / the same calls sent as they are. For Gemini, which caches without
  marks, planned / the bill if nothing were cached (its cache comes without a promise, and the
  fake one always keeps what the rules let it keep).
- cost_over_naive_parallel: planned / every call marked, 32 at once from the start. For Gemini,
  where nothing can be marked, 32 at once from the start.
- cost_no_reuse: planned / sent as they are, when every call has a prefix of its own. OpenAI is
  below 1 because it bills a write for every prompt unless it is told not to.
- cost_over_no_cache: planned / the bill if nothing were cached, for all three.
"""

import argparse
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from tests.fakes.billing import Rules, Tally, tokens_of
from tests.fakes.terms import TERMS

from . import servers
from .running import at_least_one, end, enter, write

PREFIX_TOKENS = 4400
_SENTENCE = "Sort the message of the customer to the desk that should answer it. "
_DELAY_S = 0.6
_BARS = {"cost_over_no_marks": 0.20, "cost_over_naive_parallel": 0.85, "cost_no_reuse": 1.0}
_PACKAGES = ("tierflow", "prefect", "litellm")

_console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Vendor:
    """One provider. `tier`: under which it stands in the catalogue; `naive`: marks on all calls."""

    name: str
    tier: str
    model: str
    naive: Mapping[str, Any]
    options: str = ""

    @property
    def rules(self) -> Rules:
        """Its terms."""
        return TERMS[self.model.partition("/")[2]]


VENDORS = (
    Vendor(
        "anthropic",
        "fast",
        "anthropic/claude-haiku-5-5",
        {"dialect": "anthropic", "marks": (1,), "ttl": "5m"},
    ),
    Vendor(
        "openai",
        "standard",
        "openai/gpt-6-luna",
        {"dialect": "openai", "marks": (1,), "ttl": "30m"},
        # The fake provider is no endpoint of OpenAI's, but knows its marks.
        options=', prompt_cache = "openai"',
    ),
    Vendor("gemini", "frontier", "gemini/gemini-3.8-flash", {}),
)


def prefix(edition: str) -> str:
    """Return a text of PREFIX_TOKENS tokens that begins like no other edition's."""
    opening = f"Edition {edition}. "
    each = len(tokens_of(_SENTENCE))
    text = (opening + _SENTENCE * ((PREFIX_TOKENS - len(tokens_of(opening))) // each)).strip()
    # Exactly as long as any other, so that bills can be compared to the last token.
    return text + " more" * (PREFIX_TOKENS - len(tokens_of(text)))


def measure(calls: int, concurrency: int) -> dict[str, dict[str, float]]:
    """Return each vendor's ratios and bills. Leaves nothing behind."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="tierflow-benchmark-")))
        _console.print("Starting the fake provider and a Prefect server ...")
        base_url = stack.enter_context(servers.provider("--bill", "--delay-s", str(_DELAY_S)))
        api_url = stack.enter_context(servers.prefect_api(home))
        enter(home, api_url)
        (home / "tierflow.toml").write_text(_catalogue(base_url))
        from .fanouts import Fanouts  # reads the environment, as Prefect does

        fanouts = Fanouts(concurrency)
        found = {
            vendor.name: _ratios(vendor, fanouts, base_url.removesuffix("/v1"), calls)
            for vendor in VENDORS
        }
        fanouts.close()
        return found


def _catalogue(base_url: str) -> str:
    lines: list[str] = []
    for vendor in VENDORS:
        base = base_url if vendor.name == "openai" else base_url.removesuffix("/v1")
        deployment = f'{{ model = "{vendor.model}", api_base = "{base}"{vendor.options} }}'
        lines += [f"[tiers.{vendor.tier}]", f"deployments = [{deployment}]", "timeout_s = 120.0"]
        # Without a temperature, of which litellm warns on each call to Gemini.
        lines += ["sampling = { max_tokens = 20 }"]
    return "\n".join(lines)


def _ratios(vendor: Vendor, fanouts: Any, root_url: str, calls: int) -> dict[str, float]:
    def bill(
        scenario: str, ask_all: Callable[[list[tuple[str, str]]], Any], *, same: bool
    ) -> Tally:
        edition = f"{vendor.name} {scenario}"
        asks = [
            (prefix(edition if same else f"{edition} {number}"), f"Message {number}: refund me.")
            for number in range(calls)
        ]
        before, started = _tally(vendor, root_url), time.perf_counter()
        said = ask_all(asks)
        took_s = time.perf_counter() - started
        tally = _minus(_tally(vendor, root_url), before)
        if tally.calls != calls:
            raise RuntimeError(f"{edition}: {calls} calls were made, {tally.calls} were billed.")
        if said is not None and said != (tally.total, tally.read, tally.write + tally.write_1h):
            raise RuntimeError(f"{edition}: billed were {tally}, but the answers say {said}.")
        _console.print(f"  {edition}: ${tally.usd(vendor.rules):.4f} in {took_s:.0f} s")
        return tally

    def planned(asks: list[tuple[str, str]]) -> tuple[int, int, int]:
        found: tuple[int, int, int] = fanouts.planned(vendor.tier, asks)
        return found

    def plain(asks: list[tuple[str, str]]) -> None:
        fanouts.unplanned(vendor.tier, asks, {})

    def naive(asks: list[tuple[str, str]]) -> None:
        fanouts.unplanned(vendor.tier, asks, vendor.naive)

    ours = bill("planned", planned, same=True)
    unmarked = bill("as it is", plain, same=True)
    parallel = bill("all marked", naive, same=True)
    ours_alone = bill("planned, no reuse", planned, same=False)
    alone = bill("as it is, no reuse", plain, same=False)

    rules = vendor.rules
    uncached_usd = ours.total * rules.input / 1e6
    usd = ours.usd(rules)
    base_usd = uncached_usd if rules.keeps == "automatic" else unmarked.usd(rules)
    return {
        "cost_over_no_marks": usd / base_usd,
        "cost_over_naive_parallel": usd / parallel.usd(rules),
        "cost_no_reuse": ours_alone.usd(rules) / alone.usd(rules),
        "cost_over_no_cache": usd / uncached_usd,
        "cost_over_as_it_is": usd / unmarked.usd(rules),
        "planned_usd": usd,
        "planned_writes": float(ours.write + ours.write_1h) / PREFIX_TOKENS,
        "naive_writes": float(parallel.write + parallel.write_1h) / PREFIX_TOKENS,
    }


def _tally(vendor: Vendor, root_url: str) -> Tally:
    found = httpx.get(f"{root_url}/bill").raise_for_status().json()
    return Tally(**found[vendor.model.partition("/")[2]])


def _minus(later: Tally, earlier: Tally) -> Tally:
    names = [field.name for field in fields(Tally)]
    return Tally(**{name: asdict(later)[name] - asdict(earlier)[name] for name in names})


def report(found: Mapping[str, Any], calls: int, concurrency: int) -> dict[str, Any]:
    """Return the ratios as JSON data."""
    return {
        **{
            name: {key: round(value, 6) for key, value in each.items()}
            for name, each in found.items()
        },
        "parameters": {
            "calls": calls,
            "concurrency": concurrency,
            "prefix_tokens": PREFIX_TOKENS,
            "delay_s": _DELAY_S,
            "models": {vendor.name: vendor.model for vendor in VENDORS},
            "cpus": os.cpu_count(),
        },
        "versions": {package: version(package) for package in _PACKAGES},
    }


def show(found: Mapping[str, Mapping[str, float]]) -> None:
    """Print the ratios, and of each bar whether it was met."""
    table = Table(title="Bill of the input side, as a ratio", title_justify="left")
    table.add_column("ratio")
    for name in found:
        table.add_column(name, justify="right")
    table.add_column("bar", justify="right")
    for ratio in ("cost_over_no_marks", "cost_over_naive_parallel", "cost_no_reuse"):
        shown = [f"{each[ratio]:.3f}" for each in found.values()]
        is_met = all(each[ratio] <= _BARS[ratio] for each in found.values())
        table.add_row(ratio, *shown, f"{_BARS[ratio]:.2f} {'met' if is_met else 'missed'}")
    for ratio in ("cost_over_no_cache", "cost_over_as_it_is", "planned_writes", "naive_writes"):
        table.add_row(ratio, *(f"{each[ratio]:.3f}" for each in found.values()), "")
    Console().print(table)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark. A missed bar is printed; it is no error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prompt_cache", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the ratios there")
    parser.add_argument("--calls", type=at_least_one, default=1000, help="calls of each scenario")
    parser.add_argument("--concurrency", type=at_least_one, default=32, help="calls at a time")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, end)  # so that the servers end with us
    found = measure(options.calls, options.concurrency)
    show(found)
    write(report(found, options.calls, options.concurrency), options.json)


if __name__ == "__main__":
    main()
