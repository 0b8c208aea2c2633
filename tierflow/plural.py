"""Ground: how many there are of something, in words."""


def plural(count: int, noun: str) -> str:
    """Return a count with its noun, which takes an s but for one: "1 finding", "1,200 calls"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
