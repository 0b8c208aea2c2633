"""Paraphrases: questions of a few kinds, many ways to ask each, no number or negation in any."""

import random
from collections.abc import Callable
from typing import Any

from tests.fakes import Say
from tierflow import Prompt, SemanticCache

TERMS = SemanticCache(max_wrong_rate=0.3, confidence=0.6)
"""A promise so loose that some dozens of checks prove it."""

_MATTERS = {
    "card": ("lost bank card", "missing bank card", "misplaced bank card", "vanished bank card"),
    "parcel": ("late parcel", "delayed parcel", "overdue parcel", "slow parcel"),
    "invoice": ("wrong invoice", "incorrect invoice", "faulty invoice", "mistaken invoice"),
    "password": ("forgotten password", "lapsed password", "password that slipped my mind"),
    "printer": ("jammed printer", "stuck printer", "blocked printer", "printer with a paper jam"),
    "leave": ("summer leave request", "request for summer leave", "wish for leave in summer"),
}
_FORMS = (
    "What should I do about a {}?",
    "Please help me with a {}.",
    "I need advice on a {}.",
    "Who takes care of a {}?",
    "There is the matter of a {}, what now?",
    "Tell me how we handle a {}.",
    "Any idea how to deal with a {}?",
    "Guide me through the case of a {}.",
)
MATTER_OF = {
    form.format(words): matter
    for matter, all_words in _MATTERS.items()
    for words in all_words
    for form in _FORMS
}
"""What each question is about: its right answer."""

_MIXED = random.Random(1).sample(sorted(MATTER_OF), len(MATTER_OF))
LESSONS, FRESH = _MIXED[:-40], _MIXED[-40:]
"""Questions to prove the promise with, and others that nobody asks before."""


def about(ask: str) -> Prompt:
    """A prompt with a prefix."""
    return Prompt(prefix="Name the matter.", ask=ask)


def question_in(body: dict[str, Any]) -> str:
    """Return the question of a chat request."""
    question: str = body["messages"][-1]["content"]
    return question


def says_matter(body: dict[str, Any]) -> Say:
    """Answer a question rightly, as a provider's script."""
    return Say(MATTER_OF[question_in(body)], input_tokens=100, output_tokens=10)


def always(chance: float) -> Callable[[], float]:
    """Return a chance that is always the same."""
    return lambda: chance


ALWAYS_CHECK, NEVER_CHECK = always(0.0), always(0.999999)
"""Put in place of `random.random`: would-be hits are all checked; none is that need not be."""
