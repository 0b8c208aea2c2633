"""`tierflow judge`: calibrating a step of a file, and what is said of it afterwards."""

import asyncio
import json
import shutil
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.conftest import PRICES, Catalogue
from tests.fakes import FakeProvider, Say
from tierflow.cli import cli
from tierflow.cli.steps import load_step
from tierflow.routing.gate import open_calibrations, open_reviews
from tierflow.settings import settings
from tierflow.tasks import close_hands

STEP = """
from pydantic import BaseModel
from tierflow import Cascade, Prompt, llm_task, schema

class Remainder(BaseModel):
    left: int

def fits(value):
    return value.left < 7

CASCADE = Cascade("frontier", schema(fits), max_loss=0.05, audit=0)

@llm_task(tier="fast", returns=Remainder, cascade=CASCADE)
def remainder(number: str) -> Prompt:
    return Prompt(prefix="Divide by seven.", ask=number)

@llm_task(tier="fast")
def plain(number: str) -> str:
    return number
"""


@pytest.fixture
def step(project: Path, catalogue: Catalogue, provider: FakeProvider) -> str:
    """A file with a step whose cheap tier is right below 150 and unfit above."""
    # Without this litellm's blocking client opens an event loop that nobody closes.
    asyncio.set_event_loop(None)
    catalogue()
    (project / "sums.py").write_text(STEP)

    def number_of(body: dict[str, Any]) -> int:
        return int(body["messages"][-1]["content"])

    provider.script(
        "fast", lambda body: Say({"left": number_of(body) % 7 if number_of(body) < 150 else 9})
    )
    provider.script("frontier", lambda body: Say({"left": number_of(body) % 7}, input_tokens=2000))
    rows = [{"number": str(n), "label": {"left": n % 7}} for n in range(200)]
    (project / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return "sums.py:remainder"


def run(*words: str) -> Result:
    close_hands()
    return CliRunner().invoke(cli, ["judge", *words])


def calibrated(step: str) -> dict[str, Any]:
    done = run("calibrate", step, "--items", "items.jsonl", "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def state() -> dict[str, Any]:
    (row,) = json.loads(run("status", "--json").stdout)
    found: dict[str, Any] = row
    return found


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that needs what the items bring leaves it for the others."""
    return tmp_path_factory.mktemp("outcomes") / "calibrations"


@pytest.fixture
def asked(step: str, outcomes: Path, project: Path) -> str:
    """The same step, about whose items the tiers have been asked."""
    home = project / ".tierflow"
    if not outcomes.exists():
        calibrated(step)
        close_hands()
        shutil.copytree(home / "calibrations", outcomes)
        shutil.rmtree(home)
    home.mkdir(mode=0o700)
    shutil.copytree(outcomes, home / "calibrations")
    return step


class TestCalibrate:
    """`tierflow judge calibrate`."""

    def test_a_good_judge_opens(self, step: str) -> None:
        found = calibrated(step)
        assert found["gate"] == "remainder@fast"
        assert found["opens"]
        assert found["cascade_right"] == 1.0
        assert 0.6 < found["accepted"] < 0.9
        assert 0 < found["weak_right"] < 1

    def test_what_was_asked_is_not_paid_again(self, step: str, provider: FakeProvider) -> None:
        calibrated(step)
        calls = len(provider.calls)
        assert calibrated(step)["items"] == 200
        assert len(provider.calls) == calls == 400

    def test_it_says_in_words_what_is_proven(self, step: str) -> None:
        said = run("calibrate", step, "--items", "items.jsonl").stdout
        assert said.startswith("remainder@fast: open.")
        assert "Right: cheap tier 7" in said
        assert "\nThis cost $0." in said

    def test_it_says_what_it_cost(self, step: str) -> None:
        # Only what is asked now costs something.
        assert calibrated(step)["cost_usd"] > 0
        assert calibrated(step)["cost_usd"] == 0
        assert "This cost $0.00." in run("calibrate", step, "--items", "items.jsonl").stdout

    def test_without_prices_it_says_that_too(self, step: str) -> None:
        path = Path("tierflow.toml")
        prices = "".join(f", {name} = {price}" for name, price in PRICES.items())
        path.write_text(path.read_text().replace(prices, ""))
        said = run("calibrate", step, "--items", "items.jsonl").stdout
        assert "What this cost is unknown: a price is missing." in said
        assert calibrated(step)["cost_usd"] == 0

    def test_a_step_without_a_judge_is_refused(self, step: str) -> None:
        done = run("calibrate", "sums.py:plain", "--items", "items.jsonl")
        assert done.exit_code == 1
        assert "no cascade" in str(done.exception or done.output)

    @pytest.mark.parametrize(
        ("line", "wanted"),
        [("{", "no JSON"), ("[1]", "no JSON object"), ('{"number": "1", "stratum": 3}', "no text")],
    )
    def test_a_wrong_line_is_named(self, step: str, line: str, wanted: str) -> None:
        Path("items.jsonl").write_text(f'{{"number": "1"}}\n{line}\n')
        done = run("calibrate", step, "--items", "items.jsonl")
        assert wanted in str(done.exception)
        assert "items.jsonl:2" in str(done.exception)


class TestStatusAndHands:
    """`tierflow judge status|close|open`."""

    def test_without_any_judge_it_says_what_to_run(self, project: Path) -> None:
        assert "tierflow judge calibrate" in run("status").stdout

    def test_an_open_gate(self, asked: str) -> None:
        calibrated(asked)
        row = state()
        assert (row["gate"], row["state"], row["audits"]) == ("remainder@fast", "open", 0)
        assert "remainder@fast" in run("status").stdout

    def test_a_hand_closes_and_opens_it(self, asked: str) -> None:
        calibrated(asked)
        assert run("close", "remainder@fast", "--why", "odd").exit_code == 0
        assert state()["state"] == "closed"
        assert state()["why"].endswith(": odd")
        assert "is open" in run("open", "remainder@fast").stdout
        assert state()["state"] == "open"

    def test_a_hand_cannot_open_what_is_not_proven(self, project: Path) -> None:
        assert "closed: no calibration" in run("open", "remainder@fast").stdout
        found = json.loads(run("open", "remainder@fast", "--json").stdout)
        assert found == {"gate": "remainder@fast", "state": "closed", "why": "no calibration"}

    def test_it_goes_by_the_age_that_the_cascade_allows(self, asked: str) -> None:
        calibrated(asked)
        with closing(open_calibrations(settings())) as store:
            newest = store.newest("remainder@fast")
            assert newest is not None
            for days, allowed, word in ((40, 30, "closed"), (40, 50, "open"), (2, 1, "closed")):
                old = {"at": time.time() - days * 86_400, "max_age_s": allowed * 86_400.0}
                store.add(newest.model_copy(update=old))
                row = state()
                assert row["state"] == word
                assert row["why"].endswith(f"over the {allowed} allowed") == (word == "closed")

    def test_the_cascades_own_age_is_in_the_calibration(self, asked: str) -> None:
        path = Path("sums.py")
        path.write_text(path.read_text().replace("audit=0", "audit=0, max_age_s=3600.0"))
        calibrated(asked)
        with closing(open_calibrations(settings())) as store:
            newest = store.newest("remainder@fast")
        assert newest is not None
        assert newest.max_age_s == 3600

    def test_it_says_what_a_running_step_was_told_last(self, asked: str) -> None:
        calibrated(asked)
        assert (state()["last_refused"], state()["last_refusal"]) == (None, None)
        path = Path("sums.py")
        path.write_text(path.read_text().replace("Divide by seven", "Divide by 7"))

        assert load_step(asked).answer.fn("5").tier == "frontier"

        row = state()
        assert row["state"] == "open"
        assert "another prompt" in row["last_refusal"]
        assert datetime.fromisoformat(row["last_refused"]).tzinfo is not None
        said = f"remainder@fast was last refused {row['last_refused']}: {row['last_refusal']}\n"
        assert run("status").stdout.endswith(said)

    def test_what_was_told_before_a_calibration_is_settled_by_it(self, asked: str) -> None:
        assert load_step(asked).answer.fn("5").tier == "frontier"
        row = state()
        assert (row["gate"], row["why"]) == ("remainder@fast", "no calibration")
        assert "no calibration" in row["last_refusal"]

        calibrated(asked)

        assert state()["last_refused"] is None

    def test_what_people_are_to_review_is_counted(self, asked: str) -> None:
        calibrated(asked)
        assert state()["open_reviews"] == 0
        with closing(open_reviews(settings())) as queue:
            for at in range(3):
                queue.put("remainder@fast", stratum="all", at=at, ask="5", answer="5")
        assert state()["open_reviews"] == 3
        assert "3 to" in run("status").stdout

    def test_an_unknown_gate_is_an_error(self, project: Path) -> None:
        done = run("status", "nothing@fast")
        assert done.exit_code == 1
        assert "Nothing is known" in done.output
