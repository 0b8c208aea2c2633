"""Sessions, shares and evenness: what is remembered of requests, and for how long."""

from tierflow.routing.affinity import Evenness, Sessions, Shares


def test_a_pin_ends_after_its_time_and_is_renewed_by_use() -> None:
    pins = Sessions(10)
    pins.pin("run", "a", 0)
    assert pins.of("run", 9) == "a"
    pins.pin("run", "b", 9)
    assert pins.of("run", 18) == "b"
    assert pins.of("run", 19) is None
    assert pins.of("other", 0) is None


def test_pins_are_bounded_and_dropped_when_they_ended() -> None:
    pins = Sessions(10, most=3)
    for number in range(5):
        pins.pin(f"run {number}", "a", number)
    assert len(pins) == 3
    assert pins.of("run 0", 4) is None
    pins.pin("last", "a", 100)
    assert len(pins) == 1


def test_a_block_of_all_requests_is_worth_all_replicas_and_one_of_few_is_worth_little() -> None:
    shares = Shares()
    for number in range(1000):
        shares.count((1, 2 + number % 8, 100 + number), 8)
    assert 7 < shares.worth(1, 8) <= 8
    assert 0.7 < shares.worth(3, 8) < 1.2
    assert shares.worth(1099, 8) < 0.2
    assert shares.worth(100, 8) == 0


def test_what_is_used_no_more_is_forgotten() -> None:
    shares = Shares()
    for _ in range(200):
        shares.count((1,), 8)
    for _ in range(200):
        shares.count((2,), 8)
    assert shares.worth(1, 8) == 0


def test_who_was_given_more_than_the_others_is_over() -> None:
    evenness = Evenness()
    for number in range(100):
        evenness.give(number % 2, 10 if number % 2 else 20, 2)
    assert evenness.over == 0b1
    for number in range(100):
        evenness.give(number % 2, 10, 2)
    assert evenness.over == 0
    evenness.forget(0)
    evenness.forget(7)
    assert evenness.over == 0
