"""`tierflow judge train`: a step of a file learns its judge, which is then calibrated and used."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tierflow.cli import cli
from tierflow.errors import ConfigError
from tierflow.tasks import close_hands

STEP = """
from tierflow import Cascade, Prompt, llm_task, trained

def last(text):
    return text.split()[-1]

def same(mine, other):
    return last(mine) == last(other)

def step(name, judge):
    @llm_task(name=name, tier="fast", cascade=Cascade("frontier", judge, max_loss=0.1, same=same))
    def remainder(number: str) -> Prompt:
        return Prompt(prefix="Divide by seven.", ask=f"canary {number}")
    return remainder

alone = step("alone", trained("scorer.json"))
helped = step("helped", trained("scorer.json", helper="standard"))

@llm_task(tier="fast")
def plain(number: str) -> str:
    return number
"""


def write_items(name: str, numbers: range, **more: Any) -> None:
    rows = [{"number": str(n), "label": f"= {n % 7}", **more} for n in numbers]
    Path(name).write_text("\n".join(map(json.dumps, rows)))


@pytest.fixture
def file(project: Path, catalogue: Catalogue, provider: FakeProvider) -> str:
    """A file with steps whose cheap tier doubts every third number, and is wrong there."""
    path = catalogue()
    # Where all deployments cost the same, no cascade pays.
    cheaper, frontier = path.read_text().split("[tiers.frontier]")
    frontier = frontier.replace("mtok = 1", "mtok = 100")
    path.write_text(f"{cheaper}[tiers.frontier]{frontier}")
    (project / "sums.py").write_text(STEP)

    def number_of(body: dict[str, Any]) -> int:
        return int(body["messages"][-1]["content"].split()[-1])

    def cheap(body: dict[str, Any]) -> Say:
        number = number_of(body)
        return Say(f"Perhaps, it seems 9{number}" if number % 3 == 0 else f"Yes: {number % 7}")

    provider.script("fast", cheap)
    provider.script("standard", cheap)
    provider.script("frontier", lambda body: Say(f"Reply: {number_of(body) % 7}"))
    write_items("items.jsonl", range(150))
    return "sums.py"


def run(*words: str) -> Result:
    close_hands()
    return CliRunner().invoke(cli, ["judge", *words])


def train(step: str, *words: str) -> Result:
    return run("train", step, "--items", "items.jsonl", "--out", "scorer.json", *words)


def said_by(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_step_learns_its_judge_before_the_judges_file_is_there(file: str) -> None:
    found = said_by(train(f"{file}:alone", "--json"))
    assert found["items"] == 150
    assert found["weak_right"] == pytest.approx(2 / 3)
    assert found["strong_right"] == 1
    assert found["pays"]
    assert found["saving"] > 0.5
    assert 0.5 < found["accepted"] < 0.75


def test_what_was_learned_opens_a_gate_on_other_items(file: str) -> None:
    said_by(train(f"{file}:alone", "--json"))
    write_items("others.jsonl", range(150, 350))
    done = said_by(run("calibrate", f"{file}:alone", "--items", "others.jsonl", "--json"))
    assert done["opens"], done["reason"]
    assert done["cascade_right"] > 0.95


def test_the_file_holds_no_text_of_asks_or_replies(file: str) -> None:
    write_items("items.jsonl", range(150), stratum="canary")
    said_by(train(f"{file}:alone", "--json"))
    assert "canary" not in Path("scorer.json").read_text()
    assert sorted(path.name for path in Path().glob("*scorer*")) == ["scorer.json"]


def test_a_helper_that_the_judge_names_is_asked_and_learned_from(
    file: str, provider: FakeProvider
) -> None:
    said_by(train(f"{file}:helped", "--json"))
    assert "helper_agrees" in json.loads(Path("scorer.json").read_text())["names"]
    assert len([call for call in provider.calls if call.body["model"] == "standard"]) == 150


def test_it_warns_against_calibrating_with_the_same_items(file: str) -> None:
    said = train(f"{file}:alone").stdout
    assert "Expected saving at equal quality: " in said
    assert "Calibrate with other items than items.jsonl" in said


def test_a_cascade_that_does_not_pay_is_advised_against(file: str, catalogue: Catalogue) -> None:
    catalogue()  # all tiers at the same price
    found = said_by(train(f"{file}:alone", "--json"))
    assert not found["pays"]
    assert found["reason"].startswith("No cascade: frontier costs only ")
    assert found["reason"] in train(f"{file}:alone").stdout


def test_without_prices_no_saving_is_told(file: str) -> None:
    path = Path("tierflow.toml")
    lines = [
        line.split(", input_usd")[0] + " }]" if "input_usd" in line else line
        for line in path.read_text().splitlines()
    ]
    path.write_text("\n".join(lines))
    assert said_by(train(f"{file}:alone", "--json"))["saving"] is None
    assert "a price is unknown" in train(f"{file}:alone").stdout


def test_an_item_that_is_there_twice_counts_once(file: str) -> None:
    items = Path("items.jsonl")
    items.write_text(f"{items.read_text()}\n{items.read_text()}")
    assert said_by(train(f"{file}:alone", "--json"))["items"] == 150


def test_replies_that_cannot_be_used_count_as_wrong(file: str, provider: FakeProvider) -> None:
    provider.script(
        "fast",
        lambda body: Say(
            f"Yes: {int(body['messages'][-1]['content'].split()[-1]) % 7}",
            finish_reason="length" if "3" in body["messages"][-1]["content"] else "stop",
        ),
    )
    assert 0.5 < said_by(train(f"{file}:alone", "--json"))["weak_right"] < 0.9


@pytest.mark.parametrize(
    ("step", "numbers", "wanted"),
    [("plain", 150, "has no cheaper tier"), ("alone", 49, "49 items teach nothing")],
)
def test_what_cannot_be_learned_from_is_refused_before_anything_is_asked(
    file: str, provider: FakeProvider, step: str, numbers: int, wanted: str
) -> None:
    write_items("items.jsonl", range(numbers))
    done = train(f"{file}:{step}")
    assert isinstance(done.exception, ConfigError)
    assert wanted in str(done.exception)
    assert not provider.calls
    assert not Path("scorer.json").exists()


def test_a_cheap_tier_that_is_always_right_teaches_nothing(
    file: str, provider: FakeProvider
) -> None:
    provider.script("fast", lambda body: Say(body["messages"][-1]["content"]))
    write_items("items.jsonl", range(60))
    Path("items.jsonl").write_text(
        "\n".join(json.dumps({"number": str(n), "label": str(n)}) for n in range(60))
    )
    done = train(f"{file}:alone")
    assert "nothing to learn" in str(done.exception)


def test_a_folder_that_is_not_there_is_found_before_anything_is_asked(
    file: str, provider: FakeProvider
) -> None:
    done = run("train", f"{file}:alone", "--items", "items.jsonl", "--out", "gone/scorer.json")
    assert done.exit_code == 1
    assert "no folder gone" in done.output
    assert not provider.calls
