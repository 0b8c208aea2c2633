"""Ground: texts that others wrote, in Markdown of ours."""

import re

_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~])")


def literal(said: str) -> str:
    """Return a text that Markdown shows as it is, in one line, also within a table."""
    one_line = " ".join("".join(each if each.isprintable() else " " for each in said).split())
    escaped = one_line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", escaped)
