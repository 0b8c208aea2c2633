"""How a step and a run use the cache: asking anew, keeping nothing, and taking things out of it."""

from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.tasks.ways import Way, both_ways, plain
from tierflow import ExactCache, Prompt
from tierflow.caching import prefix_key
from tierflow.caching.store import Selection
from tierflow.request import Request
from tierflow.tasks import hands

pytestmark = both_ways


def counting(provider: FakeProvider) -> None:
    """Have every reply differ from the one before."""
    provider.script("fast", [Say(str(number)) for number in range(50)])


def test_a_step_that_refreshes_asks_anew_and_keeps_that_for_others(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    counting(provider)
    usual, anew = way.step(plain), way.step(plain, cache=ExactCache(refresh=True))
    assert usual("?").value == "0"
    assert [(each.value, each.cache) for each in (anew("?"), anew("?"))] == [
        ("1", "miss"),
        ("2", "miss"),
    ]
    assert (usual("?").value, usual("?").cache) == ("2", "exact")


def test_a_step_that_only_reads_keeps_nothing(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    counting(provider)
    usual, reading = way.step(plain), way.step(plain, cache=ExactCache(read_only=True))
    assert [reading("?").value, reading("?").value] == ["0", "1"]
    assert usual("?").value == "2"
    assert (reading("?").value, reading("?").cache) == ("2", "exact")


@pytest.mark.parametrize(
    ("mode", "uses", "values"),
    [
        ("on", ["exact", "exact"], ["0", "0"]),
        ("refresh", ["miss", "miss"], ["1", "2"]),
        ("read-only", ["exact", "exact"], ["0", "0"]),
        ("off", ["off", "off"], ["1", "2"]),
    ],
)
def test_a_setting_says_how_a_whole_run_uses_the_cache(
    *,
    way: Way,
    catalogue: Catalogue,
    provider: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    uses: list[str],
    values: list[str],
) -> None:
    catalogue()
    counting(provider)
    step = way.step(plain)
    step("?")
    monkeypatch.setenv("TIERFLOW_CACHE__MODE", mode)
    found = [step("?"), step("?")]
    assert [each.cache for each in found] == uses
    assert [each.value for each in found] == values


def test_a_run_that_only_reads_keeps_nothing_whatever_its_steps_say(
    way: Way, catalogue: Catalogue, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue()
    counting(provider)
    monkeypatch.setenv("TIERFLOW_CACHE__MODE", "read-only")
    step = way.step(plain, cache=ExactCache(refresh=True))
    assert [step("?").cache, step("?").cache] == ["miss", "miss"]
    assert hands().store.stats().entries == 0


def tagged(ask: str, tenant: str, prefix: str) -> Prompt:
    """A prompt of which everything may differ."""
    return Prompt(ask=ask, tenant=tenant, prefix=prefix)


def prefix_of(text: str) -> str:
    messages: Any = ({"role": "system", "content": text}, {"role": "user", "content": "?"})
    return prefix_key(Request("any", messages, prefix_messages=1))


@pytest.mark.parametrize(
    ("which", "gone"),
    [
        (Selection(step="sort"), ["sort"]),
        (Selection(tag="mail"), ["sort", "tagged mail"]),
        (Selection(tenant="acme"), ["of acme"]),
        (Selection(prefix=prefix_of("Be brief.")), ["of a prefix"]),
        (Selection(step="sort", tag="de"), []),
        (Selection(step="tagged", tag="mail"), ["tagged mail"]),
        (Selection(), ["sort", "tagged mail", "of acme", "of a prefix", "plain"]),
    ],
    ids=str,
)
def test_what_a_step_kept_can_be_taken_out_by_step_tag_tenant_and_prefix(
    *,
    way: Way,
    catalogue: Catalogue,
    provider: FakeProvider,
    which: Selection,
    gone: list[str],
) -> None:
    catalogue()
    counting(provider)
    mail = ExactCache(tags=("mail", "de"))
    asks: dict[str, Any] = {
        "sort": (way.step(tagged, name="sort", cache=ExactCache(tags=("mail",))), "?", "", ""),
        "tagged mail": (way.step(tagged, cache=mail), "a?", "", ""),
        "of acme": (way.step(tagged), "?", "acme", ""),
        "of a prefix": (way.step(tagged), "?", "", "Be brief."),
        "plain": (way.step(tagged), "?", "", ""),
    }
    for step, *arguments in asks.values():
        step(*arguments)
    assert hands().store.invalidate(which) == len(gone)
    missed = [name for name, (step, *rest) in asks.items() if step(*rest).cache == "miss"]
    assert missed == gone


def test_an_answer_that_is_rejected_is_asked_for_anew(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    counting(provider)
    step = way.step(plain)
    step("?").reject()
    hit = (step("?"), step("?"))[1]
    assert (hit.value, hit.cache) == ("1", "exact")
    hit.reject()
    assert (step("?").value, step("?").cache) == ("2", "exact")


def test_an_answer_that_no_cache_keeps_can_be_rejected_to_no_effect(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    counting(provider)
    step = way.step(plain, cache=None)
    step("?").reject()
    assert step("?").value == "1"


def test_a_prompt_whose_answer_changes_with_time_is_never_kept(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    counting(provider)

    def news(ask: str) -> Prompt:
        return Prompt(ask=ask, volatile=True)

    step = way.step(news)
    assert [(each.value, each.cache) for each in (step("?"), step("?"))] == [
        ("0", "off"),
        ("1", "off"),
    ]
    assert hands().store.stats().entries == 0
