"""Engines: real ones on this machine, each a process of its own, with a small model of ours.

vLLM for CPUs comes from `make engines`; the models have drawn weights and are made here, in
seconds. Loopback only, and every engine is ended by its process id.

    folder = save_model(SMALL, Path("model"))
    with engines([vllm(folder), vllm(folder)], logs=Path()) as (first, second): ...
"""

import os
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tierflow.engine_settings import EngineSettings
from tierflow.errors import EngineStartError
from tierflow.serving.engines import Launch, launch_of, running, wait_until_healthy

from .servers import free_port

_ENGINES = Path(__file__).parents[1] / ".engines"
PYTHON = _ENGINES / ".venv" / "bin" / "python"
ROUTER = _ENGINES / ".router" / "bin" / "python"
_HOST = "127.0.0.1"
_START_S = 300.0
_OFFLINE = {"HF_HUB_OFFLINE": "1"}
_CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")


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
    """Return the interpreter that has vLLM. Raises EngineStartError that says how to get one."""
    if not PYTHON.exists():
        raise EngineStartError(
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


def vllm(model: Path, *options: str) -> Launch:
    """Return how vLLM for CPUs is started, on a free port. Raises EngineStartError without it.

    It serves the model under the name `small`, by one thread and with 1 GiB of KV cache.
    """
    settings = EngineSettings(
        engine="vllm",
        model=str(model),
        served_name="small",
        program=(str(vllm_python()), "-m", "vllm.entrypoints.openai.api_server"),
        port=free_port(),
        device="cpu",
        dtype="float32",
        threads=1,
        arguments=options,
        environment=_OFFLINE,
    )
    return launch_of("small", settings)


def transformers_serve(model: Path) -> Launch:
    """Return how `transformers serve` of this environment is started, on a free port.

    It tells no KV events and no metrics, starts in seconds, and serves the model under its folder's
    path. Its cache holds 8,192 tokens: by itself it takes most of the memory that is free.
    """
    settings = EngineSettings(
        engine="transformers",
        model=str(model),
        port=free_port(),
        device="cpu",
        chunk_tokens=512,
        block_tokens=32,
        cache_blocks=256,
        threads=1,
        environment=_OFFLINE,
    )
    return launch_of("small", settings)


def sglang_router(replicas: Sequence[str]) -> Launch:
    """Return how SGLang's router is started before engines that run: cache-aware, by its defaults.

    Raises EngineStartError without it.
    """
    if not ROUTER.exists():
        raise EngineStartError("No sglang-router is installed here. `make engines` installs it.")
    port = free_port()
    return Launch(
        program=(str(ROUTER), "-m", "sglang_router.launch_router"),
        options=(),
        arguments=(
            *("--policy", "cache_aware", "--host", _HOST, "--port", str(port)),
            *("--prometheus-host", _HOST, "--prometheus-port", str(free_port())),
            *("--worker-urls", *(each.removesuffix("/v1") for each in replicas)),
        ),
        environment={},
        api_base=f"http://{_HOST}:{port}/v1",
    )


@contextmanager
def engines(started: Sequence[Launch], logs: Path) -> Generator[list[str]]:
    """Run engines side by side. Yields their api_bases. Raises EngineStartError."""
    with ExitStack() as stack:
        files = [logs / f"engine-{number}.log" for number in range(len(started))]
        processes = [
            stack.enter_context(running(launch, log))
            for launch, log in zip(started, files, strict=True)
        ]
        for launch, process, log in zip(started, processes, files, strict=True):
            _tell(f"Waiting for the engine at {launch.api_base}; its log is {log}")
            wait_until_healthy(launch, process, timeout_s=_START_S, log=log, tell=_tell)
        yield [launch.api_base for launch in started]


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
