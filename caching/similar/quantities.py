"""Similar store: the numbers, units, times and dates that a text names, in one spelling each.

"£5,000" and "5000 pounds" give the same; so do "twenty past 7 p.m." and "19:20".
Reads tokens only; values stay text, so that no number is too long.
"""

import re
from collections.abc import Sequence

from .vocabulary import pairs, words

_UNITS = """
gbp £ pound pounds quid sterling; usd $ dollar dollars buck bucks; eur € euro euros; jpy ¥ yen; inr
₹ rupee rupees; km kilometer kilometers kilometre kilometres kms; mi mile miles; m meter meters
metre metres; cm centimeter centimeters centimetre centimetres; mm millimeter millimeters; ft foot
feet; inch inches; yd yard yards; kg kilo kilos kilogram kilograms kgs; g gram grams; mg milligram
milligrams; lb lbs; oz ounce ounces; l liter liters litre litres; ml milliliter milliliters; gal
gallon gallons; cup cups; tsp teaspoon teaspoons; tbsp tablespoon tablespoons; celsius; fahrenheit;
kelvin; second seconds sec secs; minute minutes min mins; hour hours hr hrs; day days; week weeks;
month months; year years yr yrs; percent % pct; kb; mb; gb; tb; mph; kmh; volt volts; watt watts;
kw; degree degrees °; night nights; person people; times
"""
UNITS = {word: group.split()[0] for group in _UNITS.split(";") for word in group.split()}
"""Each spelling of a unit, and the one that stands for it. Nothing is converted."""

