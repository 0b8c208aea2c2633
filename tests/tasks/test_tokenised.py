"""Chains in an engine's own tokens: its page is asked once for a prefix."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes.engine import all_ids, token_ids
from tierflow.errors import EngineUnreadableError
from tierflow.request import Message, Request
from tierflow.routing.affinity import BlockChain, chain_of_tokens
from tierflow.settings import Deployment
from tierflow.tasks.placing import Tokenised

SIZE = 16
SYSTEM = {"role": "system", "content": "Answer in one word, and be kind. " * 20}
POOLED = Deployment(model="openai/llama", pool="llama")
PATIENCE_S = 60.0


class Page:
    def __init__(self) -> None:
        self.asked: list[tuple[int, bool]] = []
        self.go = threading.Event()
        self.go.set()
        self.is_gone = False

    def token_ids(
        self,
        api_base: str,
        model: str,
        messages: Sequence[Message],
        *,
        replies: bool,
        options: Mapping[str, Any],
    ) -> Sequence[int]:
        del api_base
        assert model == "llama"
        self.asked.append((len(messages), replies))
        assert self.go.wait(PATIENCE_S)
        if self.is_gone:
            raise EngineUnreadableError("It is gone.")
        return all_ids({"messages": messages, **options})

    def close(self) -> None: ...


def ask(text: str, prefix: int = 1) -> Request:
    return Request("s", (SYSTEM, {"role": "user", "content": text}), prefix_messages=prefix)


def chain(
    known: Tokenised, request: Request, size: int = SIZE, deployment: Deployment = POOLED
) -> BlockChain:
    return known.chain(deployment, request, size, "http://engine/v1")


def test_the_page_is_asked_once_for_a_prefix() -> None:
    page = Page()
    known = Tokenised(page)
    chains = [chain(known, ask(text)) for text in ("one", "two", "three" * 100)]
    assert page.asked == [(1, False)]
    assert len({each.hashes for each in chains}) == 1
    assert chains[2].tokens > chains[0].tokens > len(token_ids([SYSTEM]))


def test_who_needs_the_same_at_once_has_it_asked_once() -> None:
    page = Page()
    known = Tokenised(page)
    page.go.clear()
    with ThreadPoolExecutor(8) as threads:
        asking = [threads.submit(chain, known, ask(f"{number}")) for number in range(8)]
        page.go.set()
    assert page.asked == [(1, False)]
    assert len({each.result().hashes for each in asking}) == 1


def test_an_engine_that_said_nothing_is_asked_again() -> None:
    page = Page()
    known = Tokenised(page)
    page.is_gone = True
    with pytest.raises(EngineUnreadableError):
        chain(known, ask("one"))
    page.is_gone = False
    assert chain(known, ask("one")).hashes
    assert len(page.asked) == 2


def test_its_blocks_are_those_of_the_whole_request() -> None:
    known, request = Tokenised(Page()), ask("one")
    whole = chain_of_tokens(token_ids(request.messages), SIZE)
    told = chain(known, request)
    assert told.hashes == whole.hashes[: len(told.hashes)]
    assert len(told.hashes) >= len(whole.hashes) - 1


def test_without_a_prefix_all_of_the_request_is_asked_about() -> None:
    page = Page()
    known = Tokenised(page)
    for text in ("one", "two", "one"):
        chain(known, ask(text, prefix=0))
    assert page.asked == [(2, True), (2, True)]


def test_another_prefix_or_size_of_blocks_is_asked_about_anew() -> None:
    page, request = Page(), ask("one")
    known = Tokenised(page)
    longer = replace(request, messages=(SYSTEM, *request.messages), prefix_messages=2)
    chains = [chain(known, each) for each in (request, longer)]
    chains.append(chain(known, request, 2 * SIZE))
    assert len(page.asked) == 3
    assert len({each.hashes for each in chains}) == 3


@pytest.mark.parametrize(
    "params",
    [
        {"tools": [{"type": "function", "function": {"name": "look"}}]},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
    ],
)
def test_what_a_template_writes_besides_messages_is_asked_about_too(params: dict[str, Any]) -> None:
    known, request = Tokenised(Page()), ask("one", prefix=0)
    sent = {**params, **params.get("extra_body", {}), "messages": request.messages}
    whole = chain_of_tokens(all_ids(sent), SIZE)
    optioned = POOLED.model_copy(update={"params": params})
    assert chain(known, request, deployment=optioned) == whole != chain(known, request)
