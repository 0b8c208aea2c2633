"""Choices: what the options that end an ask tell of the one that was chosen. Learns nothing.

Options are written around the right one: wrong numbers lie on both sides of it, wrong texts vary
it. So an option's place among the others says something, whoever chose it.
"""

import re
from collections import Counter
from math import log1p

_MOST_CHOICES = 10
_NEAR = 0.02
_CLOSING = re.compile(r"(the )?(final |correct |best )?answer is\b.*\Z", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"-?\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?")
_WORD = re.compile(r"[a-z]{4,}")
_PIECE = re.compile(r"[a-z]+|\d+(?:\.\d+)?|[^\w\s]")
_FILLING = re.compile(r"[a-z\d]+")


def describe_choice(ask: str, reply: str, value: str) -> dict[str, float]:
    """Describe what was chosen of the lines that end the ask; zeros where it is no choice."""
    lines = ask.lower().split("\n")
    choices = lines[1:][-_MOST_CHOICES:]
    at = ord(value) - ord("A") if len(value) == 1 else -1
    known = 0 <= at < len(choices)
    chosen = choices[at] if known else ""
    rivals = choices[:at] + choices[at + 1 :] if known else choices
    body = _CLOSING.sub("", reply).lower()
    said = set(_WORD.findall(body))
    share = _shared(chosen, said)
    named = chosen.strip(" .")
    return {
        "choices": float(len(choices)),
        "choices_in_numbers": sum(bool(_NUMBER.search(each)) for each in rivals)
        / max(len(rivals), 1),
        "choices_have_none_of": float(any("none of" in each for each in choices)),
        "choices_named": float(sum(each.strip(" .") in body for each in rivals if each)),
        "choice_at": float(at),
        "choice_length": log1p(len(chosen)),
        "choice_longest": float(known and all(len(chosen) >= len(each) for each in rivals)),
        "choice_is_none_of": float("none of" in chosen),
        "choice_named": float(bool(named) and named in body),
        "choice_shared": share,
        "choice_margin": share - max((_shared(each, said) for each in rivals), default=0.0),
        **_describe_number(chosen, body),
        **_describe_place(choices, at if known and rivals else None),
        **_describe_look(" ".join(lines[: -len(choices)]), choices, at if known else None),
    }


def _shared(text: str, said: set[str]) -> float:
    words = set(_WORD.findall(text))
    return len(words & said) / max(len(words), 1)


def _describe_number(chosen: str, body: str) -> dict[str, float]:
    """Describe how near the numbers of the reasoning come to the chosen one."""
    wanted = _numbers(chosen)[:1]
    reached = _numbers(body)
    if not wanted or not reached:
        return {"number_chosen": float(bool(wanted)), "number_off": 1.0, "number_reached": 0.0}
    scale = abs(wanted[0]) + 1e-9
    off = [abs(each - wanted[0]) / scale for each in reached]
    return {
        "number_chosen": 1.0,
        "number_off": min(1.0, *off[-3:]),
        "number_reached": float(min(off) < _NEAR),
    }


def _describe_place(choices: list[str], at: int | None) -> dict[str, float]:
    """Describe where the chosen number and length lie among those of all choices, from 0 to 1."""
    if at is None:
        return dict.fromkeys(
            ("number_rank", "number_off_middle", "number_again", "length_rank", "length_ratio"), 0.0
        )
    lengths = [len(each) for each in choices]
    numbers = [_numbers(each)[:1] for each in choices]
    others = [each for row, each in enumerate(numbers) if each and row != at]
    ranked = bool(numbers[at] and others)
    rank = sum(each < numbers[at] for each in others) / len(others) if ranked else 0.5
    return {
        "number_rank": rank,
        "number_off_middle": abs(rank - 0.5),
        "number_again": others.count(numbers[at]) / max(len(others), 1),
        "length_rank": sum(each < lengths[at] for each in lengths) / (len(lengths) - 1),
        "length_ratio": lengths[at] * len(lengths) / max(sum(lengths), 1),
    }


def _describe_look(question: str, choices: list[str], at: int | None) -> dict[str, float]:
    """Describe what the chosen text shares with the question and with the other choices."""
    if at is None:
        return dict.fromkeys(("choice_asked", "choice_rare", "choice_form"), 0.0)
    asked = set(_PIECE.findall(question))
    pieces = [set(_PIECE.findall(each)) for each in choices]
    spread = Counter(piece for each in pieces for piece in each)
    forms = [_FILLING.sub("a", each) for each in choices]
    return {
        "choice_asked": _beyond(at, [len(each & asked) / max(len(each), 1) for each in pieces]),
        "choice_rare": _beyond(
            at, [sum(spread[piece] == 1 for piece in each) / max(len(each), 1) for each in pieces]
        ),
        "choice_form": forms.count(forms[at]) / len(forms),
    }


def _beyond(at: int, values: list[float]) -> float:
    return values[at] - sum(values) / len(values)


def _numbers(text: str) -> list[float]:
    return [float(each.replace(",", "")) for each in _NUMBER.findall(text)]