_NUMERALS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety
"""
_SPELLED = {
    word: value if value < 20 else (value - 18) * 10 for value, word in enumerate(_NUMERALS.split())
}
_CURRENCIES = frozenset("£$€¥₹")
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_SUFFIXES = {"k": 3, "m": 6, "bn": 9}

_CALENDAR = """
january february april june july august september october november december
monday tuesday wednesday thursday friday saturday sunday
"""
DAYS = (
    {name: name[:3] for name in _CALENDAR.split()}
    | {f"{name}s": name[:3] for name in _CALENDAR.split() if name.endswith("day")}
    | pairs(
        "jan:jan feb:feb apr:apr jun:jun jul:jul aug:aug sep:sep sept:sep oct:oct nov:nov dec:dec "
        "mon:mon tue:tue tues:tue wed:wed thu:thu thurs:thu fri:fri today:today tonight:tonight "
        "yesterday:yesterday tomorrow:tomorrow weekend:weekend weekends:weekend "
        "christmas:christmas easter:easter"
    )
)
"""Words that name a day or a month, and one spelling of each. "may" and "march" are verbs too."""

_SHIFTS = pairs("last:last past:last previous:last next:next coming:next this:this current:this")
_AND = frozenset({"and"})
_PERIODS = {"week", "month", "year", "day", "hour", "weekend", "minute"}
_HALVES = {"am": 0, "a.m": 0, "pm": 12, "p.m": 12, "morning": 0, "afternoon": 12, "evening": 12}
_NAMED_TIMES = {"noon": "12:00", "midnight": "00:00"}
_PARTS = {"quarter": 15, "half": 30}
_BEFORE_TIME = words("at by until till before after around about for from between and is to")
_JOINED = re.compile(r"(\d{1,2})(?:[:.](\d{2}))?([ap])\.?m\.?")
_CLOCK = re.compile(r"(\d{1,2})[:.](\d{2})")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")
_SCALED = re.compile(r"(\d[\d.,]*)(k|m|bn)")
_WITH_UNIT = re.compile(r"(\d[\d.,]*)([^\W\d_]{1,6}|%|°)")
HINTS = (
    frozenset(_SPELLED)
    | _SCALES.keys()
    | DAYS.keys()
    | UNITS.keys()
    | _SHIFTS.keys()
    | {"noon", "midnight", "quarter", "half"}
)
"""A text with no digit and none of these words names no quantity."""


Quantity = tuple[str, str, str]


def _plain(digits: str) -> str:
    """Spell a number one way: no thousands commas, no zeros that change nothing."""
    whole, point, rest = digits.partition(".")
    if digits.count(".") > 1:  # a version or an address, not a number
        return digits.strip(".,")
    parts = whole.split(",")
    if len(parts) > 1 and not all(len(part) == 3 for part in parts[1:]):
        return digits.strip(".,")
    rest = rest.replace(",", "").rstrip("0")
    whole = "".join(parts).lstrip("0") or "0"
    return f"{whole}.{rest}" if point and rest else whole


def _shift(value: str, zeros: int) -> str:
    """Multiply a number in its plain spelling by a power of ten."""
    whole, _, rest = value.partition(".")
    return _plain(f"{whole}{rest[:zeros].ljust(zeros, '0')}.{rest[zeros:]}")


def _number(tokens: Sequence[str], at: int) -> tuple[str, int] | None:
    """Read the number that starts at a token: its value as text, and how many tokens it takes."""
    token = tokens[at]
    if token[0].isdecimal():
        if (found := _ORDINAL.fullmatch(token)) is not None:
            return _plain(found[1]), 1
        if (found := _SCALED.fullmatch(token)) is not None and token[-1] != "m":
            return _shift(_plain(found[1]), _SUFFIXES[found[2]]), 1
        if not token.replace(",", "").replace(".", "").isdecimal():
            return None
        value, used = _plain(token), 1
        while used < 4 and at + used < len(tokens) and (scale := _SCALES.get(tokens[at + used])):
            value = _shift(value, len(str(scale)) - 1)
            used += 1
        return value, used
    return _spelled(tokens, at)


def _spelled(tokens: Sequence[str], at: int) -> tuple[str, int] | None:
    """Read "two hundred and fifty"; a bare "one" counts only before a unit ("one of them")."""
    total = last = used = 0
    while at + used < len(tokens):
        token = tokens[at + used]
        if (small := _SPELLED.get(token)) is not None and (not used or not last % 10):
            last += small
        elif used and (scale := _SCALES.get(token)):
            total, last = (total, last * scale) if scale == 100 else (total + last * scale, 0)
        elif not (used and _joins(tokens, at + used)):
            break
        used += 1
        if used > 12:
            break
    if not used or (
        used == 1 and tokens[at] == "one" and (at + 1 >= len(tokens) or tokens[at + 1] not in UNITS)
    ):
        return None
    return str(total + last), used


def _joins(tokens: Sequence[str], at: int) -> bool:
    """Tell whether a token is the "and" of "two hundred and fifty"."""
    follows = at + 1 < len(tokens) and tokens[at + 1] in _SPELLED
    return follows and tokens[at] in _AND and tokens[at - 1] in _SCALES


def _half(tokens: Sequence[str], at: int) -> tuple[int | None, int]:
    """Read "p.m." or "in the morning": the hours to add, and how many tokens it takes."""
    rest = tokens[at : at + 3]
    if rest and rest[0] in {"am", "a.m", "pm", "p.m"}:
        return _HALVES[rest[0]], 1
    if len(rest) > 1 and rest[0] in {"a", "p"} and rest[1] == "m":
        return (12 if rest[0] == "p" else 0), 2
    if len(rest) == 3 and rest[0] == "in" and rest[2] in _HALVES:
        return _HALVES[rest[2]], 3
    return None, 0


def _hour(tokens: Sequence[str], at: int) -> int | None:
    """Read an hour of the day at a token."""
    if at >= len(tokens):
        return None
    token = tokens[at]
    value = _SPELLED.get(token, 99)
    if token.isdecimal() and len(token) < 3:
        value = int(token)
    return value if value < 25 else None


def _time(tokens: Sequence[str], at: int) -> tuple[str, int] | None:
    """Read the time of day that starts at a token, and how many tokens it takes."""
    token, following = tokens[at], tokens[at + 1] if at + 1 < len(tokens) else ""
    if token in _NAMED_TIMES:
        return _NAMED_TIMES[token], 1
    if (joined := _JOINED.fullmatch(token)) is not None:
        half = 12 if joined[3] == "p" else 0
        return _clock(int(joined[1]), int(joined[2] or 0), half), 1
    if following in {"past", "to"}:
        read = _told(tokens, at, is_past=following == "past")
    elif (clock := _CLOCK.fullmatch(token)) is not None:
        read = int(clock[1]), int(clock[2]), 1, ":" in token
    else:
        hour = _hour(tokens, at)
        minute = following if len(following) == 2 and following.isdecimal() else ""
        if minute:
            # "9 05" is a time by itself; "9 30" only with "a.m." or the like.
            read = hour, int(minute), 2, minute[0] == "0"
        elif following in {"o'clock", "oclock"}:
            read = hour, 0, 2, True
        else:
            read = hour, 0, 1, False
    hour, minutes, used, is_sure = read
    add, more = _half(tokens, at + used)
    if hour is None or hour > 24 or minutes > 60 or not (is_sure or add is not None):
        return None
    return _clock(hour, minutes, add), used + more


def _told(tokens: Sequence[str], at: int, *, is_past: bool) -> tuple[int | None, int, int, bool]:
    """Read "20 past 7" or "quarter to 8": hour, minute, tokens taken, and whether it is sure."""
    lead = _PARTS.get(tokens[at], _minute(tokens[at]))
    hour = _hour(tokens, at + 2)
    if lead is None or hour is None:
        return None, 0, 0, False
    if is_past:
        return hour % 24, lead, 3, True
    follows = at > 0 and tokens[at - 1] in _BEFORE_TIME and lead in {5, 10, 20, 25}
    return (hour - 1) % 24, 60 - lead, 3, follows or tokens[at] == "quarter"


def _minute(token: str) -> int | None:
    value = _SPELLED.get(token)
    if value is None and token.isdecimal() and len(token) < 3:
        value = int(token)
    return value if value is not None and 0 < value < 60 else None


def _clock(hour: int, minute: int, add: int | None) -> str:
    if minute == 60:
        hour, minute = hour + 1, 0
    if add is not None and hour <= 12:
        hour = hour % 12 + add
    return f"{hour:02d}:{minute:02d}"


def numeric(token: str) -> bool:
    """Tell whether a token is written with digits: "5", "22nd", "python3"."""
    return token[0].isdecimal() or token[-1].isdecimal()


def quantities(tokens: Sequence[str]) -> tuple[list[Quantity], set[int]]:
    """Find the quantities in lower-case tokens, in order.

    Return (kind, value, unit) of each, the kind being "number", "id", "time", "date" or "unit"
    and the unit "" where none is named; and the places of the tokens that they are written with.
    """
    found: list[Quantity] = []
    taken: set[int] = set()
    at = 0
    while at < len(tokens):
        token = tokens[at]
        used = 0
        if token in HINTS or numeric(token):
            read, used = _read(tokens, at)
            found += read
            taken.update(range(at, at + used))
        at += used or 1
    return found, taken


def _read(tokens: Sequence[str], at: int) -> tuple[list[Quantity], int]:
    """Read what starts at a token, and how many tokens write it: none for a unit by itself."""
    token = tokens[at]
    following = tokens[at + 1] if at + 1 < len(tokens) else ""
    if token in DAYS:
        return [("date", DAYS[token], "")], 1
    if token in _SHIFTS and following.rstrip("s") in _PERIODS:
        return [("date", f"{_SHIFTS[token]} {following.rstrip('s')}", "")], 2
    if (time := _time(tokens, at)) is not None:
        return [("time", time[0], "")], time[1]
    if (number := _number(tokens, at)) is not None:
        return _measured(tokens, at, *number)
    return _single(token, following)


def _single(token: str, following: str) -> tuple[list[Quantity], int]:
    """Read "5km", "python3", or a unit whose number, if any, is elsewhere."""
    if (both := _WITH_UNIT.fullmatch(token)) is not None and both[2] in UNITS:
        return [("number", _plain(both[1]), UNITS[both[2]])], 1
    if numeric(token):
        return [("id", token, "")], 1
    if token in _CURRENCIES and following[:1].isdecimal():
        return [], 1
    return [("unit", "", UNITS[token])] if token in UNITS else [], 0


def _measured(tokens: Sequence[str], at: int, value: str, used: int) -> tuple[list[Quantity], int]:
    """Read what a number counts, and whether it is a day of May or March."""
    unit = ""
    before = tokens[at - 1] if at else ""
    after = [*tokens[at + used : at + used + 2], "", ""]
    named = {before, after[1] if after[0] == "of" else after[0]}
    found = [("date", month[:3], "") for month in ("may", "march") if month in named]
    if after[0] in UNITS:
        unit = UNITS[after[0]]
        used += 1
    elif before in _CURRENCIES:
        unit = UNITS[before]
    return [*found, ("number", value, unit)], used
