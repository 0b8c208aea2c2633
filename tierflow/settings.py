"""Ground: one tree of settings from tierflow.toml and TIERFLOW_*. Reads files; opens nothing else.

Later sources go over earlier ones, key by key: catalogue.toml (shipped), tierflow.toml (found
upward from the working directory, or named by TIERFLOW_CONFIG), then environment variables such
as TIERFLOW_HOME or TIERFLOW_TIERS__FAST__TIMEOUT_S=10.
"""

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from .budgets import Budget
from .cassette import CassetteSettings
from .engine_settings import EngineSettings
from .errors import ConfigError, ConfigNotFoundError, UnknownTierError
from .evaluation_settings import EvaluationsSettings
from .policy import Policy
from .pools import Pool, check_names
from .request import Sampling
from .telemetry_settings import TelemetrySettings

CONFIG_NAME = "tierflow.toml"
_SHIPPED = Path(__file__).with_name("catalogue.toml")
_STRICT = ConfigDict(frozen=True, extra="forbid")


def shown_url(url: str) -> str:
    """Return a URL without user, password and query: names are shown and logged."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class Deployment(BaseModel):
    """One model at one endpoint."""

    model_config = _STRICT

    model: str = Field(description="litellm's name, provider first: anthropic/claude-haiku-5-5")
    api_base: str | None = Field(default=None, description="endpoint, for self-hosted engines")
    api_key_env: str | None = Field(default=None, description="variable that holds the API key")
    pool: str | None = Field(
        default=None, min_length=1, description="a [pools.NAME] of replicas, in place of api_base"
    )
    region: str | None = Field(
        default=None, min_length=1, description="where it computes, in your words, for [policy]"
    )
    input_usd_per_mtok: float | None = Field(default=None, ge=0)
    output_usd_per_mtok: float | None = Field(default=None, ge=0)
    cache_read_usd_per_mtok: float | None = Field(default=None, ge=0)
    cache_write_usd_per_mtok: float | None = Field(default=None, ge=0)
    prompt_cache: Literal["auto", "none", "automatic", "anthropic", "openai"] = Field(
        default="auto",
        description="which prompt-cache marks the endpoint knows; auto: by provider, none with a "
        "custom OpenAI-like endpoint",
    )
    params: Mapping[str, Any] = Field(
        default_factory=dict, description="further options of the chat request, passed as they are"
    )
    rpm: float | None = Field(default=None, gt=0, description="most requests a minute, of all")
    tpm: float | None = Field(default=None, gt=0, description="most tokens a minute, in and out")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if "/" not in self.model:
            raise ValueError(f"{self.model} names no provider. Write it first: openai/{self.model}")
        if self.api_base is not None and self.pool is not None:
            raise ValueError(f"{self.model} has both api_base and pool. Keep one of them")
        # Otherwise it would be found out when the first reply is paid for.
        if (self.input_usd_per_mtok is None) != (self.output_usd_per_mtok is None):
            raise ValueError(
                f"{self.name} has only one of input_usd_per_mtok and output_usd_per_mtok. Give "
                "both, or neither to use litellm's price map"
            )
        return self

    @property
    def name(self) -> str:
        """Tells a tier's deployments apart, and no secret: model, endpoint, key's variable."""
        endpoint = f"@{shown_url(self.api_base)}" if self.api_base else ""
        endpoint = f"@{self.pool}" if self.pool else endpoint
        key = f" ({self.api_key_env})" if self.api_key_env else ""
        return f"{self.model}{endpoint}{key}"

    @property
    def instance(self) -> str:
        """Tells apart who answers: `name`, and of a pool the replica, once there is one."""
        replica = f" {shown_url(self.api_base)}" if self.pool and self.api_base else ""
        return f"{self.name}{replica}"

    @property
    def is_self_hosted(self) -> bool:
        """Whether it names its own endpoint, or a pool of them."""
        return bool(self.api_base or self.pool)

    def at(self, replica: str) -> "Deployment":
        """Return it at one replica of its pool, by that one's api_base."""
        return self.model_copy(update={"api_base": replica})

    @property
    def provider(self) -> str:
        """The first part of the model's name."""
        return self.model.partition("/")[0]


