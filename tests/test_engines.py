"""Engines for tests and benchmarks: real processes with small models, and how they fail."""

import sys
from pathlib import Path

import httpx
import pytest

from benchmarks import engines as made
from benchmarks.engines import Shape, engines, save_model, transformers_serve, vllm
from tierflow.errors import EngineStartError
from tierflow.serving.engines import Launch
from tierflow.serving.load import LoadClient

TINY = Shape(layers=3, hidden=64, window=512)
HELLO = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4, "temperature": 0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    home = tmp_path_factory.mktemp("models")
    return save_model(TINY, home / "model", draft=home / "draft"), home / "draft"


async def test_transformers_serve_answers_as_its_drawn_weights_say_and_ends(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    with engines([transformers_serve(folders[0])], tmp_path) as (base,):
        async with LoadClient.connected(base, model=str(folders[0])) as client:
            first, again = await client.ask(HELLO), await client.ask(HELLO)

    assert (first.error, first.output_tokens, first.finish_reason) == (None, 4, "length")
    assert first.text == again.text
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(base)


def test_a_draft_is_the_models_first_two_layers(folders: tuple[Path, Path]) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    model, draft = (safetensors.load_file(folder / "model.safetensors") for folder in folders)

    assert {name for name in model if "layers.2." not in name} == draft.keys()
    assert all((model[name] == weights).all() for name, weights in draft.items())


def test_damping_is_of_the_layers_above_the_first_two(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    damped_folder = save_model(Shape(layers=3, hidden=64, window=512, damping=0.5), tmp_path)
    whole, damped = (
        safetensors.load_file(folder / "model.safetensors")
        for folder in (folders[0], damped_folder)
    )

    weaker = {name for name in whole if not (whole[name] == damped[name]).all()}
    assert weaker == {
        f"model.layers.2.{part}.weight" for part in ("self_attn.o_proj", "mlp.down_proj")
    }


def test_an_engine_that_does_not_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    code = "import os; print(os.environ['SAID']); raise SystemExit(3)"
    said = {"SAID": "no such model"}
    broken = Launch((sys.executable, "-c", code), (), (), said, "http://127.0.0.1:9/v1")

    with (
        pytest.raises(EngineStartError, match=r"ended with 3\..*\n.*no such model"),
        engines([broken], tmp_path),
    ):
        pytest.fail("it started")


def test_without_vllm_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made, "PYTHON", tmp_path / "python")

    with pytest.raises(EngineStartError, match="make engines"):
        vllm(tmp_path)
