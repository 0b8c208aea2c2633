"""Launch profiles: what stands on the command line, for what purpose, and why."""

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tierflow.engine_settings import EngineKind, EngineSettings, Speculation
from tierflow.errors import ConfigError
from tierflow.serving.engines import Flag, Launch, launch_of, profile_type

ENGINES: tuple[EngineKind, ...] = get_args(EngineKind)
DRAFT = {"method": "draft", "model": "small", "tokens": 3}


def launch(replica: int = 0, arguments: tuple[str, ...] = (), **given: Any) -> Launch:
    settings = EngineSettings.model_validate({"engine": "vllm", "model": "llama", **given})
    return launch_of("mine", settings, replica, arguments)


def value(of: Launch, flag: str) -> str | None:
    argv = of.argv
    return argv[argv.index(flag) + 1] if flag in argv else None


def test_what_is_not_given_is_left_to_the_engine() -> None:
    argv = launch().argv

    assert argv[:4] == ["vllm", "serve", "--model", "llama"]
    assert not {"--max-num-batched-tokens", "--max-num-seqs", "--dtype", "--block-size"} & {*argv}


@pytest.mark.parametrize(
    ("engine", "flag"),
    [
        ("vllm", "--max-num-batched-tokens"),
        ("sglang", "--chunked-prefill-size"),
        ("llama.cpp", "--batch-size"),
        ("transformers", "--cb-max-batch-tokens"),
    ],
)
def test_a_chunk_is_larger_for_reading_than_for_writing_and_what_is_given_goes_before(
    engine: str, flag: str
) -> None:
    reads = int(value(launch(engine=engine, purpose="prefill"), flag) or 0)
    writes = int(value(launch(engine=engine, purpose="decode"), flag) or 0)

    assert reads > writes > 0
    assert value(launch(engine=engine, purpose="decode", chunk_tokens=640), flag) == "640"
    assert value(launch(engine=engine), flag) is None


def test_each_replica_has_ports_of_its_own() -> None:
    second = launch(1, replicas=2, port=9000, kv_events_port=5600, served_name="m")

    assert value(second, "--port") == "9001"
    assert (second.api_base, second.health_url) == (
        "http://127.0.0.1:9001/v1",
        "http://127.0.0.1:9001/health",
    )
    events = json.loads(value(second, "--kv-events-config") or "")
    assert (events["endpoint"], events["topic"]) == ("tcp://*:5601", "kv@1@m")
    assert events["enable_kv_cache_events"] is True


def test_an_engine_that_listens_everywhere_is_asked_at_loopback() -> None:
    assert launch(host="0.0.0.0").api_base == "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize(
    ("speculation", "config"),
    [
        (DRAFT, {"method": "draft_model", "model": "small", "num_speculative_tokens": 3}),
        (
            {"method": "eagle", "model": "heads"},
            {"method": "eagle3", "model": "heads", "num_speculative_tokens": 4},
        ),
        (
            {"method": "ngram", "tokens": 5},
            {
                "method": "ngram",
                "num_speculative_tokens": 5,
                "prompt_lookup_max": 5,
                "prompt_lookup_min": 2,
            },
        ),
    ],
)
def test_vllm_takes_speculation_as_one_json(
    speculation: dict[str, Any], config: dict[str, Any]
) -> None:
    found = value(launch(speculation=speculation), "--speculative-config")

    assert json.loads(found or "") == config


def test_sglang_checks_the_guesses_and_one_more() -> None:
    found = launch(engine="sglang", speculation=DRAFT)

    assert value(found, "--speculative-algorithm") == "STANDALONE"
    assert value(found, "--speculative-num-steps") == "3"
    assert value(found, "--speculative-num-draft-tokens") == "4"


