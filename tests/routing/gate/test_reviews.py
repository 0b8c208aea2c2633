"""Reviews: what waits for people, kept by many processes, and counted once."""

import base64
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tierflow.errors import ReviewError, StoreError
from tierflow.routing.gate import Audit, Review, Reviewed, open_reviews
from tierflow.routing.gate.reviews import MOST_OPEN
from tierflow.routing.gate.sql_reviews import SqlReviews
from tierflow.routing.gate.sql_store import SqlCalibrations
from tierflow.sealing import Seal
from tierflow.settings import settings as settings_in_force

from .labels import NOW, a_calibration

LATER = NOW + 10
KEY, OTHER_KEY = (base64.urlsafe_b64encode(bytes([n]) * 32).decode() for n in (1, 2))

Opening = Callable[..., SqlReviews]


@pytest.fixture
def opening(place: Path | SecretStr) -> Iterator[Opening]:
    """Open the queue with other keys or limits; all of it is closed at the end."""
    opened: list[SqlReviews] = []

    def open_queue(**options: Any) -> SqlReviews:
        opened.append(SqlReviews(place, **options))
        return opened[-1]

    yield open_queue
    for each in opened:
        each.close()


@pytest.fixture
def queue(opening: Opening) -> SqlReviews:
    return opening()


def put(queue: SqlReviews, ask: str, gate: str = "triage", at: float = LATER) -> None:
    queue.put(gate, stratum="easy", at=at, ask=ask, answer=f"re: {ask}")


def asks(queue: SqlReviews, *arguments: Any, **options: Any) -> list[str | None]:
    return [each.ask for each in queue.waiting(*arguments, **options)]


def only(queue: SqlReviews) -> Review:
    (found,) = queue.waiting()
    return found


def kept(queue: SqlReviews) -> list[Any]:
    inside: Any = queue
    with inside._database.connection() as connection:
        return list(connection.execute(sa.select(inside._reviews)))


def change(queue: SqlReviews, table: str, **values: Any) -> None:
    inside: Any = queue
    with inside._database.connection() as connection:
        connection.execute(sa.update(getattr(inside._database.tables, table)).values(values))


def test_nothing_waits_at_first(queue: SqlReviews) -> None:
    assert queue.waiting() == []
    assert queue.waiting("triage") == []
    assert queue.counts() == {}


def test_what_waits_comes_newest_first_of_one_gate_or_of_all(queue: SqlReviews) -> None:
    for ask in "abc":
        put(queue, ask)
    put(queue, "d", gate="other")

    assert asks(queue) == ["d", "c", "b", "a"]
    assert asks(queue, "triage") == ["c", "b", "a"]
    assert queue.counts() == {"other": 1, "triage": 3}
    (newest,) = queue.waiting("triage", limit=1)
    assert newest == Review(newest.id, "triage", "easy", LATER, "c", "re: c")
    assert asks(queue, "triage", before=newest.id) == ["b", "a"]


def test_what_is_said_counts_as_an_audit_and_the_texts_are_gone(
    queue: SqlReviews, store: SqlCalibrations
) -> None:
    store.add(a_calibration())
    put(queue, "a secret")

    said = queue.say(only(queue).id, right=False, who="ada", at=LATER + 5)

    assert said == Reviewed(said.id, "triage", right=False, alarm=False)
    assert store.audits("triage") == [Audit("triage", "easy", right=False, at=LATER)]
    assert (store.state("triage").audited, store.state("triage").right) == (1, 0)
    (row,) = kept(queue)
    assert (row.texts, row.right, row.who, row.said_at) == (None, False, "ada", LATER + 5)
    assert queue.waiting() == []
    assert queue.counts() == {}


def test_wrong_answers_raise_the_alarm_as_any_audit_does(
    queue: SqlReviews, store: SqlCalibrations
) -> None:
    store.add(a_calibration())
    alarm, said = False, 0
    while not alarm:
        put(queue, "a")
        alarm = queue.say(only(queue).id, right=False, who="ada", at=LATER).alarm
        said += 1

    assert store.state("triage").audited == said
    assert store.state("triage").alarmed_at == LATER


def test_whoever_comes_second_is_told_who_was_first(
    queue: SqlReviews, store: SqlCalibrations
) -> None:
    store.add(a_calibration())
    put(queue, "a secret")
    number = only(queue).id
    queue.say(number, right=True, who="ada", at=NOW)

    with pytest.raises(ReviewError, match=f"Review {number} was marked right by ada at ") as caught:
        queue.say(number, right=False, who="bob", at=LATER)

    assert "secret" not in str(caught.value)
    assert [each.right for each in store.audits("triage")] == [True]


def test_of_many_who_say_something_at_once_one_counts(
    opening: Opening, store: SqlCalibrations
) -> None:
    queues = [opening() for _ in range(4)]
    store.add(a_calibration())
    put(queues[0], "a")
    number, together = only(queues[0]).id, threading.Barrier(4)

    def say(queue: SqlReviews) -> bool:
        together.wait()
        try:
            queue.say(number, right=True, who="ada", at=LATER)
        except ReviewError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(say, queues)) == [False, False, False, True]
    assert store.state("triage").audited == 1


