"""Opinions: what a model is asked that judges replies, and how its JSON is read. Asks nobody."""

from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import UnparseableReplyError
from ..request import Request
from .effects import Tell
from .kinship import shared_family
from .tiers import NamedTier

M = TypeVar("M", bound=BaseModel)


def opinion_request(
    about: Request,
    instructions: str,
    answers: Mapping[str, str],
    schema: Mapping[str, Any],
    *,
    item: str | None = None,
) -> Request:
    """Return the request that has replies judged. `answers`: texts of replies by their label.

    `schema`: in the strict form of structured output. `item`: whose recording may answer.
    """
    return Request(
        step=about.step,
        messages=(
            {"role": "system", "content": instructions},
            {"role": "user", "content": _material(about, answers)},
        ),
        prefix_messages=1,
        schema=schema,
        item=item,
        tenant=about.tenant,
    )


def _material(about: Request, answers: Mapping[str, str]) -> str:
    asked = "\n\n".join(f"[{each['role']}]\n{each['content']}" for each in about.messages)
    parts = {"question": asked, **answers}
    return "\n\n".join(f"<{label}>\n{text}\n</{label}>" for label, text in parts.items())


def opinion_reader(kind: type[M], form: str) -> Callable[[str], M]:
    """Return what reads an opinion out of a reply, chatter around its JSON or not.

    `form`: the JSON in words, for the UnparseableReplyError that it raises.
    """

    def read(text: str) -> M:
        start, end = text.find("{"), text.rfind("}")
        try:
            return kind.model_validate_json(text[start : end + 1])
        except ValidationError as exc:
            raise UnparseableReplyError(f"The judge's reply is not {form}.", text=text) from exc

    return read


def tell_of_kin(step: str, judge: NamedTier, judged: NamedTier) -> Generator[Tell, None, None]:
    """Warn where names tell that a judge is of the family that it judges."""
    family = shared_family(judge, judged)
    if family is not None:
        message = (
            f"The judge {judge.name!r} and the tier {judged.name!r} that it judges both have "
            f"models of {family}, and models favour their own words. Name a judge of another "
            "family."
        )
        yield Tell("judge-kin", step, message)