def test_llama_cpps_draft_is_written_as_its_version_has_it() -> None:
    new = launch(engine="llama.cpp", speculation=DRAFT)
    old = launch(engine="llama.cpp", speculation=DRAFT, version="b6500")

    assert value(new, "--spec-type") == "draft-simple"
    assert (value(new, "--spec-draft-n-max"), value(new, "--draft-max")) == ("3", None)
    assert (value(old, "--spec-draft-n-max"), value(old, "--draft-max")) == (None, "3")
    assert value(old, "--spec-type") is None
    with pytest.raises(ConfigError, match="newer build"):
        launch(engine="llama.cpp", speculation={"method": "ngram"}, version="b6500")


def test_llama_cpps_window_is_for_all_slots() -> None:
    found = launch(engine="llama.cpp", context_tokens=4096, max_requests=8)

    assert (value(found, "--ctx-size"), value(found, "--parallel")) == ("32768", "8")


def test_a_cpu_gets_what_it_needs() -> None:
    found = launch(device="cpu", cache_gib=2, threads=3, environment={"OMP_NUM_THREADS": "1"})

    assert "--enforce-eager" in found.argv
    assert value(found, "--block-size") == "32"
    # What is given in so many words goes over the profile.
    assert found.environment == {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
    }
    assert found.as_shell().startswith("VLLM_NO_USAGE_STATS=1 VLLM_CPU_KVCACHE_SPACE=2 ")


def test_further_arguments_come_last_those_of_the_command_behind_those_of_the_file() -> None:
    found = launch(arguments=("--b", "2"), program=("python", "-m", "x"))
    both = launch_of(
        "mine",
        EngineSettings(engine="vllm", model="llama", arguments=("--a",)),
        arguments=["--b", "2"],
    )

    assert found.argv[:3] == ["python", "-m", "x"]
    assert both.argv[-3:] == ["--a", "--b", "2"]


@pytest.mark.parametrize(
    ("engine", "field", "given"),
    [
        ("transformers", "speculation", DRAFT),
        ("transformers", "kv_events_port", 5557),
        ("llama.cpp", "kv_events_port", 5557),
        ("llama.cpp", "memory_share", 0.5),
        ("sglang", "cache_gib", 2),
    ],
)
def test_what_an_engine_has_no_option_for_is_refused_and_not_left_out(
    engine: str, field: str, given: Any
) -> None:
    with pytest.raises(ConfigError, match=rf"\[engines.mine\] {field}: {engine} has no such"):
        launch(engine=engine, **{field: given})


def test_a_replica_that_there_is_none_of_is_refused() -> None:
    with pytest.raises(ConfigError, match="has 2 replicas, numbered from 0, and replica 2"):
        launch(2, replicas=2)


@pytest.mark.parametrize(
    "given", [{"method": "ngram", "model": "x"}, {"method": "draft"}, {"method": "eagle"}]
)
def test_speculation_needs_a_model_or_none(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="speculation by"):
        Speculation.model_validate(given)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_option_has_a_reason_of_its_own_flag(engine: EngineKind) -> None:
    entries = [entry for _, entry in profile_type(engine).table()]

    assert all(len(each.why) > 10 for each in entries)
    assert len({each.name for each in entries}) == len(entries)


@given(
    st.sampled_from(ENGINES),
    st.sampled_from(["plain", "prefill", "decode"]),
    st.sampled_from(["gpu", "cpu"]),
    st.integers(0, 3),
)
def test_a_command_line_has_each_flag_once_and_only_flags_of_its_table(
    engine: EngineKind, purpose: Any, device: Any, replica: int
) -> None:
    settings = EngineSettings(
        engine=engine, model="m", purpose=purpose, device=device, replicas=4, threads=2
    )

    argv = launch_of("mine", settings, replica).argv

    flags = [each for each in argv if each.startswith("--")]
    known = {entry.name for _, entry in profile_type(engine).table() if isinstance(entry, Flag)}
    assert len(flags) == len(set(flags))
    assert set(flags) <= known
    assert argv == launch_of("mine", settings, replica).argv
