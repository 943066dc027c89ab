from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ingest.settings import (
    GIB,
    MIB,
    CheckSettings,
    PlanSettings,
    PublishSettings,
    is_loopback,
    normalise_base_url,
)


def plan(**fields: Any) -> PlanSettings:
    return PlanSettings(inputs=("data",), **fields)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.together.xyz/v1", "https://api.together.xyz/v1"),
        ("https://api.together.xyz/v1/", "https://api.together.xyz/v1"),
        ("https://api.together.ai", "https://api.together.ai/v1"),
        ("https://api.together.ai/", "https://api.together.ai/v1"),
        ("  https://api.together.ai\n", "https://api.together.ai/v1"),
        ("https://gateway.example/together", "https://gateway.example/together/v1"),
        ("http://127.0.0.1:8400/v1", "http://127.0.0.1:8400/v1"),
        ("http://[::1]:8400", "http://[::1]:8400/v1"),
        ("https://host.example/apiv1", "https://host.example/apiv1/v1"),
    ],
)
def test_a_base_url_ends_with_v1_however_it_was_written(url: str, expected: str) -> None:
    assert normalise_base_url(url) == expected
    assert normalise_base_url(expected) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.together.ai/v1",
        "ftp://api.together.ai/v1",
        "https://",
        "https://5ec7e7@api.together.ai",
        "https://user:5ec7e7@api.together.ai",
        "https://:5ec7e7@api.together.ai",
        "https://api.together.ai/v1?key=5ec7e7",
        "https://api.together.ai/v1#5ec7e7",
        "https://api.together.ai:99999",
        "https://api.together.ai:port",
        "https://[::1",
    ],
)
def test_what_is_no_base_url_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  some are the standard library's own
        normalise_base_url(url)
    with pytest.raises(ValidationError) as caught:
        plan(base_url=url)
    assert "5ec7e7" not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1/v1", True),
        ("http://LOCALHOST/v1", True),
        ("http://[::1]:1/v1", True),
        ("http://127.0.0.1.example.com/v1", False),
        ("http://localhost.example.com/v1", False),
        ("https://api.together.ai/v1", False),
    ],
)
def test_loopback_is_this_machine_and_no_name_like_it(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("64MiB", 64 * MIB), ("5GiB", 5 * GIB), ("250MB", 250_000_000), ("1000", 1000), (7, 7)],
)
def test_sizes_are_read_with_their_suffix(text: object, size_bytes: int) -> None:
    assert plan(multipart_threshold=text).multipart_threshold == size_bytes


@pytest.mark.parametrize("text", ["0", "-1", "-5MiB", "many", "5 apples", ""])
def test_sizes_without_sense_are_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="part_size"):
        plan(part_size=text)


@pytest.mark.parametrize(
    "fields",
    [
        {"inputs": ()},
        {"purpose": "fun"},
        {"rules": "lax"},
        {"max_problems": 0},
        {"workers": 0},
        {"slize_size": 1},
    ],
    ids=str,
)
def test_check_settings_without_sense_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CheckSettings(**{"inputs": ("data",), **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"max_parts_per_file": 5},
        {"max_parts_per_file": 0},
        {"part_timeout": 0},
        {"part_timeout": 3601},
        {"part_timeout": float("nan")},
        {"max_in_flight": 0},
        {"etag": "lax"},
        {"manifest": None},
    ],
    ids=str,
)
def test_publish_settings_without_sense_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PublishSettings(**{"inputs": ("data",), "manifest": "out.jsonl", **fields})


def test_plain_http_to_another_machine_is_refused_unless_it_is_allowed() -> None:
    with pytest.raises(ValidationError, match="plain http would show the key"):
        plan(base_url="http://api.example")

    assert plan(base_url="http://api.example", insecure=True).base_url == "http://api.example/v1"
    assert plan(base_url="http://127.0.0.1:1").base_url == "http://127.0.0.1:1/v1"


def test_parts_that_object_stores_refuse_are_for_rehearsals_only() -> None:
    with pytest.raises(ValidationError, match="object stores refuse parts under 5MiB"):
        plan(part_size=5 * MIB - 1)

    assert plan(part_size=5 * MIB).min_part_bytes == 5 * MIB
    assert plan(part_size=250 * MIB).min_part_bytes == 5 * MIB
    assert plan(part_size="64KiB", base_url="http://localhost:1").min_part_bytes == 65536