class Tier(BaseModel):
    """Deployments that are as good as each other, asked in order."""

    model_config = _STRICT

    deployments: tuple[Deployment, ...] = Field(min_length=1)
    timeout_s: float = Field(default=60.0, gt=0, description="limit for one call, or one chunk")
    max_wait_s: float = Field(
        default=30.0, ge=0, description="longest wait for a Retry-After when all else failed"
    )
    deadline_s: float | None = Field(
        default=None, gt=0, description="a step that begins at this tier ends by then, all in all"
    )
    slow_call_s: float | None = Field(
        default=None, gt=0, description="what takes longer is slow; None: by what is usual"
    )
    hedge: bool = Field(
        default=False, description="ask a second deployment when the first is late; both are paid"
    )
    hedge_share: float = Field(
        default=0.05, gt=0, le=0.2, description="most calls that are hedged, of all"
    )
    sampling: Sampling = Field(
        default=Sampling(temperature=0),
        description="the tier's own; without temperature = 0 answers are not cached",
    )

    @field_validator("deployments", "sampling", mode="before")
    @classmethod
    def _read_json(cls, value: object) -> object:
        # pydantic-settings leaves what lies below a mapping (the specialists) as the raw text.
        return json.loads(value) if isinstance(value, str) else value


class Catalogue(BaseModel):
    """The tiers by name. Specialists are named `specialist.<domain>`."""

    model_config = _STRICT

    fast: Tier
    standard: Tier
    frontier: Tier
    specialist: Mapping[str, Tier] = Field(default_factory=dict)

    def items(self) -> Iterator[tuple[str, Tier]]:
        """Yield name and tier, cheapest first, specialists last."""
        yield from (("fast", self.fast), ("standard", self.standard), ("frontier", self.frontier))
        for domain, tier in self.specialist.items():
            yield f"specialist.{domain}", tier

    def get(self, name: str) -> Tier:
        """Return the tier of that name. Raises UnknownTierError."""
        known = dict(self.items())
        try:
            return known[name]
        except KeyError:
            raise UnknownTierError(
                f"No tier {name!r}. Known: {', '.join(known)}. Use one of them, or add "
                f"[tiers.specialist.<domain>] to {CONFIG_NAME}."
            ) from None


CacheMode: TypeAlias = Literal["on", "refresh", "read-only", "off"]
"""How a run uses the caches: fully; asking anew and keeping that; keeping nothing new; not."""


class CacheSettings(BaseModel):
    """The caches."""

    model_config = _STRICT

    mode: CacheMode = "on"
    ttl_s: float = Field(default=7 * 24 * 3600.0, gt=0, description="how long an answer is kept")
    size_limit_mb: int = Field(default=1024, gt=0, description="what was not used for long goes")
    encryption_keys: SecretStr | None = Field(
        default=None,
        description="Fernet keys, the newest first, with commas between: what is kept is encrypted",
    )


class BreakerSettings(BaseModel):
    """When a deployment is not asked for a while. Shared by all that share a store."""

    model_config = _STRICT

    window_s: float = Field(default=60.0, gt=0, description="calls of so long ago count")
    window_calls: int = Field(default=20, gt=0, description="the newest so many count")
    min_calls: int = Field(default=10, gt=0, description="fewer calls open nothing by their rate")
    failure_rate: float = Field(default=0.5, gt=0, le=1, description="opens at this share")
    slow_rate: float = Field(default=0.5, gt=0, le=1, description="opens at this share")
    slow_factor: float = Field(
        default=4.0, gt=1, description="slow: so many times what the same step usually takes"
    )
    failures_in_a_row: int = Field(
        default=5, gt=0, description="opens at once, counted over all processes"
    )
    open_s: float = Field(default=5.0, gt=0, description="how long the first time; then doubled")
    max_open_s: float = Field(default=60.0, gt=0)


