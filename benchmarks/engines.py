"""Engines: real ones on this machine, each a process of its own, with a small model of ours.

vLLM for CPUs comes from `make engines`; the models have drawn weights and are made here, in
seconds. Loopback only, and every engine is ended by its process id.

    folder = save_model(SMALL, Path("model"))
    with engines([Vllm(folder), Vllm(folder)], logs=Path()) as (first, second): ...
"""

import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from tierflow.serving.engines import end as stop

from .servers import free_port

_ENGINES = Path(__file__).parents[1] / ".engines"
PYTHON = _ENGINES / ".venv" / "bin" / "python"
ROUTER = _ENGINES / ".router" / "bin" / "python"
_HOST = "127.0.0.1"
_START_S = 300.0
_TELL_S = 15.0
_TAIL = 15
_CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")


class NoEngineError(RuntimeError):
    """There is no engine here, or it does not start."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama with drawn weights. `damping`: of all layers above the first two, 1 for none.

    The smaller it is, the better the first two layers alone guess what all of them say: so they are
    a draft model whose acceptance can be set.
    """

    layers: int = 8
    hidden: int = 512
    window: int = 8192
    damping: float = 1.0
    seed: int = 0


SMALL = Shape()
"""32 million parameters: a prompt of 2,000 tokens takes seconds on two cores."""

LARGE = Shape(layers=15, hidden=1024, window=4096, damping=0.35)
"""205 million parameters; its first two layers have 42 million."""


def vllm_python() -> Path:
    """Return the interpreter that has vLLM. Raises NoEngineError that says how to get one."""
    if not PYTHON.exists():
        raise NoEngineError(
            "No vLLM for CPUs is installed here. `make engines` installs it into .engines/, which "
            "takes some minutes and 3 GB."
        )
    return PYTHON


def save_model(shape: Shape, folder: Path, *, draft: Path | None = None) -> Path:
    """Save a model with its tokenizer and chat template; `draft`: its first two layers, too."""
    torch: Any = import_module("torch")
    transformers: Any = import_module("transformers")

    torch.manual_seed(shape.seed)
    tokenizer = _tokenizer()
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=int(2.75 * shape.hidden),
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.hidden // 64,
        num_key_value_heads=max(1, shape.hidden // 128),
        max_position_embeddings=shape.window,
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = transformers.LlamaForCausalLM(config).float()
    with torch.no_grad():
        for layer in model.model.layers[2:]:
            layer.self_attn.o_proj.weight *= shape.damping
            layer.mlp.down_proj.weight *= shape.damping
        # Otherwise a reply might end at any token, and lengths would be chance.
        model.lm_head.weight[tokenizer.eos_token_id] = 0
    _save(model, tokenizer, folder)
    if draft is not None:
        _save(_first_layers(model, config, transformers), tokenizer, draft)
    return folder


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _first_layers(model: Any, config: Any, transformers: Any) -> Any:
    config.num_hidden_layers = 2
    first = transformers.LlamaForCausalLM(config).float()
    wanted = first.state_dict()
    first.load_state_dict({name: model.state_dict()[name] for name in wanted})
    return first


def _tokenizer() -> Any:
    """Return a byte-level BPE of 8,192 tokens, trained on Python's own library."""
    tokenizers: Any = import_module("tokenizers")
    transformers: Any = import_module("transformers")
    trained = tokenizers.Tokenizer(tokenizers.models.BPE())
    trained.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=8192,
        special_tokens=list(_SPECIAL),
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library = Path(os.__file__).parent
    texts = (path.read_text(errors="ignore") for path in sorted(library.glob("*.py"))[:60])
    trained.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=trained,
        pad_token=_SPECIAL[0],
        eos_token=_SPECIAL[1],
        chat_template=_CHAT,
    )


class Engine(Protocol):
    """One engine that can be started."""

    def command(self, port: int) -> list[str]:
        """Return its command line. Raises NoEngineError."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """What stands in its environment beside this process's own."""
        ...


