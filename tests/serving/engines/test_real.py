"""A real vLLM, started by its profile and asked by the load client."""

from pathlib import Path

import pytest

from benchmarks.engines import PYTHON, Shape, save_model
from tests.servers import free_port
from tierflow.engine_settings import EngineSettings
from tierflow.serving.engines import launch_of, running, wait_until_healthy
from tierflow.serving.load import LoadClient, closed_loop

LONG = {
    "messages": [{"role": "user", "content": "so it goes " * 100}],
    "max_tokens": 6,
    "temperature": 0,
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="vLLM is not installed here: make engines"),
]


async def test_vllm_starts_by_its_profile_tells_token_ids_and_what_was_cached(
    tmp_path: Path,
) -> None:
    settings = EngineSettings(
        engine="vllm",
        model=str(save_model(Shape(layers=2, hidden=64, window=1024), tmp_path / "model")),
        served_name="small",
        program=(str(PYTHON), "-m", "vllm.entrypoints.openai.api_server"),
        port=free_port(),
        device="cpu",
        dtype="float32",
        threads=1,
        purpose="decode",
        environment={"HF_HUB_OFFLINE": "1"},
    )
    launch, log = launch_of("small", settings), tmp_path / "engine.log"
    with running(launch, log) as process:
        wait_until_healthy(launch, process, timeout_s=600, log=log)
        async with LoadClient.connected(launch.api_base) as client:
            before = await client.counters()
            first = await client.ask(LONG)
            again = (await closed_loop(client.ask, [LONG] * 3, 3)).timed
            counted = (await client.counters()).since(before)

    assert client.model == "small"
    assert (first.error, first.output_tokens, first.cached_tokens) == (None, 6, 0)
    assert first.token_ids is not None
    assert len(first.token_ids) == 6
    assert {each.token_ids for each in again} == {first.token_ids}
    assert all(each.cached_tokens for each in again)
    assert counted.prefix_hits == sum(each.cached_tokens or 0 for each in again)
    assert process.poll() is not None
