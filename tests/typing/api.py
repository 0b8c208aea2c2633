"""What a type checker must see of `@llm_task`. Checked by mypy and pyright; never run."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from typing import Any, Literal, assert_type

from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, PrefectFutureList
from pydantic import BaseModel

from tierflow import Answer, Prompt, Sampling, checked, llm_task, record_evaluation, safety
from tierflow.tracing.evaluations import Evaluation


class Triage(BaseModel):
    intent: str
    urgent: bool


@llm_task(tier="fast", returns=Triage, retries=2)
def triage(ticket: str, *, language: str = "en") -> Prompt:
    return Prompt(prefix=f"Answer in {language}.", ask=ticket)


@llm_task(tier="standard")
def summarise(text: str) -> str:
    return text


@llm_task(tier="fast", returns=Literal["yes", "no"])
def decide(question: str) -> str:
    return question


@llm_task(tier="fast", returns=Triage)
async def triage_later(ticket: str) -> Prompt:
    return Prompt(ask=ticket)


@llm_task(tier="fast")
async def summarise_later(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def a_call_returns_the_result_type() -> None:
    assert_type(triage("late parcel"), Triage)
    assert_type(triage("late parcel", language="de"), Triage)
    assert_type(triage("late parcel").urgent, bool)


def without_returns_the_result_is_text() -> None:
    assert_type(summarise("long"), str)


def a_type_that_is_no_class_gives_any() -> None:
    assert_type(decide("now?"), Any)


def the_prompt_function_keeps_its_parameters() -> None:
    triage(1)  # type: ignore[call-overload]
    triage()  # type: ignore[call-overload]
    triage("x", "de")  # type: ignore[call-overload]
    summarise(text=1)  # type: ignore[call-overload]
    triage.submit(1)  # type: ignore[call-overload]
    triage.answer(1)  # type: ignore[call-overload]


def a_submitted_step_is_a_future_of_the_result() -> None:
    future = triage.submit("late parcel")  # pyright: ignore[reportUnknownMemberType]  # Prefect's
    assert_type(future, PrefectFuture[Triage])
    assert_type(future.result(), Triage)


def a_mapped_step_is_a_list_of_them() -> None:
    assert_type(triage.map(["late parcel"]), PrefectFutureList[Triage])
    assert_type(triage.map(["late parcel"]).result(), list[Triage])


def a_batch_is_a_list_of_results() -> None:
    assert_type(triage.batch(["late parcel"]), list[Triage])
    future = triage.batch.submit(["late parcel"])  # pyright: ignore[reportUnknownMemberType]  # Prefect's
    assert_type(future.result(), list[Triage])


async def an_async_batch_is_awaited() -> None:
    assert_type(await triage_later.batch(["late parcel"]), list[Triage])


def return_state_gives_the_state() -> None:
    assert_type(triage("late parcel", return_state=True), State[Triage])
    assert_type(triage("late parcel", wait_for=["anything"]), Triage)


def with_options_keeps_the_type_and_knows_the_options() -> None:
    slower = triage.with_options(tier="frontier", retries=3, sampling=Sampling(seed=1))
    assert_type(slower("late parcel"), Triage)
    triage.with_options(tear="frontier")  # type: ignore[call-arg]
    triage.with_options(retries="many")  # type: ignore[arg-type]


def the_decorator_knows_its_options() -> None:
    llm_task(tier="fast", cascade="frontier")  # type: ignore[call-overload]
    llm_task(returns=str)  # type: ignore[call-overload]
    llm_task(tier="fast", evaluate=[safety(), checked("long", lambda value: len(value) > 9)])
    llm_task(tier="fast", evaluate=["safety"])  # type: ignore[list-item]


def an_evaluation_is_of_an_answer_or_its_reference() -> None:
    assert_type(record_evaluation(triage.answer("x"), "helpful", score=0.5), Evaluation)
    assert_type(record_evaluation("ref", "helpful", label="good", source="code"), Evaluation)
    record_evaluation(triage("x"), "helpful", score=0.5)  # type: ignore[arg-type]
    record_evaluation("ref", "helpful", source="robot")  # type: ignore[arg-type]


def answer_is_a_task_of_the_whole_answer() -> None:
    assert_type(triage.answer("late parcel"), Answer[Triage])
    assert_type(triage.answer("late parcel").value, Triage)
    assert_type(triage.answer.map(["late parcel"]).result(), list[Answer[Triage]])
    assert_type(summarise.answer("long"), Answer[str])
    assert_type(triage.with_options(tier="standard").answer("x"), Answer[Triage])


async def an_async_step_is_awaited() -> None:
    assert_type(await triage_later("late parcel"), Triage)
    assert_type(await summarise_later("long"), str)
    assert_type(await triage_later.answer("late parcel"), Answer[Triage])