class BatchSettings(BaseModel):
    """What `.batch` of a step does."""

    model_config = _STRICT

    concurrency: int = Field(
        default=32,
        gt=0,
        description="most items of a batch, and calls of all batches to one deployment, that are "
        "under way at once; how many calls really are goes by what the deployment bears",
    )


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="TIERFLOW_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    home: Path = Field(default=Path(".tierflow"), description="folder of the embedded stores")
    tiers: Catalogue
    pools: Mapping[str, Pool] = Field(
        default_factory=dict, description="replicas of self-hosted engines, by name"
    )
    engines: Mapping[str, EngineSettings] = Field(
        default_factory=dict, description="how engines of one's own are started, by name"
    )
    cache: CacheSettings = CacheSettings()
    batch: BatchSettings = BatchSettings()
    breaker: BreakerSettings = BreakerSettings()
    policy: Policy = Policy()
    budgets: tuple[Budget, ...] = ()
    rollouts: dict[str, Any] = Field(
        default_factory=dict[str, Any],
        description="what is tried, by name; rollouts/configured.py reads it",
    )
    telemetry: TelemetrySettings = TelemetrySettings()
    evaluations: EvaluationsSettings = EvaluationsSettings()
    cassette: CassetteSettings = CassetteSettings()
    store_url: SecretStr | None = Field(
        default=None, description="postgresql+psycopg://…: one store that all workers share"
    )
    rollout_store: Literal["", "prefect"] = Field(
        default="",
        description="prefect: rollouts are kept as Variables of the Prefect server, for teams that "
        "share nothing else; empty: where all else is",
    )
    encoder: str = Field(
        default="minilm", description="minilm, or a sentence-transformers model: name or folder"
    )
    prompts_dir: Path = Field(
        default=Path("prompts"), description="folder of prompts: <name>/<version>.toml"
    )
    replay_dir: Path | None = Field(
        default=None, description="folder of recordings, <model>.jsonl[.gz], for replay/<model>"
    )

    def pool(self, name: str) -> Pool:
        """Return the pool of that name. Raises ConfigError."""
        if name not in self.pools:
            known = ", ".join(self.pools) or "none"
            raise ConfigError(f"{CONFIG_NAME} has no [pools.{name}]. Known: {known}.")
        return self.pools[name]

    def deployment_of(self, pool: str) -> Deployment | None:
        """Return what steps ask of a pool, None where no tier has it."""
        deployments = (each for _, tier in self.tiers.items() for each in tier.deployments)
        return next((each for each in deployments if each.pool == pool), None)

    @model_validator(mode="after")
    def _ranks_known_specialists(self) -> Self:
        if unknown := self.policy.counts_as.keys() - self.tiers.specialist.keys():
            raise ValueError(
                f"policy.counts_as names {', '.join(sorted(unknown))}, and there is no such "
                "[tiers.specialist.<domain>]"
            )
        return self

    @model_validator(mode="after")
    def _knows_pools(self) -> Self:
        named = {each.pool for _, tier in self.tiers.items() for each in tier.deployments}
        check_names(self.pools, filter(None, named))
        return self

    @model_validator(mode="after")
    def _budgets_differ(self) -> Self:
        scopes = [each.scope for each in self.budgets]
        for place, budget in enumerate(self.budgets):
            if budget.scope in scopes[:place]:
                raise ValueError(
                    f"two [[budgets]] are of the same: {budget.label}. Keep the one that is meant"
                )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # .env files are the app's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over tierflow.toml (given as init values) over the shipped catalogue."""
        shipped = InitSettingsSource(settings_cls, _read(_SHIPPED))
        return env_settings, init_settings, shipped


def settings() -> Settings:
    """Return the settings for this process's directory and environment, read once for each.

    Raises ConfigNotFoundError, or ConfigError that names the file or variable, the field and why.
    """
    # Runs once a step: only our own variables are read, because reading one decodes it.
    names = sorted(name for name in os.environ if name.startswith("TIERFLOW_"))
    return _load(Path.cwd(), tuple((name, os.environ[name]) for name in names))


def config_path() -> Path | None:
    """Return the tierflow.toml in force, None if there is none. Raises ConfigNotFoundError."""
    return _find(Path.cwd())


def _find(directory: Path) -> Path | None:
    if named := os.environ.get("TIERFLOW_CONFIG"):
        path = Path(named).expanduser().resolve()
        if not path.is_file():
            raise ConfigNotFoundError(
                f"TIERFLOW_CONFIG names {path}, which does not exist. Correct the path, or unset "
                f"it to use the nearest {CONFIG_NAME} above the working directory."
            )
        return path
    candidates = (folder / CONFIG_NAME for folder in (directory, *directory.parents))
    return next((path for path in candidates if path.is_file()), None)


@lru_cache(maxsize=8)
def _load(directory: Path, _environment: tuple[tuple[str, str], ...]) -> Settings:
    path = _find(directory)
    values = _read(path) if path else {}
    where = f"{path} or a TIERFLOW_* variable" if path else "a TIERFLOW_* variable"
    try:
        loaded = Settings(**values)
    except ValidationError as exc:
        faults = "; ".join(
            ": ".join(filter(None, (".".join(map(str, error["loc"])), error["msg"])))
            for error in exc.errors()
        )
        raise ConfigError(f"Wrong settings in {where}: {faults}.") from exc
    except SettingsError as exc:
        raise ConfigError(f"Wrong settings in {where}: {exc} ({exc.__cause__}).") from exc
    # Relative folders belong to the project, not to wherever a worker happens to run.
    root = path.parent if path else directory
    anchored: dict[str, Any] = {
        "home": root / loaded.home.expanduser(),
        "prompts_dir": root / loaded.prompts_dir.expanduser(),
    }
    if loaded.replay_dir is not None:
        anchored["replay_dir"] = root / loaded.replay_dir.expanduser()
    if (cassette := loaded.cassette.path) is not None:
        anchored["cassette"] = loaded.cassette.model_copy(
            update={"path": root / cassette.expanduser()}
        )
    return loaded.model_copy(update=anchored)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is not valid TOML: {exc}. Correct that line.") from exc
