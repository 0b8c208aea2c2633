"""transformers: options of `transformers serve` as of 5.23, for `[engines.NAME]`. Starts none."""

from typing import Annotated, ClassVar

from ...engine_settings import EngineSettings
from .flags import Flag, Profile, Variable

_PREFILL_CHUNK = 2048
_DECODE_CHUNK = 256


class TransformersServe(Profile):
    """Options of `transformers serve`: the smallest engine, for tests and trials."""

    newest: ClassVar[str] = "5.23"

    model: Annotated[str, Flag("", "loaded at the start, not at the first request")]
    continuous_batching: Annotated[
        bool, Flag("--continuous-batching", "requests are computed together; off by default")
    ] = True
    host: Annotated[str | None, Flag("--host", "where it listens")] = None
    port: Annotated[int | None, Flag("--port", "each replica has its own")] = None
    device: Annotated[str | None, Flag("--device", "computes without a GPU")] = None
    dtype: Annotated[
        str | None,
        Flag("--dtype", "float32 makes replies equal from run to run; less is faster"),
    ] = None
    block_size: Annotated[
        int | None, Flag("--cb-block-size", "prefixes are reused by whole blocks")
    ] = None
    num_blocks: Annotated[int | None, Flag("--cb-num-blocks", "a KV cache of known size")] = None
    max_batch_tokens: Annotated[
        int | None,
        Flag(
            "--cb-max-batch-tokens",
            "one iteration reads so much: less keeps the gaps of running replies short",
        ),
    ] = None
    memory_share: Annotated[
        float | None, Flag("--cb-max-memory-percent", "what the KV cache may take of a GPU")
    ] = None
    threads: Annotated[
        int | None, Variable("OMP_NUM_THREADS", "more than there are cores for wait for each other")
    ] = None


def transformers_serve(settings: EngineSettings, replica: int) -> TransformersServe:
    """Return the profile of one replica."""
    chunk = {"plain": None, "prefill": _PREFILL_CHUNK, "decode": _DECODE_CHUNK}[settings.purpose]
    return TransformersServe(
        model=settings.model,
        host=settings.host,
        port=settings.port + replica,
        device="cpu" if settings.is_on_cpu else None,
        dtype=settings.dtype,
        block_size=settings.block_tokens,
        num_blocks=settings.cache_blocks,
        max_batch_tokens=settings.chunk_tokens or chunk,
        memory_share=settings.memory_share,
        threads=settings.threads,
    )
