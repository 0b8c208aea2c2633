"""vLLM: its options as of 0.32, from `[engines.NAME]`. Starts nothing."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from ...engine_settings import EngineSettings, Speculation
from .flags import Flag, Profile, Variable

_CPU_BLOCK = 32
_PREFILL_CHUNK = 8192
_PREFILL_REQUESTS = 64
_DECODE_CHUNK = 512
_DECODE_REQUESTS = 256
_METHODS = {"draft": "draft_model", "ngram": "ngram", "eagle": "eagle3"}


class Vllm(Profile):
    """Options of `vllm serve`, and of `python -m vllm.entrypoints.openai.api_server`."""

    newest: ClassVar[str] = "0.32"

    model: Annotated[str, Flag("--model", "what is served")]
    served_model_name: Annotated[
        str | None, Flag("--served-model-name", "requests name it without a path of this machine")
    ] = None
    host: Annotated[str | None, Flag("--host", "without it every interface listens")] = None
    port: Annotated[int | None, Flag("--port", "each replica has its own")] = None
    dtype: Annotated[
        str | None,
        Flag("--dtype", "float32 makes replies equal from run to run; less is faster"),
    ] = None
    max_model_len: Annotated[
        int | None,
        Flag("--max-model-len", "a shorter window leaves room for more requests at once"),
    ] = None
    tensor_parallel_size: Annotated[
        int | None, Flag("--tensor-parallel-size", "the model is spread over so many GPUs")
    ] = None
    gpu_memory_utilization: Annotated[
        float | None,
        Flag("--gpu-memory-utilization", "what the weights leave of it is KV cache"),
    ] = None
    enforce_eager: Annotated[
        bool, Flag("--enforce-eager", "compiling for a CPU takes minutes, and gains little")
    ] = False
    block_size: Annotated[
        int | None,
        Flag("--block-size", "prefixes are reused by whole blocks; a CPU needs a multiple of 32"),
    ] = None
    num_gpu_blocks_override: Annotated[
        int | None,
        Flag("--num-gpu-blocks-override", "a KV cache of known size, also on a CPU"),
    ] = None
    max_num_batched_tokens: Annotated[
        int | None,
        Flag(
            "--max-num-batched-tokens",
            "one iteration reads so much: more reads prompts sooner, less keeps the gaps of running"
            " replies short; `tierflow serving tune` finds the largest that keeps them",
        ),
    ] = None
    max_num_seqs: Annotated[
        int | None,
        Flag("--max-num-seqs", "requests beyond wait instead of making all others slow"),
    ] = None
    enable_prefix_caching: Annotated[
        bool, Flag("--enable-prefix-caching", "what two prompts begin with is read once")
    ] = True
    enable_chunked_prefill: Annotated[
        bool, Flag("--enable-chunked-prefill", "replies go on while a long prompt is read")
    ] = True
    enable_prompt_tokens_details: Annotated[
        bool,
        Flag(
            "--enable-prompt-tokens-details",
            "usage tells cached_tokens: costs and placement are held to it",
        ),
    ] = True
    kv_events_config: Annotated[
        Mapping[str, Any] | None,
        Flag("--kv-events-config", "tells which blocks are held, for pools of precise affinity"),
    ] = None
    speculative_config: Annotated[
        Mapping[str, Any] | None,
        Flag(
            "--speculative-config",
            "guessed tokens are checked several at once; faster for few requests, slower for many:"
            " `tierflow serving validate` says up to how many",
        ),
    ] = None
    usage_stats: Annotated[
        int | None, Variable("VLLM_NO_USAGE_STATS", "nothing is reported to anybody")
    ] = 1
    cpu_cache_gib: Annotated[
        int | None, Variable("VLLM_CPU_KVCACHE_SPACE", "GiB of memory that is KV cache")
    ] = None
    cpu_binding: Annotated[
        str | None,
        Variable("VLLM_CPU_OMP_THREADS_BIND", "replicas of one machine share its cores"),
    ] = None
    threads: Annotated[
        int | None, Variable("OMP_NUM_THREADS", "more than there are cores for wait for each other")
    ] = None


def vllm(settings: EngineSettings, replica: int) -> Vllm:
    """Return the profile of one replica."""
    cpu = settings.is_on_cpu
    chunk, requests = {
        "plain": (None, None),
        "prefill": (_PREFILL_CHUNK, _PREFILL_REQUESTS),
        "decode": (_DECODE_CHUNK, _DECODE_REQUESTS),
    }[settings.purpose]
    return Vllm(
        model=settings.model,
        served_model_name=settings.served_name,
        host=settings.host,
        port=settings.port + replica,
        dtype=settings.dtype,
        max_model_len=settings.context_tokens,
        tensor_parallel_size=settings.gpus,
        gpu_memory_utilization=None if cpu else settings.memory_share,
        enforce_eager=cpu,
        block_size=settings.block_tokens or (_CPU_BLOCK if cpu else None),
        num_gpu_blocks_override=settings.cache_blocks,
        max_num_batched_tokens=settings.chunk_tokens or chunk,
        max_num_seqs=settings.max_requests or requests,
        kv_events_config=_events(settings, replica),
        speculative_config=_speculation(settings.speculation),
        cpu_cache_gib=max(1, round(settings.cache_gib or 1)) if cpu else None,
        cpu_binding="nobind" if cpu else None,
        threads=settings.threads if cpu else None,
    )


def _events(settings: EngineSettings, replica: int) -> Mapping[str, Any] | None:
    told, served = settings.kv_events(replica), settings.served_name or settings.model
    return told and {"enable_kv_cache_events": True, **told, "topic": f"kv@{replica}@{served}"}


def _speculation(wanted: Speculation | None) -> Mapping[str, Any] | None:
    if wanted is None:
        return None
    found = {"method": _METHODS[wanted.method], "num_speculative_tokens": wanted.tokens}
    if wanted.method == "ngram":
        return {**found, "prompt_lookup_max": wanted.tokens, "prompt_lookup_min": 2}
    return {**found, "model": wanted.model}
