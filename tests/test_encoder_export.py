"""Exports against sentence-transformers itself: MiniLM, and small models of other makes."""

import json
import logging
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.small_models import build, build_static
from tierflow.encoder_export import MOST_DIFFERENCE, open_model
from tierflow.encoder_onnx import Manifest, OnnxModel, UnusableExportError
from tierflow.encoder_source import Source, find_source, sha256_of
from tierflow.encoder_torch import TorchModel

TEXTS = [
    "",
    " ",
    "\x00 a\x00b \t\n",
    "Where is my parcel?",
    "I WANT my money back!!!",
    "¿Dónde está mi paquete? Ça coûte 12 €",
    "我的包裹在哪里",
    "नमस्ते दुनिया, مرحبا بالعالم",
    "📦🙂 e\u0301 ﬁ Ⅻ \u200b zero",
    "[CLS] [SEP] [MASK] [PAD] ##ing",
    "x" * 5000,
    "🙂" * 400,
    "a very long letter about a lost parcel, " * 100,
    *(f"question {number} " * (number % 17 + 1) for number in range(60)),
]


@pytest.fixture(scope="module")
def reference() -> TorchModel:
    return TorchModel(find_source("minilm"))


@pytest.fixture(scope="module")
def exported(minilm_home: Path) -> OnnxModel:
    return OnnxModel(folder_in(minilm_home))


def folder_in(home: Path) -> Path:
    (folder,) = (path for path in (home / "encoder").iterdir() if (path / "manifest.json").exists())
    return folder


def test_an_export_gives_the_vectors_of_sentence_transformers(
    reference: TorchModel, exported: OnnxModel
) -> None:
    expected = reference.encode(TEXTS)
    apart = np.concatenate([exported.encode([text]) for text in TEXTS])

    assert np.abs(exported.encode(TEXTS) - expected).max() < MOST_DIFFERENCE
    assert np.abs(apart - expected).max() < MOST_DIFFERENCE
    assert (exported.dimensions, exported.window) == (reference.dimensions, reference.window)
    counts = [reference.count_tokens(text) for text in TEXTS]
    assert [exported.count_tokens(text) for text in TEXTS] == counts


@settings(max_examples=20)
@given(texts=st.lists(st.text(), min_size=1, max_size=4))
def test_an_export_reads_any_text_as_sentence_transformers_does(
    reference: TorchModel, exported: OnnxModel, texts: list[str]
) -> None:
    difference = np.abs(exported.encode(texts) - reference.encode(texts)).max()

    assert difference < MOST_DIFFERENCE


def test_the_manifest_says_what_the_export_is(exported: OnnxModel) -> None:
    found = exported.manifest

    assert found.fingerprint == "all-MiniLM-L6-v2:53aa51172d14"
    assert found.source_sha256.startswith("53aa51172d14")
    assert (found.pooling, found.longest, found.normalised) == ("mean", 256, True)
    assert set(found.files) == {"model.onnx", "tokenizer.json"}


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))


