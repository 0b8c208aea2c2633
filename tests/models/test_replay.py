"""Recordings and the recorder, through the client and the real litellm, over real files."""

import gzip
import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import Fail, FakeProvider, Say
from tests.tasks.ways import run_async
from tierflow.errors import (
    ConfigError,
    ConfigNotFoundError,
    RateLimitedError,
    RecordingNotFoundError,
)
from tierflow.request import Chunk, Prompt, Reply, Request
from tierflow.routing.client import LiteLLMClient
from tierflow.routing.effects import Ask
from tierflow.routing.tiers import NamedTier
from tierflow.routing.vendor import litellm
from tierflow.settings import Deployment, Tier

Way = Callable[[Ask], Reply]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def _sync(ask: Ask) -> Reply:
    return LiteLLMClient({}).ask(ask)


def _async(ask: Ask) -> Reply:
    return run_async(lambda: LiteLLMClient({}).ask_async(ask))


both_ways = pytest.mark.parametrize("way", [_sync, _async], ids=["sync", "async"])
whole_and_streamed = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


def _ignore(_chunk: Chunk) -> None:
    pass


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIERFLOW_REPLAY_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def recorder() -> Iterator[None]:
    """Registers `record/` where the client does not do so itself."""
    vendor = litellm()
    from tierflow.routing.record import Recorder

    before = vendor.custom_provider_map
    if all(each["provider"] != "record" for each in before):
        vendor.custom_provider_map = [
            *before,
            {"provider": "record", "custom_handler": Recorder()},
        ]
        vendor.utils.custom_llm_setup()
    yield
    vendor.custom_provider_map = before


def an_ask(
    model: str,
    text: str = "Where is it?",
    item: str | None = None,
    *,
    schema: dict[str, Any] | None = None,
    on_chunk: Callable[[Chunk], None] | None = None,
    **deployment: Any,
) -> Ask:
    named = Deployment(model=model, **deployment)
    rendered = Prompt(ask=text, item=item).render(json.dumps)
    request = Request("test", rendered.messages, schema=schema, logprobs=True, item=item)
    tier = NamedTier("fast", Tier(deployments=(named,)))
    return Ask(named, tier, request, "answer", 1, on_chunk)


def write(path: Path, *rows: object) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)


@both_ways
@pytest.mark.parametrize("name", ["big.jsonl", "big.jsonl.gz"])
def test_an_item_is_answered_as_it_was_recorded(way: Way, name: str, folder: Path) -> None:
    write(
        folder / name,
        {"id": "a", "text": "first", "input_tokens": 7, "output_tokens": 3, "logprob": -0.5},
        {"id": "b", "text": "second"},
    )

    reply = way(an_ask("replay/big", item="a"))

    assert (reply.text, reply.model, reply.finish_reason) == ("first", "big", "stop")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (7, 3)
    assert reply.confidence == pytest.approx(math.exp(-0.5))


@both_ways
def test_a_stream_comes_word_by_word_with_the_same_usage(way: Way, folder: Path) -> None:
    row = {"id": "1", "text": "It is here.\n", "input_tokens": 7, "output_tokens": 3, "logprob": -1}
    write(folder / "big.jsonl", row)
    chunks: list[Chunk] = []

    streamed = way(an_ask("replay/big", item="1", on_chunk=chunks.append))

    assert [chunk.text for chunk in chunks] == ["It ", "is ", "here.\n"]
    assert streamed.usage == way(an_ask("replay/big", item="1")).usage
    assert streamed.confidence == pytest.approx(math.exp(-1))


def test_tokens_that_were_not_recorded_are_counted_from_characters(folder: Path) -> None:
    write(folder / "big.jsonl", {"id": 5, "text": "x" * 9})

    usage = _sync(an_ask("replay/big", "y" * 41, "5")).usage

    assert (usage.input_tokens, usage.output_tokens) == (11, 3)


@both_ways
def test_tokens_of_an_unrecorded_part_of_the_prompt_are_added(way: Way, folder: Path) -> None:
    write(
        folder / "big.jsonl",
        {"id": "a", "text": "yes", "input_tokens": 7},
        {"id": "b", "text": "no"},
    )
    params = {"extra_input_tokens": 1800}

    assert way(an_ask("replay/big", item="a", params=params)).usage.input_tokens == 1807
    assert way(an_ask("replay/big", "y" * 8, "b", params=params)).usage.input_tokens == 1802


@both_ways
@whole_and_streamed
def test_an_unknown_item_names_file_item_and_remedy(way: Way, streamed: bool, folder: Path) -> None:
    write(folder / "big.jsonl", {"id": "a", "text": "yes"})
    on_chunk = _ignore if streamed else None

    with pytest.raises(RecordingNotFoundError) as caught:
        way(an_ask("replay/big", item="b", on_chunk=on_chunk))

    message = str(caught.value)
    assert message.startswith(f"{folder / 'big.jsonl'} has no answer for item 'b'")
    assert "record/big" in message


