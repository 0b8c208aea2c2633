"""Captured content: nothing unless asked for, redacted and cut before anything holds it."""

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.tasks.ways import Way, both_ways
from tierflow import Prompt
from tierflow.errors import ConfigError
from tierflow.telemetry_settings import TelemetrySettings
from tierflow.tracing import names
from tierflow.tracing.content import captured, captured_text

from .emitted import Emitted, attributes, messages

VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
SECRET = "4711-secret"


class City(BaseModel):
    city: str


def asked(ask: str) -> Prompt:
    return Prompt(prefix="Guide.", examples=[("a", "b")], ask=ask)


def redacts(text: str) -> str:
    return text.replace(SECRET, "***")


def fails(text: str) -> str:
    raise ValueError(f"cannot redact {text}")


def returns_nothing(_: str) -> None:
    """Return no text."""


class Hooks:
    """Holds a hook that is found by a longer name."""

    redacts = staticmethod(redacts)


def kept(text: str, **telemetry: Any) -> str:
    return captured_text(text, TelemetrySettings(**telemetry))


@both_ways
def test_nothing_is_captured_by_default(
    way: Way, catalogue: Catalogue, provider: FakeProvider, emitted: Emitted
) -> None:
    catalogue()
    provider.script("fast", Say(SECRET))

    way.step(asked)(SECRET)

    assert SECRET not in emitted.written()
    assert not emitted.events()


@both_ways
@pytest.mark.parametrize("mode", ["span_only", "event_only", "span_and_event"])
@pytest.mark.parametrize("by_variable", [False, True])
def test_what_is_captured_goes_where_it_is_asked_for(
    *,
    way: Way,
    mode: str,
    by_variable: bool,
    catalogue: Catalogue,
    provider: FakeProvider,
    emitted: Emitted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalogue()
    provider.script("fast", Say("here"))
    if by_variable:
        monkeypatch.setenv(VARIABLE, mode.upper())
    else:
        monkeypatch.setenv("TIERFLOW_TELEMETRY__CAPTURE_CONTENT", mode)

    way.step(asked)("Where is it?")

    places = list[Any]()
    if "span" in mode:
        places.append(attributes(emitted.span("chat fast")))
    if "event" in mode:
        (record,) = (each.log_record for each in emitted.events())
        assert record.event_name == "gen_ai.client.inference.operation.details"
        places.append(dict(record.attributes or {}))
    for found in places:
        heard = messages(found["gen_ai.input.messages"])
        assert [(each["role"], each["parts"][0]["content"]) for each in heard] == [
            ("system", "Guide."),
            ("user", "a"),
            ("assistant", "b"),
            ("user", "Where is it?"),
        ]
        (said,) = messages(found["gen_ai.output.messages"])
        assert (said["role"], said["finish_reason"]) == ("assistant", "stop")
        assert said["parts"] == [{"content": "here", "type": "text"}]
    assert ("here" in str(attributes(emitted.span("chat fast")))) is ("span" in mode)


def test_the_setting_goes_over_the_variable(
    catalogue: Catalogue,
    provider: FakeProvider,
    emitted: Emitted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalogue()
    provider.script("fast", Say(SECRET))
    monkeypatch.setenv(VARIABLE, "SPAN_AND_EVENT")
    monkeypatch.setenv("TIERFLOW_TELEMETRY__CAPTURE_CONTENT", "false")

    Way(is_async=False).step(asked)(SECRET)

    assert SECRET not in emitted.written()


@both_ways
def test_the_hook_runs_before_anything_holds_the_text(
    way: Way,
    catalogue: Catalogue,
    provider: FakeProvider,
    emitted: Emitted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalogue()
    provider.script("fast", Say(f"no, {SECRET}"))
    monkeypatch.setenv("TIERFLOW_TELEMETRY__CAPTURE_CONTENT", "span_and_event")
    monkeypatch.setenv("TIERFLOW_TELEMETRY__REDACT", f"{__name__}:redacts")

    assert way.step(asked)(f"say {SECRET}").value == f"no, {SECRET}"

    text = emitted.written()
    assert SECRET not in text
    assert "say ***" in text
    assert "no, ***" in text


def test_a_text_for_which_the_hook_fails_is_left_out_and_not_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, logger="tierflow"):
        assert kept(SECRET, redact=f"{__name__}:fails") == ""
    assert SECRET not in caplog.text
    assert "ValueError" in caplog.text


def test_what_the_hook_returns_must_be_text() -> None:
    assert kept("a", redact=f"{__name__}:returns_nothing") == ""


def test_a_hook_may_be_an_attribute_of_something() -> None:
    assert kept(SECRET, redact=f"{__name__}:Hooks.redacts") == "***"


@pytest.mark.parametrize(
    "named", ["no.such.module:hook", f"{__name__}:missing", f"{__name__}:SECRET"]
)
def test_a_hook_that_is_none_is_refused_before_anything_is_written(named: str) -> None:
    with pytest.raises(ConfigError, match=r"telemetry\.redact"):
        kept("a", redact=named)


def test_a_step_with_a_wrong_hook_asks_nobody(
    catalogue: Catalogue, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue()
    monkeypatch.setenv("TIERFLOW_TELEMETRY__CAPTURE_CONTENT", "true")
    monkeypatch.setenv("TIERFLOW_TELEMETRY__REDACT", "no.such.module:hook")

    with pytest.raises(ConfigError, match=r"no\.such\.module"):
        Way(is_async=False).step(asked)("Where is it?")

    assert not provider.calls


def test_the_newest_text_is_kept_when_there_is_too_much() -> None:
    asking = [{"role": "system", "content": "abcdef"}, {"role": "user", "content": "wxyz"}]
    found = captured(asking, TelemetrySettings(max_content_bytes=6))
    assert [each.texts for each in found.messages] == [("ab",), ("wxyz",)]
    assert found.is_cut


def test_what_was_cut_is_said_on_the_span(
    catalogue: Catalogue,
    provider: FakeProvider,
    emitted: Emitted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalogue()
    provider.script("fast", Say("a long reply"))
    monkeypatch.setenv("TIERFLOW_TELEMETRY__CAPTURE_CONTENT", "true")
    monkeypatch.setenv("TIERFLOW_TELEMETRY__MAX_CONTENT_BYTES", "6")

    Way(is_async=False).step(asked)("Where is it?")

    found = attributes(emitted.span("chat fast"))
    assert found[names.CONTENT_CUT] is True
    assert messages(found["gen_ai.output.messages"])[0]["parts"][0]["content"] == "a long"


def test_only_text_is_taken_of_a_message_of_many_parts() -> None:
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": SECRET}}]
    found = captured([{"role": "user", "content": parts}], TelemetrySettings())
    assert found.messages[0].texts == ("look",)


@given(text=st.text(st.characters()), most=st.integers(0, 20))
def test_no_text_is_longer_than_allowed_nor_breaks_an_exporter(text: str, most: int) -> None:
    found = kept(text, max_content_bytes=most)
    assert len(found.encode()) <= most
    if len(text.encode(errors="replace")) <= most:
        assert found == text.encode(errors="replace").decode()
