"""Evaluators of pydantic-evals, put to answers that were given. Their model is a tier of ours."""

import asyncio
import dataclasses
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ...request import Message
from ..effects import Foreign
from ..texts import ask_of, text_of
from .checked import found_by
from .evaluator import Answered, Evaluator, Found, Sampled
from .foreign import asked_of_tier

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models.function import AgentInfo, FunctionModel

_CarryOut = Callable[[Generator[Any, Any, Any]], Any]


@dataclass(frozen=True, slots=True)
class _OfPydantic(Sampled):
    theirs: Any = None
    score_range: tuple[float, float] = (0.0, 1.0)

    def find(self, answered: Answered[Any]) -> Generator[Any, Any, Sequence[Found]]:
        """Run the evaluator on an event loop of its own."""
        found: Sequence[Found] = yield Foreign(
            lambda carry_out: asyncio.run(self._found(answered, carry_out))
        )
        return found

    async def _found(self, answered: Answered[Any], carry_out: _CarryOut) -> Sequence[Found]:
        theirs = self.theirs
        if self.tiers:
            theirs = dataclasses.replace(theirs, model=_model(self.tiers[0], answered, carry_out))
        said: Any = await theirs.evaluate_async(_context(answered))
        if isinstance(said, Mapping):
            several = cast("Mapping[str, Any]", said)
            return [self._read(name, each) for name, each in several.items()]
        return [self._read(self.name, said)]

    def _read(self, name: str, said: Any) -> Found:
        value, reason = getattr(said, "value", said), getattr(said, "reason", None)
        if not isinstance(value, bool | str):
            low, high = self.score_range
            value = (value - low) / (high - low)
        return found_by(name, value, reason)


def _context(answered: Answered[Any]) -> Any:
    from pydantic_evals.evaluators import EvaluatorContext  # noqa: PLC0415  # an extra
    from pydantic_evals.otel import SpanTreeRecordingError  # noqa: PLC0415  # likewise

    return EvaluatorContext(
        name=answered.request.step,
        inputs=ask_of(answered.request),
        metadata=None,
        expected_output=None,
        output=answered.value,
        duration=answered.latency_ms / 1000,
        _span_tree=SpanTreeRecordingError("tierflow hands no spans to evaluators."),
        attributes={},
        metrics={},
    )


def _model(tier: str, answered: Answered[Any], carry_out: _CarryOut) -> "FunctionModel":
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart  # noqa: PLC0415  # an extra
    from pydantic_ai.models.function import FunctionModel  # noqa: PLC0415  # likewise

    async def reply(messages: "list[ModelMessage]", info: "AgentInfo") -> "ModelResponse":
        # Structured output is a tool to pydantic-ai; to a tier it is the schema of the reply.
        tool = next(iter(info.output_tools), None)
        schema = None if tool is None else tool.parameters_json_schema
        told = list(_told(messages, info.instructions))
        plan = asked_of_tier(answered, tier, told, schema)
        # Not on this loop: it waits.
        text: str = await asyncio.to_thread(carry_out, plan)
        return ModelResponse([TextPart(text) if tool is None else ToolCallPart(tool.name, text)])

    return FunctionModel(reply, model_name=f"tierflow:{tier}")


def _told(messages: "list[ModelMessage]", instructions: str | None) -> Generator[Message]:
    if instructions:
        yield {"role": "system", "content": instructions}
    for message in messages:
        for part in message.parts:
            match part.part_kind:
                case "system-prompt":
                    yield {"role": "system", "content": part.content}
                case "user-prompt":
                    yield {"role": "user", "content": text_of(part.content)}
                case "retry-prompt":
                    yield {"role": "user", "content": part.model_response()}
                case "tool-call":
                    yield {"role": "assistant", "content": part.args_as_json_str()}
                case "text":
                    yield {"role": "assistant", "content": part.content}
                case _:
                    pass


def pydantic_evaluator(
    evaluator: Any,
    *,
    name: str | None = None,
    tier: str | None = None,
    sample: float = 0.1,
    hits: bool = False,
    score_range: tuple[float, float] | None = None,
) -> Evaluator:
    """Put an evaluator of pydantic-evals to a sample of answers: `Contains("thanks")`, `LLMJudge`.

    Its `inputs` are what of the prompt varied, as text, its `output` the answer's value; there is
    no `expected_output` and no span tree. What it says is a score (`score_range`: where that is not
    0 to 1; else the evaluator's own), a label, or "pass" and "fail". `tier`: answers what it asks
    of a model, within the tier's limits and at the evaluation's cost. An evaluator that has a model
    of its own asks that past `[policy]`, and what it costs is not known here. `sample`, `hits`: see
    `safety`. Raises ImportError without the extra `evals`, TypeError for anything else, and
    ValueError for one that asks a model that nobody named.
    """
    try:
        from pydantic_evals.evaluators import Evaluator as Theirs  # noqa: PLC0415  # an extra
    except ImportError as exc:
        raise ImportError(
            'pydantic_evaluator needs pydantic-evals: pip install "tierflow[evals]"'
        ) from exc
    if not isinstance(evaluator, Theirs):
        raise TypeError(f"{evaluator!r:.60} is no evaluator of pydantic-evals. Call its class.")
    theirs = cast("Any", evaluator)
    asks = any(each.name == "model" for each in dataclasses.fields(theirs))
    if tier is not None and not asks:
        raise ValueError(f"tier={tier!r} is for evaluators with a model=, and this has none.")
    if asks and tier is None and theirs.model is None:
        raise ValueError(
            f"{theirs.get_serialization_name()} asks a model, and none is named. Give "
            'tier="standard", or name a model in the evaluator.'
        )
    version = theirs.get_evaluator_version()
    parts = ("pydantic-evals", theirs.get_serialization_name(), version, tier)
    low, high = score_range or getattr(theirs, "score_range", None) or (0.0, 1.0)
    return _OfPydantic(
        name or theirs.get_default_evaluation_name(),
        " ".join(part for part in parts if part)[:128],
        "judge" if asks else "code",
        sample,
        hits,
        () if tier is None else (tier,),
        theirs,
        (float(low), float(high)),
    )