@both_ways
@whole_and_streamed
def test_a_missing_file_names_what_was_looked_for(way: Way, streamed: bool, folder: Path) -> None:
    on_chunk = _ignore if streamed else None

    with pytest.raises(ConfigNotFoundError, match=r"big\.jsonl nor big\.jsonl\.gz exists"):
        way(an_ask("replay/big", item="a", on_chunk=on_chunk))


@both_ways
@pytest.mark.parametrize("model", ["replay/big", "record/local/zero-shot"])
def test_without_a_folder_the_error_names_the_setting(
    way: Way, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorder: None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIERFLOW_REPLAY_DIR", raising=False)

    with pytest.raises(ConfigError, match="TIERFLOW_REPLAY_DIR"):
        way(an_ask(model, item="a"))


@pytest.mark.parametrize("faulty", ["{", '{"id": "b"}', '{"text": "b"}', "[]", '{"text": 1}'])
def test_a_faulty_row_is_named_by_its_line(faulty: str, folder: Path) -> None:
    (folder / "big.jsonl").write_text(f'{{"id": "a", "text": "yes"}}\n{faulty}\n')

    with pytest.raises(ConfigError, match=r"big\.jsonl, line 2"):
        _sync(an_ask("replay/big", item="a"))


def test_a_broken_archive_is_named(folder: Path) -> None:
    write(folder / "big.jsonl.gz", *({"id": str(n), "text": "yes"} for n in range(100)))
    whole = (folder / "big.jsonl.gz").read_bytes()
    (folder / "big.jsonl.gz").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(ConfigError, match=r"big\.jsonl\.gz"):
        _sync(an_ask("replay/big", item="1"))


def test_a_file_that_grew_is_read_again(folder: Path) -> None:
    path = folder / "big.jsonl"
    write(path, {"id": "a", "text": "yes"})
    assert _sync(an_ask("replay/big", item="a")).text == "yes"

    write(path, {"id": "a", "text": "yes"}, {"id": "b", "text": "no"})

    assert _sync(an_ask("replay/big", item="b")).text == "no"


@both_ways
@whole_and_streamed
def test_what_was_recorded_is_replayed(
    way: Way, streamed: bool, folder: Path, provider: FakeProvider, recorder: None
) -> None:
    said = Say({"city": "Bonn"}, input_tokens=11, output_tokens=5, logprobs=[-0.1, -0.3])
    provider.script("big", [said])
    chunks: list[Chunk] = []
    on_chunk = chunks.append if streamed else None
    options: dict[str, Any] = {"item": "t1", "schema": SCHEMA, "on_chunk": on_chunk}

    recorded = way(an_ask("record/openai/big", api_base=provider.base_url, **options))
    replayed = way(an_ask("replay/openai/big", **options))

    assert json.loads(recorded.text) == {"city": "Bonn"}
    assert replayed.text == recorded.text
    assert (recorded.usage.input_tokens, recorded.usage.output_tokens) == (11, 5)
    assert replayed.usage == recorded.usage
    assert recorded.confidence == pytest.approx(math.exp(-0.2))
    assert replayed.confidence == pytest.approx(recorded.confidence)
    assert recorded.finish_reason == "stop"
    assert bool(chunks) is streamed


def test_a_recording_of_one_request_does_not_answer_another(
    folder: Path, provider: FakeProvider, recorder: None
) -> None:
    provider.script("big", [Say("yes")])
    _sync(an_ask("record/openai/big", "first", "t1", api_base=provider.base_url))

    assert _sync(an_ask("replay/openai/big", "first")).text == "yes"
    with pytest.raises(RecordingNotFoundError):
        _sync(an_ask("replay/openai/big", "second", "t1"))
    with pytest.raises(RecordingNotFoundError):
        _sync(an_ask("replay/openai/big", "first", schema=SCHEMA))


def test_the_prompt_is_not_written_down(
    folder: Path, provider: FakeProvider, recorder: None
) -> None:
    provider.script("big", [Say("yes")])
    _sync(an_ask("record/openai/big", "a secret", api_base=provider.base_url))

    assert "secret" not in (folder / "openai__big.jsonl").read_text()


@both_ways
@whole_and_streamed
def test_an_error_of_the_inner_model_comes_through_and_leaves_no_row(
    way: Way, streamed: bool, folder: Path, provider: FakeProvider, recorder: None
) -> None:
    provider.script("big", [Fail(429, retry_after_s=2.0)])
    on_chunk = _ignore if streamed else None

    with pytest.raises(RateLimitedError):
        way(an_ask("record/openai/big", api_base=provider.base_url, on_chunk=on_chunk))

    assert not (folder / "openai__big.jsonl").exists()


def test_rows_of_many_threads_stay_whole(folder: Path, recorder: None) -> None:
    asks = [an_ask("record/local/extractive", f"Note {number}.") for number in range(24)]

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(_sync, asks))

    rows = (folder / "local__extractive.jsonl").read_text().splitlines()
    assert sorted(json.loads(row)["text"] for row in rows) == sorted(each.text for each in replies)
    assert _sync(an_ask("replay/local/extractive", "Note 7.")).text == "Note 7."
