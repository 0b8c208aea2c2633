"""Similar store: the small words of English that reading a question needs to know.

Lists only; what they mean for a match is decided in reading and wording.
"""


def words(text: str) -> frozenset[str]:
    """Return the words of a list that is written as text."""
    return frozenset(text.split())


def pairs(text: str) -> dict[str, str]:
    """Return the pairs of a list that is written as `one:other one:other`."""
    return dict(pair.split(":") for pair in text.split())


STOP = words("""
a able about after again all also am an and any are as at be because been before being between but
by can could did do does doing done down for from get going gonna got had has have having he hello
her here hers hey hi him his how i id if im in into is it its ive just let lets like may me might
mine must my myself need now of off ok okay on one onto or our ours out over per please really
shall she should so some still than thank thanks that the their theirs them then there these they
this those to too under up us versus very vs wanna want was we well were what when where which
while who whom whose why will with would yet you your yours yourself
""")
"""Function words: they carry grammar more than meaning."""

ASKS = words("""
how if what when where whether which who whom whose why
""")
"""Question words."""

NEGATIONS = words("""
aint arent barely cannot cant couldnt didnt doesnt dont hadnt hardly hasnt havent isnt lack lacked
lacking lacks mustnt neither never no nobody non none nope not nothing nowhere rarely scarcely
seldom shouldnt unable wasnt werent without wont wouldnt
""")
"""Words that turn around what follows; all that end in "n't" do so too."""

SPLIT = pairs("""
cannot:can unable:able dont:do doesnt:does didnt:did cant:can can't:can wont:will won't:will
isnt:is arent:are wasnt:was werent:were havent:have hasnt:has hadnt:had couldnt:could wouldnt:would
shouldnt:should mustnt:must shan't:shall
""")
"""Negations that hold a verb, and that verb."""

FAILING = words("""
fail failed failing fails refuse refused refuses refusing
""")
"""Verbs that negate where "to" follows."""

NOT_ONLY = words("""
doubt just matter only
""")
"""What a negation in form only stands before: "not only"."""

KNOWING = words("""
aware certain clear clue figure find idea know recall remember sure understand
""")
"""Words whose negation leads up to a question: "I don't know how to ..."."""

TAGS = words("""
he i it she there they we you
""")
"""Pronouns that end a tag: "..., isn't it?"."""

DIRECTIONS = words("""
after against before by for from in into of on onto over per than to under via with
""")
"""Prepositions that give what follows them a role."""

PERSONS = pairs("""
i:i me:i you:you he:he him:he she:she we:we us:we they:they them:they
""")
"""Pronouns that can be swapped, each in one form."""

PEOPLE = words("""
he her him his i me mine my our she their them they us we you your
""")
"""Pronouns and possessives."""
