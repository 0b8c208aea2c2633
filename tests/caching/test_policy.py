"""Policy: which answers may be kept, and for how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow import ExactCache

temperatures = st.lists(st.none() | st.floats(0, 2))


@given(temperatures)
def test_only_answers_of_temperature_0_may_be_kept(found: list[float | None]) -> None:
    assert ExactCache().allows(found) == all(each == 0 for each in found)


@given(temperatures)
def test_any_temperature_keeps_sampled_answers_too(found: list[float | None]) -> None:
    assert ExactCache(any_temperature=True).allows(found)


@pytest.mark.parametrize("ttl_s", [0, -1, -0.5])
def test_a_time_to_live_that_is_over_at_once_is_refused_with_the_remedy(ttl_s: float) -> None:
    with pytest.raises(ValueError, match=r"ttl_s is .* cache=None for off"):
        ExactCache(ttl_s=ttl_s)
