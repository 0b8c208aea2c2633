"""llama.cpp: options of llama-server as of build 11434, from `[engines.NAME]`. Starts nothing."""

from typing import Annotated, ClassVar

from ...engine_settings import EngineSettings
from ...errors import ConfigError
from .flags import Flag, Profile, numbers

_SLOTS = 4
_PREFILL_BATCH = 2048
_DECODE_BATCH = 512
_METHODS = {"draft": "draft-simple", "ngram": "ngram-mod", "eagle": "draft-eagle3"}
_RENAMED = "10000"


class LlamaCpp(Profile):
    """Options of `llama-server`. Its window is shared by the slots, unlike the other engines'."""

    newest: ClassVar[str] = "11434"

    model: Annotated[str, Flag("--model", "what is served: a .gguf file")]
    alias: Annotated[
        str | None, Flag("--alias", "requests name it without a path of this machine")
    ] = None
    host: Annotated[str | None, Flag("--host", "where it listens")] = None
    port: Annotated[int | None, Flag("--port", "each replica has its own")] = None
    ctx_size: Annotated[
        int | None, Flag("--ctx-size", "of all slots together: the longest request times slots")
    ] = None
    parallel: Annotated[int | None, Flag("--parallel", "slots: requests beyond wait for one")] = (
        None
    )
    batch_size: Annotated[
        int | None,
        Flag("--batch-size", "one iteration reads so much: less keeps running replies' gaps short"),
    ] = None
    ubatch_size: Annotated[
        int | None, Flag("--ubatch-size", "computed at once; above --batch-size it has no effect")
    ] = None
    gpu_layers: Annotated[
        int | None, Flag("--n-gpu-layers", "0 keeps the model off GPUs that there may be")
    ] = None
    threads: Annotated[
        int | None, Flag("--threads", "more than there are cores for wait for each other")
    ] = None
    cont_batching: Annotated[
        bool, Flag("--cont-batching", "a request joins those under way at once")
    ] = True
    metrics: Annotated[bool, Flag("--metrics", "its page of counters, which is off by default")] = (
        True
    )
    spec_type: Annotated[
        str | None,
        Flag(
            "--spec-type",
            "guessed tokens are checked several at once; faster for few requests, slower for many",
            since=_RENAMED,
        ),
    ] = None
    draft_model: Annotated[str | None, Flag("--model-draft", "what guesses")] = None
    draft_tokens: Annotated[
        int | None,
        Flag("--spec-draft-n-max", "guesses in a row", since=_RENAMED, was="--draft-max"),
    ] = None


def llama_cpp(settings: EngineSettings, replica: int) -> LlamaCpp:
    """Return the profile of one replica. Raises ConfigError for what its version cannot do."""
    batch = {"plain": None, "prefill": _PREFILL_BATCH, "decode": _DECODE_BATCH}[settings.purpose]
    batch = settings.chunk_tokens or batch
    slots = settings.max_requests or _SLOTS
    guess = settings.speculation
    version = settings.version or LlamaCpp.newest
    if guess is not None and guess.method != "draft" and numbers(version) < numbers(_RENAMED):
        raise ConfigError(
            f"llama.cpp {version} knows no speculation but by a draft model. Use draft, or a newer "
            "build."
        )
    return LlamaCpp(
        model=settings.model,
        alias=settings.served_name,
        host=settings.host,
        port=settings.port + replica,
        ctx_size=settings.context_tokens and settings.context_tokens * slots,
        parallel=slots,
        batch_size=batch,
        ubatch_size=batch,
        gpu_layers=0 if settings.is_on_cpu else None,
        threads=settings.threads,
        spec_type=_METHODS[guess.method] if guess else None,
        draft_model=guess.model if guess else None,
        draft_tokens=guess.tokens if guess and guess.method != "ngram" else None,
    )
