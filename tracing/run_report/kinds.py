"""Kinds: what a call was for, in few words and colours. Its tier if it was for the answer."""

from typing import Literal, TypeAlias, get_args

from ..ledger import Call
from ..pictures import DARK, MAIN, THIRD

Kind: TypeAlias = Literal[
    "fast", "standard", "frontier", "specialist", "repair", "judge", "other", "failed"
]

KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order in which they are stacked and explained."""

NAMES: dict[Kind, str] = {
    "fast": "answer: fast",
    "standard": "answer: standard",
    "frontier": "answer: frontier",
    "specialist": "answer: specialist",
    "repair": "repair",
    "judge": "judge",
    "other": "other",
    "failed": "failed",
}

FAILED = "#c81e3a"

COLOURS: dict[Kind, str] = {
    # The stronger the tier, the more it stands out, in either mode.
    "fast": "#5b94ee",
    "standard": MAIN,
    "frontier": "#0b2a6f",
    "specialist": "#8b45c9",
    "repair": "#a16207",
    "judge": THIRD,
    "other": "#b83280",
    "failed": FAILED,
}
"""In the light mode."""

DARK_COLOURS = {
    **DARK,
    "#5b94ee": "#4f7cc8",
    "#0b2a6f": "#c6dbff",
    "#8b45c9": "#c493f5",
    "#a16207": "#f2c14e",
    "#b83280": "#f08cc4",
    FAILED: "#ff6b81",
}
"""The colours of the dark mode, by those of the light one: of all that a report draws with."""


def kind_of(call: Call) -> Kind:
    """Return what a call was for."""
    if call.outcome != "ok":
        return "failed"
    match call.role:
        case "repair" | "judge":
            return call.role
        case "answer":
            return kind_of_tier(call.tier)
        case _:
            return "other"


def kind_of_tier(name: str) -> Kind:
    """Return what a call for the answer was for, by its tier's name."""
    match name:
        case "fast" | "standard" | "frontier":
            return name
        case _:
            return "specialist"
