"""Launch: from `[engines.NAME]` to the command that starts one replica. Starts nothing."""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...engine_settings import EngineKind, EngineSettings
from ...errors import ConfigError
from ...plural import plural
from .flags import Option, Profile
from .llama_cpp import LlamaCpp, llama_cpp
from .sglang import Sglang, sglang
from .transformers_serve import TransformersServe, transformers_serve
from .vllm import Vllm, vllm

_PROFILES: Mapping[EngineKind, tuple[type[Profile], Callable[[EngineSettings, int], Profile]]] = {
    "vllm": (Vllm, vllm),
    "sglang": (Sglang, sglang),
    "llama.cpp": (LlamaCpp, llama_cpp),
    "transformers": (TransformersServe, transformers_serve),
}
_CANNOT = {
    "sglang": {"cache_gib": "memory_share"},
    "llama.cpp": dict.fromkeys(
        ("kv_events_port", "dtype", "block_tokens", "cache_blocks", "cache_gib", "memory_share"),
        "context_tokens and max_requests",
    )
    | {"gpus": "arguments"},
    "transformers": dict.fromkeys(
        ("kv_events_port", "speculation", "max_requests", "context_tokens", "gpus"),
        "another engine",
    )
    | {"served_name": "model: requests name it as it stands there", "cache_gib": "cache_blocks"},
    "vllm": dict[str, str](),
}
"""Settings that an engine has no option for, and what to use instead."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One replica as it is started, and where it answers. `environment`: what is added to it."""

    program: tuple[str, ...]
    options: tuple[Option, ...]
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    api_base: str

    @property
    def argv(self) -> list[str]:
        """The whole command line."""
        options = (part for each in self.options if not each.is_variable for part in each.written)
        return [*self.program, *options, *self.arguments]

    @property
    def health_url(self) -> str:
        """A page that is there once the engine answers requests."""
        return f"{self.api_base.removesuffix('/v1')}/health"

    def as_shell(self) -> str:
        """Return it as one line for a shell."""
        variables = (
            f'{name}="${name}"' if is_secret(name) else f"{name}={shlex.quote(value)}"
            for name, value in self.environment.items()
        )
        return " ".join((*variables, shlex.join(self.argv)))


def is_secret(name: str) -> bool:
    """Tell whether a variable's value is for nobody to read, by its name."""
    return any(word in name.upper() for word in ("KEY", "TOKEN", "SECRET", "PASSWORD"))


def launch_of(
    name: str, settings: EngineSettings, replica: int = 0, arguments: Sequence[str] = ()
) -> Launch:
    """Return how replica number `replica` of `[engines.NAME]` is started.

    `arguments` come last, after those of the settings. Raises ConfigError for a setting that the
    engine has no option for, and for a replica that there is none of.
    """
    if not 0 <= replica < settings.replicas:
        raise ConfigError(
            f"[engines.{name}] has {plural(settings.replicas, 'replica')}, numbered from 0, and "
            f"replica {replica} is asked for. Raise replicas there."
        )
    for field, instead in _CANNOT[settings.engine].items():
        if getattr(settings, field) is not None:
            raise ConfigError(
                f"[engines.{name}] {field}: {settings.engine} has no such option. Remove it, or "
                f"use {instead}."
            )
    kind, profile_of = _PROFILES[settings.engine]
    options = tuple(profile_of(settings, replica).options(settings.version or kind.newest))
    variables = {each.written[0]: each.written[1] for each in options if each.is_variable}
    return Launch(
        program=settings.program or _program(settings.engine),
        options=options,
        arguments=(*settings.arguments, *arguments),
        environment=variables | dict(settings.environment),
        api_base=settings.api_base(replica),
    )


def profile_type(engine: EngineKind) -> type[Profile]:
    """Return the profile of an engine: its table of options and reasons."""
    return _PROFILES[engine][0]


def _program(engine: EngineKind) -> tuple[str, ...]:
    match engine:
        case "vllm":
            return ("vllm", "serve")
        case "sglang":
            return ("python3", "-m", "sglang.launch_server")
        case "llama.cpp":
            return ("llama-server",)
        case "transformers":
            # The one beside this interpreter, where there is one: it may not be on the PATH.
            beside = Path(sys.executable).with_name("transformers")
            return (str(beside) if beside.exists() else "transformers", "serve")
