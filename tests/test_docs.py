"""The documents: what they show runs, and what they name is there."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner

from tierflow.cli import cli
from tierflow.pools import Affinity
from tierflow.serving.engines import launch_of
from tierflow.settings import settings
from tierflow.tasks.placing import hints

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "docs/observability.md")),
        *ROOT.glob("*/README.md"),
    ]
)
README = (ROOT / "README.md").read_text(encoding="utf-8")


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_readmes_python_runs_on_the_embedded_models(tmp_path: Path, minilm_home: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "encoder").symlink_to(minilm_home / "encoder")
    script = tmp_path / "readme.py"
    script.write_text("\n".join(fenced("python")), encoding="utf-8")
    environment = {
        name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")
    }
    ended = subprocess.run(
        [sys.executable, script],
        env=environment
        | {
            "TIERFLOW_CONFIG": str(ROOT / "tierflow.toml"),
            "TIERFLOW_HOME": str(home),
            "PREFECT_HOME": str(tmp_path / "prefect"),
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "intent=" in ended.stdout


def test_the_readmes_configuration_loads(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(fenced("toml"))
    tomllib.loads(text)
    (project / "tierflow.toml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("TIERFLOW_TIERS__FAST__TIMEOUT_S", "10")
    loaded = settings()
    assert loaded.tiers.fast.timeout_s == 10
    assert loaded.tiers.get("specialist.legal").deployments[0].api_key_env == "LEGAL_TEAM_KEY"
    assert loaded.cache.ttl_s == 86400
    assert [each.usd for each in loaded.budgets] == [20.0, 5.0]
    assert loaded.policy.max_tier == {"internal": "standard"}
    assert loaded.telemetry.capture_content == "no_content"
    assert loaded.evaluations.reject_below == {"helpful": 0.3}
    assert loaded.evaluations.sinks["langfuse"].key_env == "LANGFUSE_SECRET_KEY"


FIRST_ENGINE = (ROOT / "docs" / "first-engine.md").read_text(encoding="utf-8")
SERVING = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
BATCHING = (ROOT / "docs" / "batching.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text", re.findall(r"^```toml\n(.*?)^```", SERVING + BATCHING, re.MULTILINE | re.DOTALL)
)
def test_the_pools_of_the_pages_on_serving_and_batches_load(project: Path, text: str) -> None:
    (project / "tierflow.toml").write_text(text, encoding="utf-8")

    pool = settings().pools["llama"]

    assert len(pool.replicas) == 2


def test_the_page_on_a_first_engine_loads_and_its_tier_asks_that_engine(project: Path) -> None:
    (toml,), (code,) = (
        re.findall(rf"^```{kind}\n(.*?)^```", FIRST_ENGINE, re.MULTILINE | re.DOTALL)
        for kind in ("toml", "python")
    )
    (project / "tierflow.toml").write_text(toml, encoding="utf-8")
    names: dict[str, Any] = {"__name__": "ask"}
    exec(compile(code, "ask.py", "exec"), names)

    engine = launch_of("trial", settings().engines["trial"])

    assert engine.api_base in settings().pools["trial"].replicas
    (deployment,) = settings().tiers.fast.deployments
    assert deployment.model == f"hosted_vllm/{settings().engines['trial'].model}"
    assert names["capital"].name == "capital"


def test_the_page_on_serving_names_what_is_sent_and_every_affinity() -> None:
    named = {name.lower() for name in re.findall(r"`([xX]-[\w-]+)`", SERVING)}

    assert named <= {name.lower() for name in hints("run-1")}
    assert set(get_args(Affinity)) == set(re.findall(r'^\| `"(\w+)"` \|', SERVING, re.MULTILINE))


@pytest.mark.parametrize(
    "page",
    [*PAGES, *sorted(ROOT.glob("docs/*.md"))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    inner = [link for link in links if not link.startswith("http")]
    assert [link for link in inner if not (page.parent / link).exists()] == []


def test_every_command_of_the_readme_is_there() -> None:
    commands = re.findall(
        r"tierflow ((?:budgets|tiers|cache|costs|feedback|lint|quality|report|runs)[a-z ]*)",
        "\n".join(fenced("sh")),
    )
    assert len(commands) >= 4
    for command in commands:
        shown = CliRunner().invoke(cli, [*command.split(), "--help"])
        assert shown.exit_code == 0, f"{command}: {shown.output}"


def test_every_event_that_is_emitted_is_in_the_list() -> None:
    emitting = re.compile(r'(?:\bnotice|\b_event|\bTell)\(\s*"([a-z-]+)"')
    kinds = {
        kind
        for room in ("caching", "rollouts", "routing", "tasks", "tracing")
        for path in (ROOT / room).rglob("*.py")
        for kind in emitting.findall(path.read_text(encoding="utf-8"))
    }
    assert {"escalated", "failed-over", "judge-closed"} <= kinds
    listed = (ROOT / "docs" / "automations.md").read_text(encoding="utf-8")
    assert {kind for kind in kinds if f"| `tierflow.{kind}` |" not in listed} == set()


def test_every_make_target_of_the_documents_exists() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", text, flags=re.MULTILINE))
    assert named
    assert {target for target in named if f"\n{target}:" not in makefile} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_rooms_page_fits_on_a_screen(page: Path) -> None:
    if page.parent != ROOT and page.name == "README.md":
        assert len(page.read_text(encoding="utf-8").splitlines()) <= 40
