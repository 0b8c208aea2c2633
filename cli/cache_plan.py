"""Part of the command line about prompt caching at providers. It asks no model."""

import asyncio
import inspect
import json
import os
from collections.abc import Callable
from typing import Any

import click

from ..caching.prefix import Decision, Reuse, boundaries_of, decision_of, vendor_of
from ..plural import plural
from ..request import Request, render
from ..settings import Deployment, settings
from ..tracing import prices_of
from .steps import load_step


@click.command("plan")
@click.argument("step")
@click.option("--example", help="The step's arguments as JSON: an object by name, or a list.")
@click.option(
    "--calls",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="How many calls with this prefix come one after the other.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def cache_plan(*, step: str, example: str | None, calls: int, as_json: bool) -> None:
    """Explain what providers are told to keep of STEP's prompt, and what that saves.

    STEP is module:function or path/to/file.py:function. Its file is imported and its prompt
    function called, with placeholders if there is no --example; no model is asked.
    """
    task = load_step(step)
    request = _request(task, _arguments(task, example))
    rows = [
        _row(tier, deployment, request, Reuse(calls - 1))
        for tier in _tiers(task)
        for deployment in settings().tiers.get(tier).deployments
    ]
    if as_json:
        click.echo(json.dumps({"step": task.name, "calls": calls, "deployments": rows}, indent=2))
        return
    click.echo(f"{task.name}: {plural(calls, 'call')} with one prefix")
    for row in rows:
        for line in _lines(row):
            click.echo(line)


def _arguments(task: Any, example: str | None) -> inspect.BoundArguments:
    signature = inspect.signature(task.prompt)
    try:
        given: Any = {} if example is None else json.loads(example)
    except json.JSONDecodeError as exc:
        raise click.UsageError(f"--example is no JSON: {exc}.") from exc
    if example is None:
        given = {
            name: "..."
            for name, each in signature.parameters.items()
            if each.default is each.empty
            and each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}
        }
    try:
        if isinstance(given, dict):
            return signature.bind(**given)
        return signature.bind(*(given if isinstance(given, list) else [given]))
    except TypeError as exc:
        raise click.UsageError(f"--example does not fit {task.name}{signature}: {exc}.") from exc


def _request(task: Any, arguments: inspect.BoundArguments) -> Request:
    call: Callable[..., Any] = task.prompt
    try:
        prompted = call(*arguments.args, **arguments.kwargs)
        if inspect.isawaitable(prompted):
            prompted = asyncio.run(_awaited(prompted))
    except Exception as exc:
        # It is the user's own function, and a placeholder may be none of what it takes.
        raise click.ClickException(
            f"The prompt function of {task.name} failed ({type(exc).__name__}). Give it arguments "
            "with --example."
        ) from exc
    rendered = render(prompted, task.spec.returns.write)
    return Request(
        task.name, rendered.messages, rendered.prefix_messages, schema=task.spec.returns.schema
    )


async def _awaited(prompted: Any) -> Any:
    return await prompted


def _tiers(task: Any) -> tuple[str, ...]:
    rule = task.spec.cascade
    return (task.spec.tier, *(rule.stronger if rule else ()))


def _row(tier: str, deployment: Deployment, request: Request, reuse: Reuse) -> dict[str, Any]:
    vendor = vendor_of(deployment, os.environ)
    ends = boundaries_of(request, deployment, vendor)
    decision = decision_of(deployment, vendor, ends, (reuse,) * len(ends))
    is_priced = prices_of(deployment) is not None and bool(ends)
    plan = decision.plan
    return {
        "tier": tier,
        "deployment": deployment.name,
        "told": _told(decision),
        "dialect": plan.dialect,
        "marks": list(plan.marks),
        "ttl": plan.ttl,
        "cache_key": plan.cache_key,
        "least_tokens": ends[-1].low if ends else 0,
        "most_tokens": ends[-1].high if ends else 0,
        "min_tokens": decision.prefix.min_tokens,
        "prefix_messages": request.prefix_messages,
        "plain_usd": decision.plain_cost if is_priced else None,
        "planned_usd": decision.planned_cost if is_priced else None,
        "reason": plan.reason,
    }


def _told(decision: Decision) -> str:
    plan = decision.plan
    if plan.marks:
        places = ", ".join(map(str, plan.marks))
        return f"keep for {plan.ttl}, marks behind message {places}"
    match plan.dialect:
        case "automatic":
            return "a cache key" if plan.cache_key else "nothing"
        case "openai":
            return "to keep nothing"
        case _:
            return "nothing"


def _lines(row: dict[str, Any]) -> list[str]:
    length = f"{row['least_tokens']}-{row['most_tokens']} tokens" if row["most_tokens"] else ""
    least = f"the least kept is {row['min_tokens']}" if row["min_tokens"] else ""
    price = "no known price"
    if row["plain_usd"] is not None:
        price = f"{_usd(row['planned_usd'])} instead of {_usd(row['plain_usd'])}"
    facts = "; ".join(filter(None, (length, least, price if row["dialect"] != "none" else "")))
    return [
        f"{row['tier']}: {row['deployment']}",
        f"  told {row['told']}: {row['reason']}",
        *([f"  {facts}"] if facts else []),
    ]


def _usd(amount: float) -> str:
    return f"${amount:.4g}"
