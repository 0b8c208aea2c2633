"""Engines: real ones on loopback, `transformers serve` with a small model made here.

The model has drawn weights and the tokenizer is trained on a few sentences: nothing is fetched.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import pytest

PATIENCE_S = 180.0
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
MARKS = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
SENTENCES = [
    "You sort the messages of customers to the desk that should answer them.",
    "A parcel that is late goes to the desk of the carrier, and a broken one to returns.",
    "An invoice that is wrong goes to billing. Numbers: 0 1 2 3 4 5 6 7 8 9.",
]


def build_llama(folder: Path, *, layers: int = 2, hidden: int = 64, window: int = 4096) -> Path:
    """Save a Llama with drawn weights (some 100,000) and a byte-level tokenizer of 400 words."""
    transformers: Any = import_module("transformers")
    tokenizers: Any = import_module("tokenizers")
    torch: Any = import_module("torch")

    words = tokenizers.ByteLevelBPETokenizer()
    words.train_from_iterator(SENTENCES, vocab_size=400, special_tokens=MARKS)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words._tokenizer, pad_token=MARKS[0], eos_token=MARKS[1]
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=window,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class Engine:
    """One that runs. `url`: its api_base. `model`: what it calls its model, a path."""

    url: str
    model: str
    process: "subprocess.Popen[bytes]"

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait()


@contextmanager
def serving(model: Path, count: int = 1) -> Generator[Sequence[Engine]]:
    """Serve a model so many times. The engines end with the block, by their ids.

    Skips where transformers has no server.
    """
    if find_spec("transformers.cli.serve") is None:
        pytest.skip("this transformers has no `serve`: pip install 'transformers>=5.19'")
    with ExitStack() as stack:
        started = [stack.enter_context(_started(model)) for _ in range(count)]
        for each in started:
            _wait_until_up(each)
        yield started


@contextmanager
def _started(model: Path) -> Generator[Engine]:
    port = _free_port()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(model)]
    options = ["--continuous-batching", "--device", "cpu", "--dtype", "float32"]
    sizes = ["--cb-block-size", "32", "--cb-num-blocks", "256", "--cb-max-batch-tokens", "512"]
    where = ["--host", "127.0.0.1", "--port", str(port)]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    log = model.parent / f"engine-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *options, *sizes, *where],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Engine(f"http://127.0.0.1:{port}/v1", str(model), process)
        except BaseException:
            sys.stderr.write(log.read_text(encoding="utf-8", errors="replace")[-4000:])
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def _wait_until_up(engine: Engine) -> None:
    """Wait for a first reply: the model is loaded then."""
    ask = {"model": engine.model, "messages": [{"role": "user", "content": "?"}], "max_tokens": 1}
    url = f"{engine.url}/chat/completions"
    ends = monotonic() + PATIENCE_S
    while monotonic() < ends:
        assert engine.process.poll() is None, "the engine ended"
        with suppress(httpx.TransportError):
            if httpx.post(url, json=ask, timeout=PATIENCE_S).is_success:
                return
        sleep(0.2)
    pytest.fail(f"No engine at {url} after {PATIENCE_S:.0f} s.")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
