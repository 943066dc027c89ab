from __future__ import annotations

from datetime import datetime, timezone

import pytest
from requests.structures import CaseInsensitiveDict

from ingest.retries import ATTEMPTS, backoff_s, is_retryable, redacted, retry_after_s

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
SIGNED = "https://bucket.s3.amazonaws.com/key?X-Amz-Signature=5ec7e7&X-Amz-Expires=60"


@pytest.mark.parametrize(
    ("status", "wish", "expected"),
    [
        (400, None, False),
        (401, None, False),
        (403, None, False),
        (404, None, False),
        (408, None, True),
        (409, None, True),
        (413, None, False),
        (422, None, False),
        (425, None, True),
        (429, None, True),
        (499, None, False),
        (500, None, True),
        (501, None, True),
        (599, None, True),
        (307, None, False),
        (400, "true", True),
        (400, "TRUE", True),
        (503, "false", False),
        (503, "perhaps", True),
        (400, "perhaps", False),
    ],
)
def test_a_status_is_retryable_unless_the_server_says_otherwise(
    status: int, wish: str | None, expected: bool
) -> None:
    headers = {} if wish is None else {"x-should-retry": wish}

    assert is_retryable(status, headers) is expected


@pytest.mark.parametrize(
    ("headers", "expected_s"),
    [
        pytest.param({}, None, id="no wish"),
        pytest.param({"Retry-After": "7"}, 7.0, id="seconds"),
        pytest.param({"retry-after": " 0.5 "}, 0.5, id="a part of a second"),
        pytest.param({"Retry-After": "Fri, 02 Jan 2026 03:04:15 GMT"}, 10.0, id="a date"),
        pytest.param({"Retry-After": "Fri, 02 Jan 2026 03:04:00 GMT"}, 0.0, id="a date gone by"),
        pytest.param({"Retry-After": "Fri, 02 Jan 2026 03:04:15 -0000"}, None, id="no zone"),
        pytest.param({"Retry-After": "Fri, 02 Jan 2027 03:04:15 GMT"}, 120.0, id="a year"),
        pytest.param({"Retry-After": "86400"}, 120.0, id="a day"),
        pytest.param({"Retry-After": "9" * 400}, 120.0, id="longer than a float"),
        pytest.param({"Retry-After": "-5"}, None, id="negative"),
        pytest.param({"Retry-After": "soon"}, None, id="a word"),
        pytest.param({"Retry-After": "nan"}, None, id="not a number"),
        pytest.param({"Retry-After": "٣"}, None, id="digits of another script"),
        pytest.param({"retry-after-ms": "1500"}, 1.5, id="milliseconds"),
        pytest.param({"retry-after-ms": "1500", "Retry-After": "9"}, 1.5, id="milliseconds first"),
        pytest.param({"retry-after-ms": "x", "Retry-After": "9"}, 9.0, id="bad milliseconds"),
        pytest.param({"retry-after-ms": "nan"}, None, id="milliseconds that are not a number"),
    ],
)
def test_the_wait_a_server_asks_for_is_read(
    headers: dict[str, str], expected_s: float | None
) -> None:
    assert retry_after_s(CaseInsensitiveDict(headers), NOW) == expected_s


@pytest.mark.parametrize("attempt", range(1, 12))
def test_waits_double_up_to_20_seconds_and_differ(attempt: int) -> None:
    longest_s = min(0.5 * 2 ** (attempt - 1), 20.0)
    waits = {backoff_s(attempt) for _ in range(50)}

    assert all(longest_s / 2 <= wait <= longest_s for wait in waits)
    assert len(waits) > 1


def test_a_wait_is_never_shorter_than_the_server_wishes() -> None:
    assert backoff_s(1, 30.0) == 30.0
    assert backoff_s(10, 0.1) >= 10.0


def test_all_the_waits_of_a_step_take_less_than_a_minute() -> None:
    assert sum(backoff_s(attempt) for attempt in range(1, ATTEMPTS)) < 60


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("no such file", "no such file", id="plain"),
        pytest.param("two\n  lines\t", "two lines", id="white space"),
        pytest.param(
            f"PUT {SIGNED} failed", "PUT https://bucket.s3.amazonaws.com/key?... failed", id="URL"
        ),
        pytest.param(
            f"'{SIGNED.replace('https', 'HTTPS')}'",
            "'HTTPS://bucket.s3.amazonaws.com/key?...'",
            id="URL in capitals",
        ),
        pytest.param(
            "query: x-amz-signature=5ec7e7&a=b X-Amz-Credential=AK/1",
            "query: x-amz-signature=...&a=b X-Amz-Credential=...",
            id="query without its URL",
        ),
    ],
)
def test_a_servers_words_are_made_fit_for_a_message(text: str, expected: str) -> None:
    assert redacted(text) == expected


def test_a_servers_words_are_cut() -> None:
    assert redacted("x" * 1000) == "x" * 297 + "..."
