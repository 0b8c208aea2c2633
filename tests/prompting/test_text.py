"""The words of a prompt: fields, the form of a file, and the hash."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.errors import PromptError
from tierflow.prompting import PromptText
from tierflow.prompting.text import Example

CANARY = "canary-7f3a"

# TOML has no surrogates.
text = st.text(st.characters(exclude_categories=["Cs"]))
some_text = text.filter(lambda each: bool(each.strip()))
quoting = st.text(st.sampled_from('"\\\n\t{}a \x1b\u202e')).filter(lambda each: bool(each.strip()))
scalars = (
    st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
    | quoting
)
results = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
examples = st.lists(st.builds(Example, ask=some_text | quoting, result=results), max_size=2)
prompts = st.builds(
    PromptText, ask=some_text | quoting, prefix=text | quoting, examples=examples.map(tuple)
)


@given(prompts)
def test_every_prompt_survives_the_form_of_a_file(prompt: PromptText) -> None:
    written = prompt.to_toml()
    again = PromptText.from_toml(written, "it")

    assert again == prompt
    assert again.hash == prompt.hash
    assert again.to_toml() == written


@given(prompts)
def test_the_form_of_a_file_holds_nothing_that_a_terminal_obeys(prompt: PromptText) -> None:
    assert all(each.isprintable() or each in "\n\t" for each in prompt.to_toml())


@given(prompts, prompts)
def test_two_prompts_have_one_hash_only_if_they_say_the_same(
    one: PromptText, other: PromptText
) -> None:
    assert (one.hash == other.hash) == (one.to_toml() == other.to_toml())


def test_a_hash_is_the_same_in_every_process_and_release() -> None:
    # Whoever changes this changes the hash of every prompt that was published.
    prompt = PromptText(prefix="Sort.", ask="{{ticket}}", examples=(Example(ask="a", result=1),))
    assert prompt.hash == "7f2980e10623484b7e6b039c0942c66d3fc6351baea47686da66f1ab56a80b75"


@pytest.mark.parametrize(
    "same",
    [
        'ask = """\n{{ticket}}\nNow.\n"""',
        'ask = """\r\n{{ticket}}\r\nNow.\r\n"""\r\n',
        "# why\nask = '''\n\n  {{ticket}}\nNow.'''\nprefix = ' '",
        'ask = "{{ticket}}\\nNow."\nexamples = []',
    ],
)
def test_comments_line_ends_and_blanks_around_are_layout(same: str) -> None:
    assert PromptText.from_toml(same, "it").hash == PromptText(ask="{{ticket}}\nNow.").hash


def test_the_hash_covers_prefix_ask_and_examples() -> None:
    of_one = [
        PromptText(ask="a"),
        PromptText(ask="b"),
        PromptText(ask="a", prefix="b"),
        PromptText(ask="a", examples=(Example(ask="b", result="c"),)),
        PromptText(ask="a", examples=(Example(ask="b", result="d"),)),
        PromptText(ask="a", examples=(Example(ask="b", result=["d"]),)),
        PromptText(ask="a", examples=(Example(ask="b", result=1),)),
        PromptText(ask="a", examples=(Example(ask="b", result=1.0),)),
        PromptText(ask="a", examples=(Example(ask="b", result={"c": 1, "d": 2}),)),
        PromptText(ask="a", examples=(Example(ask="b", result={"d": 2, "c": 1}),)),
    ]
    assert len({each.hash for each in of_one}) == len(of_one)


def test_fields_are_in_double_braces_and_everything_else_stays() -> None:
    prompt = PromptText(
        prefix='Answer as {"intent": {"name": "{{ intent }}"}}, never {x} or {{ 1 }} or {{a b}}.',
        ask="{{name}}: {{ticket}} ({{name}})",
    )
    assert prompt.fields == ("intent", "name", "ticket")
    prefix, ask = prompt.filled({"intent": "refund", "name": "Ada", "ticket": "{{name}} \\1 {{x}}"})
    assert prefix == ('Answer as {"intent": {"name": "refund"}}, never {x} or {{ 1 }} or {{a b}}.')
    assert ask == "Ada: {{name}} \\1 {{x}} (Ada)"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("ask = ", "is not valid TOML"),
        ('prefix = "a"', "ask: Field required"),
        ('ask = "  "', "ask: Value error, there is no word in it"),
        ("ask = 3", "ask: Input should be a valid string"),
        ('ask = "a"\nprefx = "b"', "prefx: Extra inputs are not permitted"),
        ('ask = "a"\n[[examples]]\nask = "b"', "examples.0.result: Field required"),
        (
            'ask = "a"\n[[examples]]\nask = "b"\nresult = 2026-01-01',
            "a date like this is nothing that JSON",
        ),
        (
            'ask = "a"\n[[examples]]\nask = "b"\nresult = nan',
            "a float like this is nothing that JSON",
        ),
    ],
)
def test_what_is_no_prompt_is_named_with_the_fault(wrong: str, said: str) -> None:
    with pytest.raises(PromptError) as raised:
        PromptText.from_toml(wrong, "prompts/triage/v1.toml")
    assert str(raised.value).startswith("prompts/triage/v1.toml is")
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "wrong",
    [
        f'ask = 3\nprefix = "{CANARY}"\nother = "{CANARY}"',
        f'ask = "a"\n[[examples]]\nask = ["{CANARY}"]\nresult = 1',
        f'prefix = "{CANARY}" {CANARY}',
    ],
)
def test_an_error_quotes_no_word_of_the_prompt(wrong: str) -> None:
    with pytest.raises(PromptError) as raised:
        PromptText.from_toml(wrong, "it")
    shown: Any = raised.value
    while shown is not None:
        assert CANARY not in str(shown)
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
