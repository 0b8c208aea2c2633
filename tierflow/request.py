"""Ground: the frozen values that travel through one step. They hold facts and small sums only."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field

from .errors import PromptError

T = TypeVar("T")

Message: TypeAlias = Mapping[str, Any]
"""One chat message in OpenAI's form: `{"role": "user", "content": "..."}`."""

CacheUse: TypeAlias = Literal["exact", "semantic", "miss", "off"]
"""Which cache answered; or none had an answer, or none was asked."""


class PromptId(NamedTuple):
    """Names the words of a registered prompt. `hash`: SHA-256 of their content, 64 hex digits."""

    name: str
    version: str
    hash: str


class Rendered(NamedTuple):
    """A prompt as chat messages. The first `prefix_messages` of them are the stable prefix."""

    messages: tuple[Message, ...]
    prefix_messages: int
    item: str | None = None
    tenant: str = ""
    volatile: bool = False
    stratum: str = ""
    template: str = ""
    prompt_id: PromptId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt in two parts: what stays the same between calls, and what varies.

    `prefix`: instructions, cached by providers and engines. `examples`: pairs of an ask and its
    result, also part of the prefix. `ask`: the text that varies. `item`: id of the thing asked
    about; `replay/…` finds recordings by it. `tenant`: whose prompt it is; answers of one tenant
    are never served to another, and costs are counted apart. `volatile`: the right answer changes
    with time ("what is new?"), so none is ever served from a cache. `stratum`: the kind of
    question, where judges are calibrated by kind. `template`: names what the prefix is made from,
    where it varies from call to call; what is proven of one then holds for all of the template.
    `prompt_id`: which registered prompt it is, set by `prompt(...)`.
    """

    ask: str
    prefix: str = ""
    examples: Sequence[tuple[str, Any]] = ()
    item: str | None = None
    tenant: str = ""
    volatile: bool = False
    stratum: str = ""
    template: str = ""
    prompt_id: PromptId | None = None

    def render(self, dump: Callable[[Any], str]) -> Rendered:
        """Return the chat messages; `dump` writes an example's result as the model should."""
        stable: list[Message] = []
        if self.prefix:
            stable.append({"role": "system", "content": self.prefix})
        for ask, result in self.examples:
            stable.append({"role": "user", "content": ask})
            stable.append({"role": "assistant", "content": dump(result)})
        asked: Message = {"role": "user", "content": self.ask}
        return Rendered(
            (*stable, asked),
            len(stable),
            self.item,
            self.tenant,
            self.volatile,
            self.stratum,
            self.template,
            self.prompt_id,
        )


PromptLike: TypeAlias = str | Prompt | Sequence[Message]
"""What a prompt function may return: a Prompt, the text of one user message, or messages."""


def render(prompt: object, dump: Callable[[Any], str]) -> Rendered:
    """Return any `PromptLike` as chat messages. Raises PromptError for anything else."""
    rendered = _rendered(prompt, dump)
    try:
        # Found here, because a provider's client would take it for the provider's failure.
        canonical_json(rendered).encode()
    except (TypeError, ValueError) as exc:
        # Their own words may quote the prompt.
        raise PromptError(
            f"The prompt function returned what JSON cannot hold ({type(exc).__name__}). Use text "
            "that is valid Unicode, finite numbers, and lists and objects of them."
        ) from exc
    return rendered


def _rendered(prompt: object, dump: Callable[[Any], str]) -> Rendered:
    match prompt:
        case Prompt():
            return prompt.render(dump)
        case str():
            return Rendered(({"role": "user", "content": prompt},), 0)
        case list() | tuple() if prompt and all(map(_is_message, cast(Sequence[object], prompt))):
            messages = cast(Sequence[Message], prompt)
            return Rendered(tuple(messages), len(messages) - 1)
        case _:
            raise PromptError(
                f"The prompt function returned {type(prompt).__name__}: that is no prompt. "
                "Return a Prompt(ask=...), a string, or a list of messages "
                "{'role': ..., 'content': ...}."
            )


def _is_message(value: object) -> bool:
    return isinstance(value, Mapping) and "role" in value and "content" in value


class Sampling(BaseModel):
    """How a model picks its tokens. What is None is left to the provider."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, gt=0)
    seed: int | None = None
    stop: tuple[str, ...] | None = None

    def given(self) -> dict[str, Any]:
        """Return the options that are set, by their names in a chat request."""
        return self.model_dump(exclude_none=True)

    def over(self, base: "Sampling") -> "Sampling":
        """Return `base` with the options that are set here put over it."""
        given = self.given()
        return base.model_copy(update=given) if given else base


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a tier: all that decides the answer, and so all that a cache key covers.

    `schema`: JSON schema that the reply must fit, None for plain text. `sampling`: the step's
    own options, put over the tier's. `arm`: the rollout arm that shaped this request. `stratum`,
    `template`, `prompt_id`: see Prompt.
    """

    step: str
    messages: tuple[Message, ...]
    prefix_messages: int = 0
    schema: Mapping[str, Any] | None = None
    sampling: Sampling = field(default_factory=Sampling)
    logprobs: bool = False
    item: str | None = None
    tenant: str = ""
    arm: str = ""
    stratum: str = ""
    template: str = ""
    prompt_id: PromptId | None = None


PromptCacheDialect: TypeAlias = Literal["none", "automatic", "anthropic", "openai"]
"""How an endpoint is told to keep a prefix: not at all; it needs no telling; cache_control marks;
prompt_cache_breakpoint marks."""


