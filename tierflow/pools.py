"""Ground: `[pools.NAME]` of tierflow.toml: replicas of one self-hosted engine. Reaches none."""

from collections.abc import Iterable, Mapping
from typing import Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Affinity: TypeAlias = Literal["approximate", "precise", "gateway", "none"]
"""How a pool learns which replica holds which prefix: from what was sent; from the engines' KV
events; not at all, because a gateway in front of them decides; not at all, and load decides."""

KEEPALIVE_S = 4
"""So long an idle connection to an engine is kept. vLLM and SGLang (uvicorn) hang up after 5 s, and
a call that is sent just then is lost."""

PREFILL_WEIGHT = 6.0
"""The `prefill_weight` of a pool that names none, and the simulator's. See docs/adr/ for why."""


class Pool(BaseModel):
    """Replicas that serve the same model, and how requests are spread over them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    replicas: tuple[str, ...] = Field(
        default=(), description="their api_bases, such as http://10.0.0.5:8000/v1"
    )
    dns: str | None = Field(
        default=None,
        description="an api_base in place of `replicas`: each address of its host is a replica",
    )
    affinity: Affinity = "approximate"
    kv_events: tuple[str, ...] = Field(
        default=(),
        description="where each replica publishes its KV events, in the order of `replicas`: "
        "tcp://host:port, bind+tcp://127.0.0.1:port for an engine that connects; ?replay=port",
    )
    cache_tokens: int = Field(
        default=500_000,
        gt=0,
        description="tokens that one replica's KV cache holds; vLLM logs it at the start",
    )
    prefill_weight: float = Field(
        default=PREFILL_WEIGHT,
        ge=0,
        allow_inf_nan=False,
        description="what a token that must be read anew counts, against one that waits already",
    )
    session_ttl_s: float = Field(
        default=300.0, gt=0, description="how long a run keeps to its replica, all else being equal"
    )
    prefill_heavy_tokens: int = Field(
        default=2048,
        ge=0,
        description="a request with more uncached tokens is long to read, for the two below",
    )
    prefill_tokens_at_once: int | None = Field(
        default=None,
        gt=0,
        description="most uncached tokens of such requests that a batch has read at once, so that "
        "others go on writing; None for any number",
    )
    prefill_lane: str | None = Field(
        default=None, min_length=1, description="a [pools.NAME] that such requests go to instead"
    )
    poll_s: float = Field(
        default=1.0, gt=0, description="how often the replicas are asked how busy they are"
    )

    @property
    def address(self) -> str:
        """One api_base that serves it: its host, its gateway, or its first replica."""
        return self.dns or self.replicas[0]

    @field_validator("replicas", "dns")
    @classmethod
    def _are_urls(cls, value: tuple[str, ...] | str | None) -> tuple[str, ...] | str | None:
        for url in (value,) if isinstance(value, str) else value or ():
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError("a replica is an http(s) URL, such as http://10.0.0.5:8000/v1")
            try:
                port = parts.port
            except ValueError:
                port = 0
            if port == 0:
                raise ValueError("a replica's port is a number from 1 to 65535")
        return value

    @field_validator("kv_events")
    @classmethod
    def _are_endpoints(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for written in value:
            parts = urlsplit(written)
            if parts.scheme not in {"tcp", "bind+tcp"} or ":" not in parts.netloc:
                raise ValueError(
                    f"{written} is no endpoint of KV events, such as tcp://10.0.0.5:5557"
                )
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if bool(self.replicas) == (self.dns is not None):
            raise ValueError("a pool has either replicas or dns. Give one of them")
        if len(set(self.replicas)) < len(self.replicas):
            raise ValueError("a replica is named twice. Name each once")
        if self.affinity == "gateway" and len(self.replicas) > 1:
            raise ValueError(
                f"a gateway has one address, and {len(self.replicas)} replicas are named. Give the "
                "gateway's own"
            )
        if self.affinity == "precise" and self.dns is not None:
            raise ValueError(
                "precise affinity needs to know each replica's events, and dns names none. Give "
                'replicas and kv_events, or affinity = "approximate"'
            )
        if self.affinity == "precise" and len(self.kv_events) != len(self.replicas):
            raise ValueError(
                f"precise affinity needs one of kv_events for each of the {len(self.replicas)} "
                f"replicas, and there are {len(self.kv_events)}"
            )
        if self.affinity == "gateway" and self.prefill_lane is not None:
            raise ValueError(
                f"prefill_lane names {self.prefill_lane}, and nobody here knows what a gateway's "
                "replicas hold. Leave it out, or name the replicas"
            )
        return self


def check_names(pools: Mapping[str, Pool], named: Iterable[str]) -> None:
    """Check that lanes and tiers (`named`) name pools. Raises ValueError for those that do not."""
    for name, pool in pools.items():
        lane = pool.prefill_lane
        if lane is None:
            continue
        if lane not in pools:
            raise ValueError(f"prefill_lane names {lane}, and there is no such [pools.NAME]")
        if pools[lane].affinity == "gateway":
            raise ValueError(
                f"prefill_lane of [pools.{name}] names {lane}, and that is a gateway. Name a pool "
                "of replicas"
            )
    if unknown := set(named) - pools.keys():
        raise ValueError(
            f"tiers name the pools {', '.join(sorted(unknown))}, and there is no such [pools.NAME]"
        )
