"""SGLang: its options as of 0.5, from `[engines.NAME]`. Starts nothing."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from ...engine_settings import EngineSettings
from .flags import Flag, Profile

_PREFILL_CHUNK = 8192
_DECODE_CHUNK = 512
_METHODS = {"draft": "STANDALONE", "ngram": "NGRAM", "eagle": "EAGLE3"}


class Sglang(Profile):
    """Options of `python -m sglang.launch_server`."""

    newest: ClassVar[str] = "0.5"

    model_path: Annotated[str, Flag("--model-path", "what is served")]
    served_model_name: Annotated[
        str | None, Flag("--served-model-name", "requests name it without a path of this machine")
    ] = None
    host: Annotated[str | None, Flag("--host", "where it listens")] = None
    port: Annotated[int | None, Flag("--port", "each replica has its own")] = None
    device: Annotated[str | None, Flag("--device", "computes without a GPU")] = None
    dtype: Annotated[
        str | None,
        Flag("--dtype", "float32 makes replies equal from run to run; less is faster"),
    ] = None
    context_length: Annotated[
        int | None,
        Flag("--context-length", "a shorter window leaves room for more requests at once"),
    ] = None
    tp_size: Annotated[int | None, Flag("--tp-size", "the model is spread over so many GPUs")] = (
        None
    )
    mem_fraction_static: Annotated[
        float | None, Flag("--mem-fraction-static", "what the weights leave of it is KV cache")
    ] = None
    max_total_tokens: Annotated[
        int | None, Flag("--max-total-tokens", "a KV cache of known size")
    ] = None
    page_size: Annotated[
        int | None, Flag("--page-size", "prefixes are reused by whole pages; 1 finds all of them")
    ] = None
    chunked_prefill_size: Annotated[
        int | None,
        Flag(
            "--chunked-prefill-size",
            "one iteration reads so much: more reads prompts sooner, less keeps the gaps of running"
            " replies short",
        ),
    ] = None
    enable_mixed_chunk: Annotated[
        bool,
        Flag("--enable-mixed-chunk", "replies go on in the iterations that read a prompt"),
    ] = False
    max_running_requests: Annotated[
        int | None,
        Flag("--max-running-requests", "requests beyond wait instead of making all others slow"),
    ] = None
    schedule_policy: Annotated[
        str | None,
        Flag("--schedule-policy", "who shares most with the cache goes first: fewer evictions"),
    ] = None
    enable_metrics: Annotated[
        bool, Flag("--enable-metrics", "routing learns how busy it is; off by default")
    ] = True
    enable_cache_report: Annotated[
        bool,
        Flag(
            "--enable-cache-report",
            "usage tells cached_tokens: costs and placement are held to it",
        ),
    ] = True
    kv_events_config: Annotated[
        Mapping[str, Any] | None,
        Flag("--kv-events-config", "tells which blocks are held, for pools of precise affinity"),
    ] = None
    speculative_algorithm: Annotated[
        str | None,
        Flag(
            "--speculative-algorithm",
            "guessed tokens are checked several at once; faster for few requests, slower for many:"
            " `tierflow serving validate` says up to how many",
        ),
    ] = None
    speculative_draft_model_path: Annotated[
        str | None, Flag("--speculative-draft-model-path", "what guesses")
    ] = None
    speculative_num_steps: Annotated[
        int | None, Flag("--speculative-num-steps", "guesses in a row")
    ] = None
    speculative_eagle_topk: Annotated[
        int | None, Flag("--speculative-eagle-topk", "1: one guess at each place, no tree of them")
    ] = None
    speculative_num_draft_tokens: Annotated[
        int | None, Flag("--speculative-num-draft-tokens", "checked at once: the guesses, and one")
    ] = None


def sglang(settings: EngineSettings, replica: int) -> Sglang:
    """Return the profile of one replica."""
    chunk, policy = {
        "plain": (None, None),
        "prefill": (_PREFILL_CHUNK, "lpm"),
        "decode": (_DECODE_CHUNK, None),
    }[settings.purpose]
    guess = settings.speculation
    has_model = guess is not None and guess.method != "ngram"
    block, blocks = settings.block_tokens, settings.cache_blocks
    return Sglang(
        model_path=settings.model,
        served_model_name=settings.served_name,
        host=settings.host,
        port=settings.port + replica,
        device="cpu" if settings.is_on_cpu else None,
        dtype=settings.dtype,
        context_length=settings.context_tokens,
        tp_size=settings.gpus,
        mem_fraction_static=settings.memory_share,
        max_total_tokens=blocks and blocks * (block or 1),
        page_size=block,
        chunked_prefill_size=settings.chunk_tokens or chunk,
        enable_mixed_chunk=settings.purpose == "decode",
        max_running_requests=settings.max_requests,
        schedule_policy=policy,
        kv_events_config=_events(settings, replica),
        speculative_algorithm=_METHODS[guess.method] if guess else None,
        speculative_draft_model_path=guess.model if guess else None,
        speculative_num_steps=guess.tokens if guess and has_model else None,
        speculative_eagle_topk=1 if has_model else None,
        speculative_num_draft_tokens=guess.tokens + 1 if guess else None,
    )


def _events(settings: EngineSettings, replica: int) -> Mapping[str, Any] | None:
    told = settings.kv_events(replica)
    return told and {**told, "topic": f"kv@{replica}"}
