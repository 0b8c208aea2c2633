"""Bad input and bad replies: which error comes out, what it says, and what was asked and paid."""

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from tests.conftest import Catalogue
from tests.fakes import Drop, Fail, FakeProvider, Raw, Say, Step
from tests.tasks.conftest import Rows
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Cascade, ExactCache, Prompt, agreement, confidence, schema
from tierflow.errors import (
    AllDeploymentsFailedError,
    ConfigError,
    ConfigNotFoundError,
    MissingKeyError,
    PromptError,
    RejectedError,
    UnknownTierError,
    UnparseableReplyError,
)

pytestmark = both_ways

ASKED, SAID = 1000, 100
COST_USD = (1.0 * ASKED + 10.0 * SAID) / 1e6
SECRET = "the-reply-says-this"


class City(BaseModel):
    name: str
    people: int


def say(text: object) -> Say:
    return Say(text, input_tokens=ASKED, output_tokens=SAID)


# --- prompt functions


class ShopClosedError(Exception):
    """Raised by a user's own code."""


def test_what_a_prompt_function_raises_comes_out_as_it_is(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    fault = ShopClosedError("on Sundays")

    def closed() -> str:
        raise fault

    with pytest.raises(ShopClosedError) as caught:
        way.step(closed)()
    assert caught.value is fault
    assert not provider.calls


@pytest.mark.parametrize("wrong", [None, 42, [], ["text"], {"role": "user", "content": "?"}])
def test_a_prompt_function_that_returns_no_prompt_is_told_what_to_return(
    way: Way, catalogue: Catalogue, provider: FakeProvider, wrong: Any
) -> None:
    catalogue()

    def ask() -> Any:
        return wrong

    with pytest.raises(PromptError, match=r"Return a Prompt\(ask=\.\.\.\)") as caught:
        way.step(ask)()
    assert type(wrong).__name__ in str(caught.value)
    assert not provider.calls


def test_a_prompt_function_called_wrongly_raises_pythons_own_error(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    with pytest.raises(TypeError, match="plain"):
        way.step(plain)("one", "too many")
    assert not provider.calls


@pytest.mark.parametrize("cache", [None, ExactCache()], ids=["uncached", "cached"])
@pytest.mark.parametrize("content", [b"bytes", {1, 2}, float("nan"), "half a \ud83d character"])
def test_a_prompt_that_json_cannot_hold_is_refused_without_quoting_it(
    way: Way, catalogue: Catalogue, provider: FakeProvider, content: Any, cache: ExactCache | None
) -> None:
    catalogue()

    def ask() -> Any:
        return [{"role": "user", "content": content}]

    with pytest.raises(PromptError, match=r"JSON cannot hold .* Use text") as said:
        way.step(ask, cache=cache)()
    assert "half a" not in str(said.value)
    assert not provider.calls


def test_an_example_that_does_not_fit_the_result_type_stops_the_step(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()

    def classify() -> Prompt:
        return Prompt(ask="?", examples=[("Money!", "maybe")])

    with pytest.raises(PromptError, match="'yes', 'no'"):
        way.step(classify, returns=Literal["yes", "no"])()
    assert not provider.calls


# --- configuration: said before any call, and before the prompt function


def expect(
    way: Way, provider: FakeProvider, error: type[ConfigError], *words: str, **options: Any
) -> None:
    """Run a step that must fail before its prompt function and before any call."""

    def ask() -> str:
        raise AssertionError("The prompt function was called.")

    step = way.step(ask, **options)
    with pytest.raises(error) as caught:
        step()
    for word in words:
        assert word in str(caught.value)
    assert not provider.calls


def test_an_unknown_tier_names_the_known_ones_and_the_remedy(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue(law=["law"])
    words = "'quick'", "fast, standard, frontier, specialist.law", "[tiers.specialist.<domain>]"
    expect(way, provider, UnknownTierError, *words, tier="quick")


@pytest.mark.parametrize(
    "cascade",
    [
        Cascade("strongest", confidence(), max_loss=None),
        Cascade(("standard", "strongest"), confidence(), max_loss=None),
        Cascade("frontier", agreement("strongest"), max_loss=None),
    ],
    ids=["to", "one of several", "judge"],
)
def test_an_unknown_tier_in_a_cascade_is_found_before_the_first_call(
    way: Way, catalogue: Catalogue, provider: FakeProvider, cascade: Cascade
) -> None:
    catalogue()
    expect(way, provider, UnknownTierError, "'strongest'", cascade=cascade)


@pytest.mark.usefixtures("project")
def test_a_missing_key_names_tier_variables_and_remedy(way: Way, provider: FakeProvider) -> None:
    words = "'fast'", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY or GOOGLE_API_KEY"
    expect(way, provider, MissingKeyError, *words, "[tiers.fast]")


def test_a_missing_key_of_the_stronger_tier_is_found_before_the_first_call(
    way: Way, catalogue: Catalogue, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue()
    monkeypatch.setenv(
        "TIERFLOW_TIERS__FRONTIER__DEPLOYMENTS", '[{"model": "xai/x", "api_key_env": "MY_KEY"}]'
    )
    cascade = Cascade("frontier", confidence(), max_loss=None)
    expect(way, provider, MissingKeyError, "'frontier'", "MY_KEY", cascade=cascade)


def test_tierflow_config_to_nowhere_is_named(
    way: Way, project: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERFLOW_CONFIG", "nowhere.toml")
    words = str(project / "nowhere.toml"), "Correct the path, or unset it"
    expect(way, provider, ConfigNotFoundError, *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tiers.fast\n", ["is not valid TOML", "line 1", "Correct that line"]),
        ("[tiers.fast]\ntimeout_s = -1\n", ["tiers.fast.timeout_s", "greater than 0"]),
        ("[tiers.fast]\ntimeuot_s = 1\n", ["tiers.fast.timeuot_s", "not permitted"]),
        (
            "[tiers.frontier]\ndeployments = [{ model = 'xai/x', output_usd_per_mtok = 1 }]",
            ["tiers.frontier", "xai/x", "Give both, or neither"],
        ),
    ],
)
def test_a_wrong_file_is_named_with_its_field_and_the_reason(
    way: Way, project: Path, provider: FakeProvider, text: str, words: list[str]
) -> None:
    (project / "tierflow.toml").write_text(text)
    expect(way, provider, ConfigError, str(project / "tierflow.toml"), *words)


def test_an_invalid_variable_is_named_by_its_field(
    way: Way, catalogue: Catalogue, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue()
    monkeypatch.setenv("TIERFLOW_TIERS__FAST__TIMEOUT_S", "soon")
    expect(way, provider, ConfigError, "TIERFLOW_", "tiers.fast.timeout_s")


# --- replies that cannot be used


def test_a_reply_that_does_not_parse_is_repaired_once(
    way: Way, catalogue: Catalogue, provider: FakeProvider, rows: Rows
) -> None:
    catalogue()
    provider.script("fast", [say(SECRET), say({"name": "Bonn", "people": 1})])
    answer = way.step(plain, returns=City)("Which city?")
    assert answer.value == City(name="Bonn", people=1)
    assert answer.cost_usd == pytest.approx(2 * COST_USD)
    asked, repair = (call.body["messages"] for call in provider.calls)
    assert repair[: len(asked)] == asked
    assert repair[-2] == {"role": "assistant", "content": SECRET}
    assert "does not fit City" in repair[-1]["content"]
    assert rows()[0]["asks"] == 2


def test_a_reply_that_no_tier_can_mend_raises_after_one_repair_per_tier(
    way: Way, catalogue: Catalogue, provider: FakeProvider, rows: Rows
) -> None:
    catalogue()
    for model in ("fast", "standard", "frontier"):
        provider.script(model, say(SECRET))
    cascade = Cascade(("standard", "frontier"), schema(), max_loss=None)
    step = way.step(plain, returns=City, cascade=cascade)
    with pytest.raises(UnparseableReplyError, match="does not fit City") as caught:
        step("Which city?")
    assert SECRET not in str(caught.value)
    assert caught.value.text == SECRET
    asked = [call.model for call in provider.calls]
    assert asked == [model for model in ("fast", "standard", "frontier") for _ in range(2)]

    (row,) = rows()
    assert (row["outcome"], row["step"]) == ("UnparseableReplyError", "plain")
    assert row["asks"] == 6
    assert row["cost_usd"] == pytest.approx(6 * COST_USD)
    assert (row["input_tokens"], row["output_tokens"]) == (6 * ASKED, 6 * SAID)
    assert SECRET not in str(row)


def test_a_failed_step_is_not_kept(
    way: Way, catalogue: Catalogue, provider: FakeProvider, rows: Rows
) -> None:
    catalogue()
    provider.script("fast", [say("?"), say("?"), say({"name": "Bonn", "people": 1})])
    step = way.step(plain, returns=City)
    with pytest.raises(UnparseableReplyError):
        step("Which city?")
    assert step("Which city?").cache == "miss"
    assert [row["outcome"] for row in rows()] == ["UnparseableReplyError", "ok"]


@pytest.mark.parametrize(("cache", "use"), [(None, "off"), (ExactCache(), "miss")])
def test_the_row_of_a_failed_step_says_how_the_cache_took_part(
    *,
    way: Way,
    catalogue: Catalogue,
    provider: FakeProvider,
    rows: Rows,
    cache: ExactCache | None,
    use: str,
) -> None:
    catalogue()
    provider.script("fast", say("?"))
    with pytest.raises(UnparseableReplyError):
        way.step(plain, returns=City, cache=cache)("Which city?")
    assert [row["cache"] for row in rows()] == [use]


# --- providers that do not answer


@pytest.mark.parametrize("fault", [Fail(500), Drop(), Fail(401), Fail(404)], ids=repr)
def test_when_all_deployments_are_down_each_is_named(
    way: Way, catalogue: Catalogue, provider: FakeProvider, rows: Rows, fault: Step
) -> None:
    catalogue(fast=["a", "b"])
    provider.script("a", fault)
    provider.script("b", fault)
    with pytest.raises(AllDeploymentsFailedError, match="`tierflow tiers`") as caught:
        way.step(plain)("Anybody?")
    assert [error.deployment.partition("@")[0] for error in caught.value.attempts] == [
        "openai/a",
        "openai/b",
    ]
    assert [call.model for call in provider.calls] == ["a", "b"]
    (row,) = rows()
    assert (row["outcome"], row["failed_attempts"], row["asks"]) == (
        "AllDeploymentsFailedError",
        2,
        0,
    )
    assert row["cost_usd"] == 0


def test_a_tier_that_is_down_escalates(
    way: Way, catalogue: Catalogue, provider: FakeProvider, rows: Rows
) -> None:
    catalogue()
    provider.script("fast", Fail(503))
    provider.script("frontier", Say("here"))
    answer = way.step(plain, cascade=Cascade("frontier", agreement(), max_loss=None))("Anybody?")
    assert (answer.tier, answer.value, answer.escalations) == ("frontier", "here", 1)
    assert len(answer.failures) == 1
    assert rows()[0]["failed_attempts"] == 1


def test_a_rejected_request_is_not_sent_elsewhere(
    way: Way, catalogue: Catalogue, provider: FakeProvider, rows: Rows
) -> None:
    catalogue(fast=["a", "b"])
    provider.script("a", Fail(400, "No such parameter."))
    provider.script("b", Say("never"))
    with pytest.raises(RejectedError, match="No such parameter"):
        way.step(plain)("?")
    assert [call.model for call in provider.calls] == ["a"]
    assert rows()[0]["outcome"] == "RejectedError"


@pytest.mark.parametrize("body", ["<html>Bad gateway</html>", "", "{}", '{"choices": []}'])
def test_an_answer_that_is_no_completion_is_the_deployments_fault(
    way: Way, catalogue: Catalogue, provider: FakeProvider, body: str
) -> None:
    catalogue(fast=["a", "b"])
    provider.script("a", Raw(200, body))
    provider.script("b", Say("well"))
    answer = way.step(plain)("Anybody?")
    assert (answer.value, len(answer.failures)) == ("well", 1)
