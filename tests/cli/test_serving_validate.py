"""`tierflow serving validate` and `policy`: two pools over real sockets, one of them slower."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.fakes import Fail, FakeProvider, Say
from tests.serving.validation.two_pools import two_pools, write_requests
from tierflow.cli import cli
from tierflow.serving.validation import Policy, Rule, Slice, Step, open_policies
from tierflow.settings import settings


@pytest.fixture
def drafting() -> Iterator[FakeProvider]:
    with FakeProvider() as other:
        yield other


@pytest.fixture
def pools(project: Path, provider: FakeProvider, drafting: FakeProvider) -> FakeProvider:
    two_pools(project, provider, drafting)
    return provider


def run(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(cli, ["serving", *words])


def validate(*words: str) -> Result:
    return run(
        *("validate", "--pool", "plain", "--against", "drafting"),
        *("--concurrency", "1", "--pairs", "6", *words),
    )


@pytest.mark.usefixtures("pools")
def test_the_faster_pool_is_adopted_and_the_policy_kept() -> None:
    done = validate("--json", "--report", "report.md")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    (slice_,) = found["slices"]
    assert slice_["served_by"] == [{"up_to": 1, "pool": "drafting"}]
    assert [each["concurrency"] for each in slice_["compared"]] == [1]
    assert found["kept"] is True
    report = Path("report.md").read_text()
    assert "data:image/svg" in report
    assert "drafting up to 1 at once; then plain" in report
    with closing(open_policies(settings())) as store:
        policy = store.newest("plain")
    assert policy is not None
    assert [step.pool for rule in policy.rules for step in rule.steps] == ["drafting"]


def test_requests_are_replayed_as_steps_ask_but_at_temperature_zero(
    pools: FakeProvider, drafting: FakeProvider
) -> None:
    assert validate("--dry-run").exit_code == 0
    bodies = [call.body for call in (*pools.calls, *drafting.calls)]
    assert {(body["model"], body["top_k"]) for body in bodies} == {("llama", 1)}
    assert {body["temperature"] for body in bodies} == {0}
    assert {body["max_tokens"] for body in bodies} == {5}
    sent = {body["messages"][0]["content"] for body in bodies}
    assert sent <= {f"parcel {n}" for n in range(8)}


@pytest.mark.usefixtures("pools")
def test_a_dry_run_keeps_nothing() -> None:
    done = validate("--dry-run")
    assert "Nothing was kept." in done.output
    assert "Each pool serves its requests itself." in run("policy").output


@pytest.mark.usefixtures("pools")
def test_a_pool_that_says_something_else_is_not_adopted(drafting: FakeProvider) -> None:
    drafting.script("llama", Say("something else"))
    found = json.loads(validate("--json").stdout)
    assert found["slices"][0]["served_by"] == []
    assert "outputs differ" in found["slices"][0]["reason"]
    lossy = json.loads(validate("--json", "--lossy", "drafting").stdout)
    assert lossy["slices"][0]["served_by"] == []
    accepted = json.loads(validate("--json", "--lossy", "drafting", "--accept-lossy").stdout)
    assert accepted["slices"][0]["served_by"] == [{"up_to": 1, "pool": "drafting"}]
    assert accepted["slices"][0]["compared"][0]["lossy"] is True


@pytest.mark.usefixtures("pools")
def test_a_policy_is_shown_and_dropped() -> None:
    now = time.time()
    rule = Rule(Slice(step="triage"), (Step(1, "drafting"),))
    with closing(open_policies(settings())) as store:
        store.add(Policy("plain", (rule,), now, now + 3600))
    assert "drafting up to 1 at once" in " ".join(run("policy").output.split())
    assert json.loads(run("policy", "plain", "--json").stdout)["plain"]["pool"] == "plain"
    assert run("policy", "plain", "--drop").exit_code == 0
    assert json.loads(run("policy", "--json").stdout) == {"plain": None}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--against", "none"), "has no [pools.none]. Known: plain, drafting."),
        (("--against", "plain"), "is to be compared with other pools"),
        (("--lossy", "nobody"), "nobody is not compared"),
        (("--slices", "step,size"), "size is none. Known: step, kind, length, concurrency."),
        (("--concurrency", "0,4"), "write numbers from 1"),
    ],
)
def test_a_wrong_question_is_refused_before_any_engine_is_asked(
    pools: FakeProvider, words: tuple[str, ...], said: str
) -> None:
    done = run("validate", "--pool", "plain", "--against", "drafting", *words)
    assert done.exit_code != 0
    assert said in " ".join(f"{done.output} {done.exception}".split())
    assert not pools.calls


@pytest.mark.usefixtures("pools")
def test_too_few_or_no_requests_say_what_to_do(project: Path) -> None:
    write_requests(project / "requests.jsonl", 3)
    assert "Record more" in str(validate().exception)
    (project / "requests.jsonl").unlink()
    assert "run the steps that are to be replayed" in str(validate().exception)


@pytest.mark.usefixtures("pools")
def test_an_engine_that_fails_proves_nothing(drafting: FakeProvider) -> None:
    drafting.script("llama", Fail(500))
    done = validate()
    assert done.exit_code == 1
    assert "HTTP 500" in str(done.exception)
    assert "Each pool serves its requests itself." in run("policy").output