def test_what_cannot_be_counted_is_not_marked_either(
    queue: SqlReviews, store: SqlCalibrations
) -> None:
    store.add(a_calibration())
    put(queue, "a")
    change(queue, "gates", drift="no json")

    with pytest.raises(StoreError, match="tierflow judge calibrate"):
        queue.say(only(queue).id, right=True, who="ada", at=LATER)

    assert asks(queue) == ["a"]
    assert store.audits("triage") == []


@pytest.mark.parametrize("number", [0, 7, -1, 2**62])
def test_a_review_that_was_never_there_is_an_error(queue: SqlReviews, number: int) -> None:
    with pytest.raises(ReviewError, match=f"There is no review {number}: "):
        queue.say(number, right=True, who="ada", at=NOW)


def test_the_oldest_goes_when_too_many_wait(opening: Opening) -> None:
    queue = opening(most=3)
    put(queue, "of another", gate="other")
    for ask in "abcde":
        put(queue, ask)

    assert MOST_OPEN == 1000
    assert asks(queue, "triage") == ["e", "d", "c"]
    assert queue.counts() == {"other": 1, "triage": 3}


def test_what_was_said_takes_no_place(opening: Opening) -> None:
    queue = opening(most=2)
    for ask in "ab":
        put(queue, ask)
    for each in queue.waiting():
        queue.say(each.id, right=True, who="ada", at=LATER)
    for ask in "cd":
        put(queue, ask)

    assert asks(queue) == ["d", "c"]
    assert len(kept(queue)) == 4


def test_an_id_is_never_another_answers(opening: Opening, store: SqlCalibrations) -> None:
    queue = opening()
    put(queue, "a", at=NOW - 1)
    gone = only(queue).id
    store.add(a_calibration())
    put(queue, "b")

    assert only(queue).id != gone
    with pytest.raises(ReviewError, match=f"There is no review {gone}: "):
        queue.say(gone, right=False, who="ada", at=LATER)
    assert asks(queue) == ["b"]


def test_a_new_calibration_drops_what_would_not_count(
    queue: SqlReviews, store: SqlCalibrations
) -> None:
    put(queue, "before", at=NOW - 1)
    put(queue, "said before", at=NOW - 1)
    put(queue, "of another", gate="other", at=NOW - 1)
    put(queue, "since", at=NOW)
    said = next(each for each in queue.waiting() if each.ask == "said before")
    queue.say(said.id, right=True, who="ada", at=NOW)

    store.add(a_calibration(at=NOW))

    assert asks(queue) == ["since", "of another"]
    assert len(kept(queue)) == 3


@pytest.mark.parametrize("seal", [None, Seal([KEY])], ids=["open", "sealed"])
def test_what_was_put_is_there_after_closing(opening: Opening, seal: Seal | None) -> None:
    queue = opening(seal=seal)
    put(queue, "a secret")
    queue.close()
    queue.close()

    assert (only(queue).ask, only(queue).answer) == ("a secret", "re: a secret")
    assert ("secret" in kept(queue)[0].texts) == (seal is None)


def test_texts_sealed_with_keys_that_are_gone_can_be_marked_but_not_read(opening: Opening) -> None:
    put(opening(seal=Seal([KEY])), "a secret")

    for queue in (opening(), opening(seal=Seal([OTHER_KEY]))):
        assert (only(queue).ask, only(queue).answer) == (None, None)
    rotated = opening(seal=Seal([OTHER_KEY, KEY]))
    assert only(rotated).ask == "a secret"
    opening().say(only(rotated).id, right=True, who="ada", at=LATER)
    assert rotated.waiting() == []


def test_texts_from_before_there_were_keys_can_be_read(opening: Opening) -> None:
    put(opening(), "a secret")
    assert only(opening(seal=Seal([KEY]))).ask == "a secret"


def test_texts_moved_to_another_gate_are_not_shown_there(opening: Opening) -> None:
    queue = opening(seal=Seal([KEY]))
    put(queue, "a secret")
    change(queue, "reviews", step="other")
    assert (only(queue).gate, only(queue).ask, only(queue).answer) == ("other", None, None)


@pytest.mark.parametrize("texts", ["", "no json", "7", "[]", '["triage"]', '{"a": 1}'])
def test_texts_that_are_damaged_are_not_shown(queue: SqlReviews, texts: str) -> None:
    put(queue, "a")
    change(queue, "reviews", texts=texts)
    assert (only(queue).ask, only(queue).answer) == (None, None)


def test_nothing_shows_the_texts_by_accident(queue: SqlReviews) -> None:
    put(queue, "a secret")
    assert "secret" not in repr(only(queue))


# Models send halves of characters, and NUL, which no database takes as text.
anything = st.text(st.characters())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(ask=anything, answer=anything, is_sealed=st.booleans())
def test_every_word_survives_the_queue(
    opening: Opening, ask: str, answer: str, is_sealed: bool
) -> None:
    queue = opening(seal=Seal([KEY]) if is_sealed else None)
    queue.put("triage", stratum="all", at=LATER, ask=ask, answer=answer)

    (found,) = queue.waiting(limit=1)

    assert (found.ask, found.answer) == (ask, answer)


def test_the_queue_is_in_the_file_of_the_calibrations_and_opened_when_used(project: Path) -> None:
    queue = open_reviews(settings_in_force())
    assert not (project / ".tierflow").exists()

    queue.put("triage", stratum="all", at=LATER, ask="a", answer="b")

    assert [path.name for path in (project / ".tierflow").glob("*.db")] == ["judges.db"]
    queue.close()
