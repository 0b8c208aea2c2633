"""Texts of others in Markdown: shown as they are, whatever they hold."""

import re

from hypothesis import given
from hypothesis import strategies as st

from tierflow.markdown import literal


@given(st.text())
def test_a_text_is_one_line_that_no_table_and_no_reader_takes_for_markup(said: str) -> None:
    found = literal(said)

    assert "\n" not in found
    assert "<" not in found
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*\[\]]", found)
