"""Profiles against the engines that are installed here: every flag is one that they know."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.engines import PYTHON
from tierflow.engine_settings import EngineKind
from tierflow.serving.engines import profile_type

TRANSFORMERS = Path(sys.executable).with_name("transformers")


def flags_in(command: list[str]) -> set[str]:
    """The flags that a program's help names."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", done.stdout))


def unknown(engine: EngineKind, command: list[str]) -> set[str]:
    known = flags_in(command)
    assert "--help" in known, "the program printed no help"
    profile = profile_type(engine)
    return profile.flags(profile.newest) - known


def test_transformers_serve_knows_every_flag() -> None:
    assert not unknown("transformers", [str(TRANSFORMERS), "serve", "--help"])


@pytest.mark.skipif(not PYTHON.exists(), reason="vLLM is not installed here: make engines")
def test_vllm_knows_every_flag() -> None:
    module = "vllm.entrypoints.openai.api_server"
    assert not unknown("vllm", [str(PYTHON), "-m", module, "--help=all"])


@pytest.mark.skipif(shutil.which("llama-server") is None, reason="llama-server is not installed")
def test_llama_server_knows_every_flag() -> None:
    assert not unknown("llama.cpp", ["llama-server", "--help"])


@pytest.mark.skipif(shutil.which("sglang") is None, reason="SGLang is not installed")
def test_sglang_knows_every_flag() -> None:
    assert not unknown("sglang", ["python3", "-m", "sglang.launch_server", "--help"])


def test_a_flag_that_an_engine_does_not_know_is_found() -> None:
    known = flags_in([str(TRANSFORMERS), "serve", "--help"])
    assert "--cb-no-such-flag" not in known
    assert known >= {"--host", "--port"}
