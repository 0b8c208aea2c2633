"""Ground: `[engines.NAME]` of tierflow.toml: how an engine of one's own is started. Starts none."""

from collections.abc import Mapping
from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

EngineKind: TypeAlias = Literal["vllm", "sglang", "llama.cpp", "transformers"]
Purpose: TypeAlias = Literal["plain", "prefill", "decode"]
"""What most of the work is: of both kinds; reading long prompts; writing for many at once."""

_DEFAULT_PORT = 8000


REPLAY_PORTS = 1000
"""So much above the port of its KV events an engine has the one where they are asked for again."""


class Speculation(BaseModel):
    """Tokens are guessed, and the model checks several at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["draft", "ngram", "eagle"] = Field(
        description="a smaller model of the same tokenizer guesses; what stands in the prompt is "
        "repeated; heads trained for the model (EAGLE-3) guess"
    )
    model: str | None = Field(default=None, description="the draft's or the heads' name or folder")
    tokens: int = Field(default=4, ge=1, description="guessed at a time, at most")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.method == "ngram") == (self.model is not None):
            remedy = "Remove model" if self.model else "Name it with model"
            needs = "no model" if self.method == "ngram" else "a model"
            raise ValueError(f"speculation by {self.method} needs {needs}. {remedy}")
        return self


class EngineSettings(BaseModel):
    """One engine, and how many replicas of it. What is not given is the engine's own default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: EngineKind
    model: str = Field(description="name or folder, as the engine takes it; llama.cpp: a .gguf")
    served_name: str | None = Field(default=None, description="what requests call the model")
    version: str | None = Field(
        default=None, description="the engine's; None: the newest that its profile was written for"
    )
    program: tuple[str, ...] = Field(
        default=(), description="what starts the engine, in place of its usual command"
    )
    host: str = Field(default="127.0.0.1", description="where it listens")
    port: int = Field(
        default=_DEFAULT_PORT, gt=0, lt=65536, description="of the first replica; the rest follow"
    )
    replicas: int = Field(default=1, ge=1)
    purpose: Purpose = "plain"
    device: Literal["gpu", "cpu"] = "gpu"
    dtype: str | None = Field(default=None, description="of the weights, such as bfloat16")
    context_tokens: int | None = Field(default=None, gt=0, description="longest prompt and reply")
    chunk_tokens: int | None = Field(
        default=None,
        gt=0,
        description="read and written in one iteration, of all requests; `tierflow serving tune` "
        "finds it",
    )
    max_requests: int | None = Field(default=None, gt=0, description="computed at a time")
    block_tokens: int | None = Field(default=None, gt=0, description="of a block of the KV cache")
    cache_blocks: int | None = Field(default=None, gt=0, description="of the KV cache")
    cache_gib: float | None = Field(default=None, gt=0, description="of KV cache, on a CPU")
    memory_share: float | None = Field(default=None, gt=0, le=1, description="of a GPU's memory")
    gpus: int | None = Field(default=None, gt=0, description="that one replica is spread over")
    threads: int | None = Field(default=None, gt=0, description="on a CPU")
    kv_events_port: int | None = Field(
        default=None,
        gt=0,
        lt=65536,
        description="of the first replica's KV events, for a pool with precise affinity; the rest "
        "follow",
    )
    speculation: Speculation | None = None
    arguments: tuple[str, ...] = Field(default=(), description="further ones, as they stand")
    environment: Mapping[str, str] = Field(default_factory=dict[str, str])

    @model_validator(mode="after")
    def _has_ports(self) -> Self:
        last = max(self.port, (self.kv_events_port or 0) + REPLAY_PORTS) + self.replicas - 1
        if last > 65_535:
            raise ValueError(
                f"{self.replicas} replicas would need the port {last}. Lower the first"
            )
        return self

    @property
    def is_on_cpu(self) -> bool:
        """Whether it computes without a GPU."""
        return self.device == "cpu"

    def kv_events(self, replica: int) -> Mapping[str, str] | None:
        """Return where a replica publishes its KV events, as vLLM and SGLang are told; or None.

        With a `*` the engine listens; without one it would connect, and somebody else must listen.
        At the second whoever listens from later on asks for what came before.
        """
        if self.kv_events_port is None:
            return None
        port = self.kv_events_port + replica
        return {
            "publisher": "zmq",
            "endpoint": f"tcp://*:{port}",
            "replay_endpoint": f"tcp://*:{port + REPLAY_PORTS}",
        }

    def api_base(self, replica: int = 0) -> str:
        """Return where a replica of this machine is asked."""
        host = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104  # all of them
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port + replica}/v1"
