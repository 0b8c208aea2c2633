"""Remainders: a step with a cascade whose cheap tier can divide small numbers only."""

from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from tests.fakes import Say
from tests.fakes.steps import Step
from tests.tasks.ways import Way
from tierflow import Answer, Cascade, Prompt, llm_task, schema
from tierflow.tasks.proving.items import Item

ITEMS = [Item({"number": str(number)}, label={"left": number % 7}) for number in range(400)]
"""Remainders by seven: cheap answers are right below 300, and say "unsure" above."""


class Remainder(BaseModel):
    left: int


def seventh(body: dict[str, Any]) -> Step:
    return Say({"left": int(said(body)) % 7}, input_tokens=500, output_tokens=50)


def cheaply(body: dict[str, Any]) -> Step:
    number = int(said(body))
    left = number % 7 if number < 300 else 99
    return Say({"left": left}, input_tokens=10, output_tokens=1)


def otherwise(body: dict[str, Any]) -> Step:
    return Say({"left": (int(said(body)) + 1) % 7}, input_tokens=10, output_tokens=1)


def said(body: dict[str, Any]) -> str:
    text: str = body["messages"][-1]["content"]
    return text


def is_a_remainder(value: Remainder) -> bool:
    return value.left < 7


def ask(number: str) -> Prompt:
    return Prompt(prefix="What is left after dividing by seven?", ask=number)


def a_cascade(**options: Any) -> Cascade:
    given: dict[str, Any] = {"audit": 0.0, **options}
    return Cascade(to="frontier", judge=schema(is_a_remainder), **given)


def a_step(**options: Any) -> Any:
    return llm_task(tier="fast", returns=Remainder, cascade=a_cascade(**options))(ask)


def by_size(number: str) -> Prompt:
    """Ask as `ask` does, of a stratum that the cheap tier is good at, and one that it is not."""
    return replace(ask(number), stratum="small" if int(number) < 300 else "large")


def of_a_template(number: str) -> Prompt:
    return Prompt(prefix=f"Divide by seven. Yesterday: {number}.", template="seven", ask=number)


def answer(way: Way, number: str = "5", prompt: Any = ask, **options: Any) -> Answer[Any]:
    return way.step(prompt, returns=Remainder, cascade=a_cascade(**options))(number)
