"""Local: `local/` models answer in this process, by MiniLM. What they say is computed.

`local/zero-shot` picks labels by their own words, `local/few-shot` by the examples in the prompt,
`local/extractive` picks sentences of the ask. None of them writes text of its own.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NoReturn, cast

from litellm.exceptions import BadRequestError, NotFoundError

from ..encoder import Encoder, encoder
from ..errors import ConfigError
from .excerpts import DEFAULT_COUNT, excerpts, sentences
from .fields import Choice, Open, Texts, described_by, fields_of
from .provider import Call, Provider, Said, text_of
from .scoring import Shares, few_shot, pick, zero_shot


class LocalModels(Provider):
    """litellm's custom provider `local`."""

    def answer(self, call: Call) -> Said:
        """Return the model's answer. Raises litellm's errors for a request it cannot answer."""
        answer = _MODELS.get(call.model)
        if answer is None:
            known = ", ".join(f"local/{name}" for name in _MODELS)
            raise NotFoundError(
                f"No local model {call.model!r}. Known: {known}.", call.model, "local"
            )
        try:
            reader = encoder()
        except ImportError as exc:
            # To litellm any foreign error is a provider that is down; this one is here to stay.
            raise ConfigError(str(exc)) from exc
        text, logprobs = answer(call, reader)
        return Said(
            text=text,
            input_tokens=sum(reader.count_tokens(text_of(each)) for each in call.messages),
            output_tokens=reader.count_tokens(text),
            logprobs=logprobs,
        )


_Logprobs = tuple[tuple[str, float], ...]


def _zero_shot(call: Call, reader: Encoder) -> tuple[str, _Logprobs]:
    ask = _ask(call)
    return _choose(call, lambda choice: zero_shot(ask, choice, reader))


def _few_shot(call: Call, reader: Encoder) -> tuple[str, _Logprobs]:
    ask, examples = _ask(call), _examples(call.messages)

    def score(choice: Choice) -> Shares:
        allowed = [label.value for label in choice.labels]
        fitting = [
            (text, result[choice.name])
            for text, result in examples
            if choice.name in result and result[choice.name] in allowed
        ]
        if not fitting:
            _refuse(
                call,
                f"The prompt has no example of {choice.name!r}. Give Prompt(examples=[(ask, "
                "result), ...]), or use local/zero-shot.",
            )
        return few_shot(ask, choice, fitting, reader)

    return _choose(call, score)


def _choose(call: Call, score: Callable[[Choice], Shares]) -> tuple[str, _Logprobs]:
    if call.schema is None:
        _refuse(
            call,
            "The request has no JSON schema, and this model only picks from labels. Return a "
            "Literal, an Enum or a model of such fields, or use local/extractive for text.",
        )
    guide = "\n".join(text_of(each) for each in call.messages if each["role"] == "system")
    temperature, seed = float(call.options.get("temperature") or 0), call.options.get("seed")
    picked: dict[str, Any] = {}
    logprobs: list[tuple[str, float]] = []
    for field in fields_of(call.schema):
        match field:
            case Choice(labels=(only,)):
                picked[field.name] = only.value  # no choice: it says nothing of confidence
            case Choice():
                shares = score(described_by(field, guide))
                number = pick(shares, temperature, seed)
                picked[field.name] = field.labels[number].value
                logprobs.append((json.dumps(picked[field.name]), math.log(shares[number])))
            case Open(required=False):
                pass
            case _:
                _refuse(
                    call,
                    f"Field {field.name!r} has no closed set of values, and this model only picks "
                    "from labels. Make it a Literal, an Enum or a bool, or use a model that "
                    "writes.",
                )
    return json.dumps(picked, ensure_ascii=False), tuple(logprobs)


def _extractive(call: Call, reader: Encoder) -> tuple[str, _Logprobs]:
    text = _ask(call)
    if not sentences(text):
        _refuse(call, "The last user message holds no text to take sentences from.")
    if call.schema is None:
        return "\n".join(excerpts(text, DEFAULT_COUNT, reader)), ()
    taken: dict[str, Any] = {}
    for field in fields_of(call.schema):
        match field:
            case Texts():
                count = DEFAULT_COUNT if field.at_most is None else field.at_most
                taken[field.name] = excerpts(text, count, reader)
            case Open(required=False):
                pass
            case _:
                _refuse(
                    call,
                    f"Field {field.name!r} is no list of texts, and this model only takes "
                    "sentences. Make it a list[str], or ask another model for it.",
                )
    return json.dumps(taken, ensure_ascii=False), ()


_MODELS: Mapping[str, Callable[[Call, Encoder], tuple[str, _Logprobs]]] = {
    "extractive": _extractive,
    "few-shot": _few_shot,
    "zero-shot": _zero_shot,
}


def _ask(call: Call) -> str:
    asks = (text_of(each) for each in reversed(call.messages) if each["role"] == "user")
    ask = next(asks, None)
    if ask is None:
        _refuse(call, "The request has no user message. Put what is asked about in one.")
    return ask


def _examples(messages: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the asks with the JSON objects that answered them."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for ask, reply in pairwise(messages):
        if (ask["role"], reply["role"]) == ("user", "assistant"):
            try:
                result: Any = json.loads(text_of(reply))
            except ValueError:
                continue  # a reply in words, not an example
            if isinstance(result, dict):
                found.append((text_of(ask), cast("dict[str, Any]", result)))
    return found


def _refuse(call: Call, why: str) -> NoReturn:
    raise BadRequestError(why, call.model, "local")
