"""Two pools of a project that say the same, of which the plain one pauses before each word."""

from pathlib import Path
from typing import Any

from tests.fakes import FakeProvider, Say
from tierflow.cassette import RecordedRequest

TOML = """
[cassette]
path = "requests.jsonl"

[pools.plain]
replicas = ["{plain}"]

[pools.drafting]
replicas = ["{drafting}"]

[tiers.fast]
deployments = [{{ model = "openai/llama", pool = "plain", params = {{ top_k = 1 }} }}]
"""


def write_requests(path: Path, count: int = 8) -> None:
    rows = [
        RecordedRequest(
            step="triage",
            messages=({"role": "user", "content": f"parcel {at}"},),
            options={"temperature": 0.7},
            input_tokens=9,
            output_tokens=5,
        ).model_dump_json()
        for at in range(count)
    ]
    path.write_text("\n".join(rows))


def two_pools(project: Path, plain: FakeProvider, drafting: FakeProvider) -> None:
    """Write the project's settings and recorded requests, and script the model of both."""
    text = TOML.format(plain=plain.base_url, drafting=drafting.base_url)
    (project / "tierflow.toml").write_text(text)
    write_requests(project / "requests.jsonl")
    plain.script("llama", lambda body: Say(text_of(body), chunk_delay_s=0.1))
    drafting.script("llama", lambda body: Say(text_of(body)))


def text_of(body: dict[str, Any]) -> str:
    return f"It says {body['messages'][-1]['content']} on it"
