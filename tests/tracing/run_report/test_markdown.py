"""Markdown and page: the same content, escaped, and complete by itself."""

import re
from html.parser import HTMLParser

import pytest

from tierflow.tracing import Row
from tierflow.tracing.run_report import Run, as_data, contents_of, markdown, page

from .runs import call, row, run

NASTY = '<script>alert("1")</script> | `x` [link](http://x) *b*\n# heading'


@pytest.fixture
def eventful() -> Run:
    rows = [
        row(
            "one", 0, 1, cost_usd=0.25, escalations=1, passed_by="confidence: 0.4", tier="frontier"
        ),
        row("two", 0, 1, failed_attempts=1, cost_usd=0.5),
        row("three", 1, 1, cache="exact", cost_usd=0.0),
        row("four", 1, 2, step="draft", outcome="UnparseableReplyError", cost_usd=None),
    ]
    calls = [
        call("one", 0, 1, tier="frontier", cost_usd=0.25),
        call("two", 0, 0.5, outcome="RateLimitedError", cost_usd=0.0),
        call("two", 0.5, 1, deployment="openai/b", cost_usd=0.5),
        call("four", 1, 2, cost_usd=None),
    ]
    return run(rows, calls, triage=(0.9, 3))


def test_markdown_says_what_happened(eventful: Run) -> None:
    said = markdown(contents_of(eventful))

    assert said.startswith("# inbox\n\n4 calls, 1 from the cache, cost $0.7500 and 1 call without")
    assert "1 escalated, 1 failed over, 1 failed." in said
    assert "Began 2026-01-01 00:00:00 UTC. Flow run `run`." in said
    assert len(re.findall(r"!\[[^\]]+\]\(data:image/svg\+xml;base64,[\w+/=]+\)", said)) == 2
    assert "| triage | frontier, fast | 3 | 1 | 1 | 1 | 0 |" in said
    assert "| triage | frontier | 1 | confidence: 0.4 |" in said
    assert "| triage | openai/a | RateLimitedError | 1 | answered all the same |" in said
    assert "| draft | UnparseableReplyError | 1 |" in said
    assert "0.90 of 3" in said


def test_an_uneventful_run_has_no_empty_tables() -> None:
    said = markdown(contents_of(run([row("one", 0, 1)])))

    assert "None escalated, failed over or failed." in said
    assert re.findall("^## (.*)", said, flags=re.MULTILINE) == [
        "When the steps ran",
        "What the steps cost, took and were worth",
        "The newest answer of each step",
    ]
    assert "quality" not in said


def test_what_failed_in_the_shadow_is_told_apart_from_the_steps() -> None:
    failed = [row(f"s{each}", 0, 1, step="triage (shadow)", outcome="OddError") for each in "ab"]
    said = markdown(contents_of(run([row("one", 0, 1), *failed])))

    assert "2 asked beside the answers failed" in said
    assert "## Steps without an answer" not in said
    assert "OddError | 2 |" in said
    assert re.search(r"\| triage \| .* \| one \|", said)


def test_for_a_terminal_there_are_no_pictures(eventful: Run) -> None:
    said = markdown(contents_of(eventful), pictures=False)

    assert "data:" not in said
    assert "## When the steps ran" not in said
    assert "## Escalations" in said


def test_of_very_many_reasons_the_commonest_are_shown_and_the_rest_counted() -> None:
    rows = [row(f"{n}", 0, 1, escalations=1, passed_by=f"mine: {'x' * n}") for n in range(25)]

    said = markdown(contents_of(run(rows)))

    assert len(re.findall(r"\| mine: x*", said)) == 20
    assert "5 other reasons are not shown." in said


def test_no_name_becomes_markup_in_markdown() -> None:
    rows = [row("one", 0, 1, flow=NASTY, step=NASTY, tier=NASTY, escalations=1, passed_by=NASTY)]

    said = markdown(contents_of(run(rows)))

    assert "<script" not in said
    assert not re.search(r"(?<!\\)\]\(http", said)
    columns = {line.count(" | ") for line in said.splitlines() if line.startswith("| ")}
    assert columns == {12, 3, 2}


class Tags(HTMLParser):
    """What a page consists of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(text: str) -> Tags:
    found = Tags()
    found.feed(text)
    found.close()
    return found


def test_a_page_needs_no_script_and_loads_nothing(eventful: Run) -> None:
    text = page(eventful)
    found = read(text)

    assert not {"script", "link", "img", "iframe", "object"} & set(found.tags)
    names = {name for name, _ in found.attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"src", "href"}
    assert not re.findall(r"url\(|@import|https?://", text)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme:dark" in text
    assert found.tags.count("svg") == 2


def test_a_page_says_what_markdown_says_and_has_every_step(eventful: Run) -> None:
    found = read(page(eventful)).texts

    assert contents_of(eventful).headline in found
    assert "All 4 steps" in found
    for each in ("one", "two", "three", "four", "confidence: 0.4", "RateLimitedError", "exact hit"):
        assert each in found


def test_no_name_becomes_markup_in_a_page() -> None:
    odd = row("one", 0, 1, flow=NASTY, step=NASTY, model=NASTY, outcome=NASTY, passed_by=NASTY)
    found = read(page(run([odd, row("two", 0, 1, escalations=1, passed_by=NASTY)])))

    assert "script" not in found.tags
    assert "a" not in found.tags
    assert NASTY in found.texts


def test_data_has_the_same_figures_and_every_call(eventful: Run) -> None:
    data = as_data(eventful)

    triage, draft, total = data["steps"]
    assert (triage["step"], triage["escalated"], triage["failed_over"]) == ("triage", 1, 1)
    assert triage["costs"] == {"fast": 0.5, "frontier": 0.25}
    assert (triage["quality"], triage["scored"], draft["quality"]) == (0.9, 3, None)
    assert total["cost_usd"] == 0.75
    assert [len(each["calls"]) for each in data["answers"]] == [1, 2, 0, 1]
    assert data["failed_calls"][0]["error"] == "RateLimitedError"
    assert data["headline"] == contents_of(eventful).headline


def test_a_row_without_a_flow_has_a_report_too() -> None:
    odd: Row = row("one", 0, 1, flow=None, flow_run_id="x")

    assert markdown(contents_of(run([odd]))).startswith("# Without a flow\n")
