from __future__ import annotations

import threading

import pytest

from ingest.throttle import Throttle


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def throttle(clock: Clock, notes: list[str], monkeypatch: pytest.MonkeyPatch) -> Throttle:
    monkeypatch.setattr("ingest.throttle.backoff_s", lambda attempt: float(attempt))
    return Throttle(16, notes.append, clock)


def refuse(throttle: Throttle, clock: Clock, wish_s: float | None = None) -> None:
    """A request that started after all that was refused before."""
    clock.now += 1
    throttle.slow_down(clock.now, wish_s)


def test_without_a_refusal_everything_may_start(throttle: Throttle) -> None:
    assert (throttle.limit, throttle.opens_in_s()) == (16, 0)


def test_a_refusal_halves_what_may_be_in_flight_and_holds_back_the_rest(
    throttle: Throttle, clock: Clock, notes: list[str]
) -> None:
    refuse(throttle, clock)

    assert (throttle.limit, throttle.opens_in_s()) == (8, 1)
    assert notes == [
        "the server asks to slow down: a pause of 1.0 s, then 8 of 16 requests at a time until it "
        "recovers"
    ]
    clock.now += 1
    assert throttle.opens_in_s() == 0


def test_refusals_of_what_was_under_way_together_count_once(
    throttle: Throttle, clock: Clock, notes: list[str]
) -> None:
    began = clock.now
    refuse(throttle, clock)
    for _ in range(10):
        throttle.slow_down(began, None)

    assert throttle.limit == 8
    assert len(notes) == 1


def test_each_further_refusal_halves_again_and_pauses_longer_but_one_always_goes(
    throttle: Throttle, clock: Clock
) -> None:
    limits, pauses_s = [], []
    for _ in range(6):
        refuse(throttle, clock)
        limits.append(throttle.limit)
        pauses_s.append(throttle.opens_in_s())

    assert limits == [8, 4, 2, 1, 1, 1]
    assert pauses_s == [1, 2, 3, 4, 5, 6]


def test_the_servers_own_wish_is_kept_also_by_a_refusal_that_does_not_count(
    throttle: Throttle, clock: Clock
) -> None:
    began = clock.now
    refuse(throttle, clock, wish_s=30)
    assert throttle.opens_in_s() == 30
    throttle.slow_down(began, 45)
    assert throttle.opens_in_s() == 45
    throttle.slow_down(began, 10)
    assert throttle.opens_in_s() == 45


def test_what_arrives_gives_the_places_back_one_after_the_other(
    throttle: Throttle, clock: Clock
) -> None:
    refuse(throttle, clock)
    clock.now += 1
    arrived = 0
    while throttle.limit < 16:
        throttle.recover(clock.now)
        arrived += 1

    assert 8 * 8 < arrived < 16 * 16
    throttle.recover(clock.now)
    assert throttle.limit == 16
    refuse(throttle, clock)
    assert throttle.opens_in_s() == 1, "the refusals before it are forgotten"


def test_what_had_started_before_the_refusal_gives_nothing_back(
    throttle: Throttle, clock: Clock
) -> None:
    began = clock.now
    refuse(throttle, clock)
    for _ in range(1000):
        throttle.recover(began)

    assert throttle.limit == 8


def test_waiting_ends_when_the_run_is_stopped(throttle: Throttle, clock: Clock) -> None:
    refuse(throttle, clock, wish_s=3600)
    stop = threading.Event()
    stop.set()

    throttle.wait(stop)  # would be an hour