@dataclass(frozen=True, slots=True)
class Vllm:
    """vLLM for CPUs. `options`: of its command line; `cache_gib`: of KV cache.

    It serves the model under the name `small`.
    """

    model: Path
    options: tuple[str, ...] = ()
    cache_gib: int = 1
    threads: int = 1
    extra: Mapping[str, str] = field(default_factory=dict[str, str])

    def command(self, port: int) -> list[str]:
        """Return its command line. Raises NoEngineError."""
        return [
            str(vllm_python()),
            *("-m", "vllm.entrypoints.openai.api_server"),
            *("--model", str(self.model), "--served-model-name", "small"),
            *("--host", _HOST, "--port", str(port)),
            *("--dtype", "float32", "--enforce-eager", "--block-size", "32"),
            "--enable-prompt-tokens-details",
            *self.options,
        ]

    @property
    def environment(self) -> Mapping[str, str]:
        """What stands in its environment beside this process's own."""
        return {
            "VLLM_CPU_KVCACHE_SPACE": str(self.cache_gib),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(self.threads),
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            **self.extra,
        }


@dataclass(frozen=True, slots=True)
class TransformersServe:
    """`transformers serve` of this environment: no KV events, no metrics page, starts in seconds.

    It serves the model under its folder's path. Its cache holds 8,192 tokens: by itself it takes
    most of the memory that is free.
    """

    model: Path
    options: tuple[str, ...] = (
        "--continuous-batching",
        *("--cb-block-size", "32", "--cb-num-blocks", "256", "--cb-max-batch-tokens", "512"),
    )
    threads: int = 1

    def command(self, port: int) -> list[str]:
        """Return its command line."""
        program = str(Path(sys.executable).with_name("transformers"))
        place = ("--host", _HOST, "--port", str(port), "--device", "cpu")
        return [program, "serve", str(self.model), *place, *self.options]

    @property
    def environment(self) -> Mapping[str, str]:
        """What stands in its environment beside this process's own."""
        return {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(self.threads)}


@dataclass(frozen=True, slots=True)
class SglangRouter:
    """SGLang's router, cache-aware and with its own defaults, before engines that run."""

    replicas: tuple[str, ...]

    def command(self, port: int) -> list[str]:
        """Return its command line. Raises NoEngineError."""
        if not ROUTER.exists():
            raise NoEngineError("No sglang-router is installed here. `make engines` installs it.")
        return [
            *(str(ROUTER), "-m", "sglang_router.launch_router"),
            *("--policy", "cache_aware", "--host", _HOST, "--port", str(port)),
            *("--prometheus-host", _HOST, "--prometheus-port", str(free_port())),
            *("--worker-urls", *(each.removesuffix("/v1") for each in self.replicas)),
        ]

    @property
    def environment(self) -> Mapping[str, str]:
        """What stands in its environment beside this process's own."""
        return {}


@contextmanager
def engines(started: Sequence[Engine], logs: Path) -> Generator[list[str]]:
    """Run engines side by side. Yields their api_bases. Raises NoEngineError with a log's end."""
    with ExitStack() as stack:
        running = dict[str, tuple[subprocess.Popen[bytes], Path]]()
        for number, engine in enumerate(started):
            base = f"http://{_HOST}:{free_port()}/v1"
            log = logs / f"engine-{number}.log"
            running[base] = (stack.enter_context(_running(engine, base, log)), log)
        for base, (process, log) in running.items():
            _wait(base, process, log)
        yield list(running)


@contextmanager
def _running(engine: Engine, base: str, log: Path) -> Generator[subprocess.Popen[bytes]]:
    command = engine.command(urlsplit(base).port or 0)
    environment = {**os.environ, **engine.environment}
    with log.open("wb") as file:
        # A session of its own: Ctrl-C is this process's to hear, and what an engine has started
        # ends with it.
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            stop(process)


def _wait(base: str, process: subprocess.Popen[bytes], log: Path) -> None:
    began = told = time.monotonic()
    print(f"Waiting for the engine at {base} ...", file=sys.stderr)
    while (now := time.monotonic()) < began + _START_S and process.poll() is None:
        try:
            if httpx.get(base.removesuffix("/v1") + "/health", trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.5)
        if now > told + _TELL_S:
            told = now
            print(f"  {now - began:.0f} s; its log is {log}", file=sys.stderr)
    how = f"ended with {process.returncode}" if process.returncode is not None else "did not start"
    end = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL:])
    raise NoEngineError(
        f"The engine at {base} {how} after {time.monotonic() - began:.0f} s. Its log {log} ends "
        f"with:\n{end}"
    )