@dataclass(frozen=True, slots=True)
class CachePlan:
    """What a provider is told to keep of one request's prefix. Decided by caching, sent by routing.

    `marks`: how many leading messages each marked prefix holds, rising, at most four. `ttl`: how
    long it is kept, as the provider writes it; None where there is no choice. `cache_key`:
    OpenAI's `prompt_cache_key`. `key`: names prefix and deployment, for who writes it first.
    `ttl_s`: seconds it stays readable after its last use. `warm_up`: parallel calls gain by
    waiting for the first, `most_wait_s` seconds at most. `reason`: one line, no prompt text.
    """

    dialect: PromptCacheDialect = "none"
    marks: tuple[int, ...] = ()
    ttl: Literal["5m", "1h", "30m"] | None = None
    cache_key: str | None = None
    key: str = ""
    ttl_s: float = 0.0
    warm_up: bool = False
    most_wait_s: float = 30.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more calls, normalised: parts are always included in their whole.

    `input_tokens` includes cache reads and writes, `output_tokens` includes reasoning.
    `cache_write_1h_tokens`: the cache writes that are kept for an hour, which cost more.
    `estimated`: the provider sent no usage, and the numbers are a guess.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    cache_write_1h_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.estimated or other.estimated,
            self.cache_write_1h_tokens + other.cache_write_1h_tokens,
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a streamed reply, as `on_chunk` receives it.

    `attempt` rises when the text starts anew: after a failover, a repair or an escalation.
    """

    text: str
    tier: str
    model: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What one deployment said, and what it took.

    `confidence`: geometric mean of the token probabilities, 0-1, where the provider sends
    logprobs. `ttft_ms`, `itl_ms`, `itl_p95_ms`: time to the first chunk, mean and 95th percentile
    of the gaps between chunks; None unless streamed. `cost_usd`: None when no price is known.
    `saved_by_prefix_usd`: what the provider's prompt cache took off the price; below 0 for a
    write that was not read again. `began_at`: when it was asked, Unix seconds.
    """

    text: str
    tier: str
    deployment: str
    model: str
    usage: Usage
    cost_usd: float | None
    latency_ms: float
    finish_reason: str | None = None
    confidence: float | None = None
    ttft_ms: float | None = None
    itl_ms: float | None = None
    itl_p95_ms: float | None = None
    response_id: str | None = None
    saved_by_prefix_usd: float | None = None
    began_at: float = 0.0

    @property
    def is_cut_off(self) -> bool:
        """Whether the provider ended it before the model did: its length, or a content filter."""
        return self.finish_reason in {"length", "content_filter"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's opinion of one reply. `score`: 0-1. `reason`: one line, no prompt or reply text."""

    judge: str
    score: float
    accepted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer as the exact cache keeps it.

    `text`: the accepted reply, read again for every hit. `usage`: of that reply. `cost_usd`: of
    all that led to it, judges and rejected replies too.
    """

    text: str
    tier: str
    deployment: str
    model: str
    usage: Usage
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A step's result and how it came about.

    `ref`: names this answer in the ledger, for whoever has something to say of it later.
    `tier`, `deployment`, `model`: who gave the accepted reply (for a hit: at the time).
    `replies`: every reply that was paid for, judges' and rejected ones too, and without their text
    those that broke off; `failures`: one line per attempt that failed. `usage`, `cost_usd`: what
    this answer took now, so 0 for a hit; cost is None if a price is unknown. `saved_usd`: what a
    hit did not cost again. `strongest_usd`: the accepted reply's tokens at the price of the
    strongest tier. `ttft_ms`, `itl_ms`, `itl_p95_ms`, `response_id`: of the accepted reply.
    `prompt_id`: see Prompt.
    """

    value: T
    text: str
    step: str
    tier: str
    deployment: str
    model: str
    cache: CacheUse
    usage: Usage
    cost_usd: float | None
    latency_ms: float
    ttft_ms: float | None = None
    itl_ms: float | None = None
    itl_p95_ms: float | None = None
    saved_usd: float | None = None
    strongest_usd: float | None = None
    verdicts: tuple[Verdict, ...] = ()
    replies: tuple[Reply, ...] = ()
    failures: tuple[str, ...] = ()
    arm: str = ""
    prompt_id: PromptId | None = None
    trace_id: str | None = None
    span_id: str | None = None
    ref: str = ""
    response_id: str | None = None
    rejection: Callable[[], None] | None = field(default=None, repr=False, compare=False)

    def reject(self) -> None:
        """Take the answer back: it is not served again, and counts against similar hits.

        Works in any process that shares the store, also later. Raises StoreError.
        """
        if self.rejection is not None:
            self.rejection()

    @property
    def escalations(self) -> int:
        """How many cheaper tiers were passed by."""
        return sum(not verdict.accepted for verdict in self.verdicts)

    @property
    def saved_by_prefix_usd(self) -> float | None:
        """What the providers' prompt caches took off the price; None if a price is unknown."""
        saved = [reply.saved_by_prefix_usd for reply in self.replies]
        return None if None in saved else sum(each for each in saved if each is not None)


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, `1` for `1.0`.

    Raises TypeError for what JSON cannot hold, ValueError for NaN and infinities.
    """
    return json.dumps(
        _whole_numbers(value),
        sort_keys=True,
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    )


_Object = Mapping[str, object]


def _whole_numbers(value: object) -> object:
    # Providers treat 0 and 0.0 alike, so a key must too.
    match value:
        case str() | None:
            return value
        case float() if value.is_integer():
            return int(value)
        case Mapping():
            return {key: _whole_numbers(item) for key, item in cast(_Object, value).items()}
        case list() | tuple():
            return [_whole_numbers(item) for item in cast("list[object]", value)]
        case _:
            return value
