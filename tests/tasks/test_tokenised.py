"""Chains in an engine's own tokens: its page is asked once for a prefix."""

from collections.abc import Sequence
from dataclasses import replace

from tests.fakes.engine import token_ids
from tierflow.request import Message, Request
from tierflow.routing.affinity import chain_of_tokens
from tierflow.tasks.tokenised import Tokenised

SIZE = 16
SYSTEM = {"role": "system", "content": "Answer in one word, and be kind. " * 20}


class Page:
    def __init__(self) -> None:
        self.asked: list[tuple[int, bool]] = []

    def __call__(self, messages: Sequence[Message], /, *, replies: bool) -> Sequence[int]:
        self.asked.append((len(messages), replies))
        return token_ids(messages)


def ask(text: str, prefix: int = 1) -> Request:
    return Request("s", (SYSTEM, {"role": "user", "content": text}), prefix_messages=prefix)


def test_the_page_is_asked_once_for_a_prefix() -> None:
    page, known = Page(), Tokenised()
    chains = [known.chain(ask(text), SIZE, page) for text in ("one", "two", "three" * 100)]
    assert page.asked == [(1, False)]
    assert len({chain.hashes for chain in chains}) == 1
    assert chains[2].tokens > chains[0].tokens > len(token_ids([SYSTEM]))


def test_its_blocks_are_those_of_the_whole_request() -> None:
    page, known = Page(), Tokenised()
    request = ask("one")
    whole = chain_of_tokens(token_ids(request.messages), SIZE)
    told = known.chain(request, SIZE, page)
    assert told.hashes == whole.hashes[: len(told.hashes)]
    assert len(told.hashes) >= len(whole.hashes) - 1


def test_without_a_prefix_all_of_the_request_is_asked_about() -> None:
    page, known = Page(), Tokenised()
    for text in ("one", "two", "one"):
        known.chain(ask(text, prefix=0), SIZE, page)
    assert page.asked == [(2, True), (2, True)]


def test_another_prefix_or_size_of_blocks_is_asked_about_anew() -> None:
    page, known = Page(), Tokenised()
    request = ask("one")
    longer = replace(request, messages=(SYSTEM, *request.messages), prefix_messages=2)
    chains = [known.chain(each, SIZE, page) for each in (request, longer)]
    chains.append(known.chain(request, 2 * SIZE, page))
    assert len(page.asked) == 3
    assert len({chain.hashes for chain in chains}) == 3