def list_foreign(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../model.onnx"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "flipped model": (lambda folder: flip(folder / "model.onnx"), r"model\.onnx has SHA-256"),
    "flipped tokenizer": (lambda folder: flip(folder / "tokenizer.json"), "tokenizer.json has SHA"),
    "no model": (lambda folder: (folder / "model.onnx").unlink(), r"model\.onnx is missing"),
    "torn manifest": (lambda folder: flip(folder / "manifest.json"), r"manifest\.json: .* JSON"),
    "foreign manifest": (
        lambda folder: (folder / "manifest.json").write_text('{"format": 2}'),
        r"manifest\.json: format",
    ),
    "file elsewhere": (list_foreign, "no name of a file"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_damaged_or_foreign_export_is_not_loaded(small: Path, tmp_path: Path, how: str) -> None:
    folder = tmp_path / "export"
    shutil.copytree(folder_in(small.parent), folder)
    harm, message = BROKEN[how]
    harm(folder)

    with pytest.raises(UnusableExportError, match=message):
        OnnxModel(folder)


def test_files_that_match_their_sums_and_are_no_model_are_not_loaded(
    small: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    shutil.copytree(folder_in(small.parent), folder)
    (folder / "model.onnx").write_text("nothing")
    text = (folder / "manifest.json").read_text()
    manifest = Manifest.model_validate_json(text)
    files = {**manifest.files, "model.onnx": sha256_of(folder / "model.onnx")}
    changed = manifest.model_copy(update={"files": files})
    (folder / "manifest.json").write_text(changed.model_dump_json())

    with pytest.raises(UnusableExportError, match=r"model\.onnx: .*INVALID_PROTOBUF"):
        OnnxModel(folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, and its export in the home beside it."""
    folder = build(tmp_path_factory.mktemp("small") / "model")
    open_model(find_source(str(folder)), folder.parent)
    return folder


def test_the_first_use_prints_nothing_and_logs_what_takes_so_long(
    small: Path, tmp_path: Path
) -> None:
    code = (
        "import logging; logging.basicConfig(level='INFO', format='%(name)s: %(message)s')\n"
        "from tierflow.encoder import encoder; encoder().encode(['hello'])"
    )
    settings = {"TIERFLOW_HOME": str(tmp_path / "home"), "TIERFLOW_ENCODER": str(small)}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | settings,
    )

    name = find_source(str(small)).fingerprint
    assert ran.stdout == ""
    assert ran.stderr == f"tierflow: Exporting the encoder {name} to ONNX, once; takes seconds.\n"
    folder = folder_in(tmp_path / "home")
    files = {path.name for path in folder.iterdir()}
    assert files == {"manifest.json", "model.onnx", "tokenizer.json"}
    for each in (folder, folder.parent, folder.parent.parent):
        assert stat.S_IMODE(each.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("make", "dimensions", "window"),
    [
        ({"pooling": "cls"}, 32, 14),
        ({"pooling": "max", "prompt": "ask for: "}, 32, 7),
        ({"dense": True}, 8, 14),
    ],
    ids=["cls", "max with a prompt", "dense without a norm"],
)
def test_other_models_are_exported_too(
    tmp_path: Path, make: dict[str, Any], dimensions: int, window: int
) -> None:
    source = find_source(str(build(tmp_path / "model", **make)))
    model = open_model(source, tmp_path / "home")
    expected = TorchModel(source).encode(TEXTS)

    assert isinstance(model, OnnxModel)
    assert (model.dimensions, model.window) == (dimensions, window)
    assert np.abs(model.encode(TEXTS) - expected).max() < MOST_DIFFERENCE
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, rtol=1e-5)


def test_a_damaged_export_is_made_again_with_one_warning(
    small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = find_source(str(small))
    shutil.copytree(small.parent / "encoder", tmp_path / "encoder")
    folder = folder_in(tmp_path)
    flip(folder / "model.onnx")
    (folder.parent / f".{folder.name}-left").mkdir()  # by a process that was killed

    with (
        caplog.at_level(logging.INFO, "tierflow"),
        pytest.warns(RuntimeWarning, match=r"\(model\.onnx has .*made again") as seen,
    ):
        made = open_model(source, tmp_path)

    assert len(seen) == 1
    assert [record.name for record in caplog.records].count("tierflow") == 1
    assert isinstance(made, OnnxModel)
    assert isinstance(open_model(source, tmp_path), OnnxModel)
    assert {path.name for path in folder.parent.iterdir()} == {folder.name, f"{folder.name}.lock"}


def test_an_export_of_another_model_is_made_again(small: Path, tmp_path: Path) -> None:
    shutil.copytree(small.parent / "encoder", tmp_path / "encoder")
    found = find_source(str(small))
    other = Source("other", small, found.sha256)
    folder_in(tmp_path).rename(tmp_path / "encoder" / other.label)

    with pytest.warns(RuntimeWarning, match=f"it was made from {found.fingerprint}"):
        made = open_model(other, tmp_path)

    assert isinstance(made, OnnxModel)
    assert made.manifest.fingerprint == other.fingerprint


def test_where_no_export_can_be_kept_sentence_transformers_answers(
    small: Path, tmp_path: Path
) -> None:
    (tmp_path / "encoder").write_text("a file where the folder should be")

    with pytest.warns(RuntimeWarning, match=r"was not exported to ONNX \((FileExists|NotADir)"):
        model = open_model(find_source(str(small)), tmp_path)

    assert isinstance(model, TorchModel)
    assert model.encode(["parcel"]).shape == (1, 32)


def test_a_model_that_has_no_graph_is_run_by_sentence_transformers(tmp_path: Path) -> None:
    source = find_source(str(build_static(tmp_path / "static")))

    with pytest.warns(RuntimeWarning, match="was not exported to ONNX") as warned:
        model = open_model(source, tmp_path / "home")

    assert len(warned) == 1
    assert isinstance(model, TorchModel)
    assert model.encode(["parcel", "a b"]).shape == (2, 16)
    assert model.count_tokens("parcel a") == 2


def test_two_processes_that_start_together_export_once(small: Path, tmp_path: Path) -> None:
    code = (
        "import sys, logging; logging.basicConfig(level='INFO', format='%(message)s')\n"
        "from pathlib import Path\n"
        "from tierflow.encoder_export import open_model\n"
        "from tierflow.encoder_source import find_source\n"
        "model = open_model(find_source(sys.argv[1]), Path(sys.argv[2]))\n"
        "print(type(model).__name__)"
    )
    command = [sys.executable, "-c", code, str(small), str(tmp_path)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300) for process in both]

    assert [out for out, _ in said] == ["OnnxModel\n"] * 2
    assert "".join(err for _, err in said).count("Exporting the encoder") == 1
