from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.bandwidth import Bandwidth

TOTAL = 1000.0


def test_a_single_body_is_given_all() -> None:
    assert Bandwidth(TOTAL).take(10, 300, 1, now=0) == TOTAL


def test_bodies_that_start_together_share_alike() -> None:
    bandwidth = Bandwidth(TOTAL)
    assert [bandwidth.take(10, 300, rivals, now=0) for rivals in (4, 3, 2, 1)] == [250] * 4


def test_what_one_gives_back_the_next_is_given() -> None:
    bandwidth = Bandwidth(TOTAL)
    first, second = (bandwidth.take(10, 300, rivals, now=0) for rivals in (2, 1))
    assert bandwidth.take(10, 300, 1, now=1) is None
    assert first == second == 500
    bandwidth.give_back(first, until=1, now=1)
    assert bandwidth.take(10, 300, 1, now=1) == 500


def test_a_short_body_keeps_its_rate_until_its_time_is_up() -> None:
    bandwidth = Bandwidth(TOTAL)
    rate = bandwidth.take(2000, 300, 1, now=0)
    assert rate == TOTAL
    bandwidth.give_back(rate, until=2, now=0.1)

    assert bandwidth.next_change(now=0.1) == 2
    assert bandwidth.take(2000, 300, 1, now=1.9) is None
    assert bandwidth.take(2000, 300, 1, now=2) == TOTAL
    assert bandwidth.next_change(now=2) is None


def test_a_long_body_is_given_enough_to_end_in_half_of_its_time() -> None:
    bandwidth = Bandwidth(TOTAL)
    assert bandwidth.take(90_000, 300, 16, now=0) == 600
    # The next one would not end in time with what is left, so it waits.
    assert bandwidth.take(90_000, 300, 15, now=0) is None


def test_a_body_that_can_hardly_end_in_time_is_given_all_rather_than_never_sent() -> None:
    bandwidth = Bandwidth(TOTAL)
    assert bandwidth.take(10**9, 300, 4, now=0) == TOTAL


@given(
    st.lists(
        st.tuples(st.integers(1, 10**6), st.integers(1, 20), st.floats(0, 10), st.booleans()),
        max_size=50,
    )
)
def test_what_is_given_out_never_exceeds_the_total(
    steps: list[tuple[int, int, float, bool]],
) -> None:
    bandwidth, now = Bandwidth(TOTAL), 0.0
    given_out: list[float] = []
    kept: list[tuple[float, float]] = []
    for length, rivals, pause_s, ends in steps:
        now += pause_s
        if ends and given_out:
            rate = given_out.pop(0)
            bandwidth.give_back(rate, until=now + 1, now=now)
            kept.append((now + 1, rate))
        taken = bandwidth.take(length, 300, rivals, now)
        kept = [(until, rate) for until, rate in kept if until > now]
        if taken is not None:
            given_out.append(taken)
        else:
            assert given_out or kept, "nothing waits for nothing"
        assert sum(given_out) + sum(rate for _, rate in kept) <= TOTAL * (1 + 1e-9)
