"""Speed and time left: what counts, what does not, and what a person reads."""

from __future__ import annotations

import pytest

from jobs.rate import Meter, bytes_text, duration_text

MB = 1_000_000


def meter(total_mb: int = 1_000) -> Meter:
    return Meter("upload", total_mb * MB, total_files=4, total_parts=10, started_s=100.0)


def test_speed_is_what_was_done_over_the_time_it_took() -> None:
    one = meter()
    one.add(100 * MB, 1, 2, 105.0, earlier=False)
    one.add(100 * MB, 1, 2, 110.0, earlier=False)

    assert one.rate_bytes_s(110.0) == 20 * MB
    assert one.left_s(110.0) == 40.0
    assert (one.done_bytes, one.done_files, one.done_parts) == (200 * MB, 2, 4)


def test_what_an_earlier_run_sent_is_done_but_is_not_speed() -> None:
    one = meter()
    one.add(900 * MB, 0, 9, 100.1, earlier=True)
    assert one.left_s(101.0) is None, "nothing has moved yet"

    one.add(10 * MB, 0, 1, 110.0, earlier=False)

    assert one.rate_bytes_s(110.0) == 1 * MB
    assert one.left_s(110.0) == 90.0


def test_what_is_taken_back_is_left_again_and_was_sent_all_the_same() -> None:
    one = meter()
    one.add(500 * MB, 0, 5, 110.0, earlier=False)
    one.add(-500 * MB, 0, -5, 110.0, earlier=False)

    assert (one.done_bytes, one.done_parts) == (0, 0)
    assert one.rate_bytes_s(110.0) == 50 * MB
    assert one.left_s(110.0) == 20.0


def test_a_file_that_fails_leaves_nothing_to_wait_for() -> None:
    one = meter()
    one.add(100 * MB, 0, 1, 110.0, earlier=False)
    one.drop(800 * MB, 0, 8)

    assert one.left_s(110.0) == 10.0
    assert (one.total_bytes, one.total_parts) == (200 * MB, 2)


def test_speed_is_that_of_the_last_minute() -> None:
    one = meter(100_000)
    for second in range(1, 601):
        one.add(100 * MB, 0, 0, 100.0 + second, earlier=False)
    for second in range(601, 721):
        one.add(10 * MB, 0, 0, 100.0 + second, earlier=False)

    assert one.rate_bytes_s(820.0) == pytest.approx(10 * MB)
    assert len(one._samples) < 200


def test_a_stall_is_seen_at_once_and_not_after_the_minute() -> None:
    one = meter()
    for second in range(1, 31):
        one.add(10 * MB, 0, 0, 100.0 + second, earlier=False)
    before = one.left_s(130.0)

    assert before == 70.0
    assert one.rate_bytes_s(160.0) == 5 * MB
    assert one.left_s(160.0) == 140.0


def test_large_parts_that_come_seldom_have_a_speed_too() -> None:
    one = meter(100_000)
    for number in range(1, 21):
        one.add(250 * MB, 0, 1, 100.0 + 50 * number, earlier=False)

    assert one.rate_bytes_s(1100.0) == pytest.approx(5 * MB)


def test_many_small_files_in_a_moment_are_one_sample_and_lose_no_byte() -> None:
    one = meter()
    for number in range(1, 10_001):
        one.add(1_000, 1, 0, 100.0 + number / 1_000, earlier=False)

    assert one.rate_bytes_s(110.0) == pytest.approx(MB)
    assert len(one._samples) < 30


def test_once_all_is_sent_there_is_no_time_left_to_tell() -> None:
    one = meter()
    one.add(1_000 * MB, 3, 10, 110.0, earlier=False)

    assert one.left_s(110.0) is None
    assert not one.over, "an answer is missing"
    one.add(0, 1, 0, 111.0, earlier=False)
    assert one.over


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (250, "4 min 10 s"),
        (3599.9, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (273_600, "3 d 04 h"),
    ],
)
def test_a_duration_is_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_500, "1.5 kB"),
        (375_000_000, "375.0 MB"),
        (1_204_000_000, "1.20 GB"),
        (999_900_000_000, "999.9 GB"),
        (50_100_000_000_000, "50.10 TB"),
    ],
)
def test_a_size_is_decimal_as_speeds_are(size_bytes: int, text: str) -> None:
    assert bytes_text(size_bytes) == text
