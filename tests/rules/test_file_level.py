"""What a name and a size tell."""

from __future__ import annotations

import pytest

from ingest.files import FileType, Purpose
from ingest.rules.file_level import DEFAULT_MAX_FILE_SIZE_BYTES, check_file_facts, file_type_of


@pytest.mark.parametrize(
    ("name", "file_type"),
    [
        ("a.jsonl", "jsonl"),
        ("a.parquet", "parquet"),
        ("a.csv", "csv"),
        ("train/b.c/a.b.jsonl", "jsonl"),
        ("s3://bucket/key.jsonl", "jsonl"),
        ("a.JSONL", None),
        ("a.Csv", None),
        ("a.json", None),
        ("a.jsonl.gz", None),
        ("a.jsonl ", None),
        ("a.", None),
        ("a", None),
        ("", None),
        ("jsonl", None),
        (".jsonl", None),
        ("train/.jsonl", None),
        ("a.jsonl/b", None),
    ],
)
def test_the_ending_tells_the_type(name: str, file_type: FileType | None) -> None:
    assert file_type_of(name) == file_type


def codes(
    name: str,
    size_bytes: int = 10,
    purpose: Purpose = "fine-tune",
    limit: int = DEFAULT_MAX_FILE_SIZE_BYTES,
    will_be_split: bool = False,
) -> list[str]:
    problems = check_file_facts(name, size_bytes, purpose, limit, will_be_split)
    assert all((p.line, p.record, p.path) == (None, None, None) for p in problems)
    return [problem.code for problem in problems]


@pytest.mark.parametrize(
    ("purpose", "accepted"),
    [
        ("fine-tune", ["jsonl", "parquet"]),
        ("calibration", ["jsonl", "parquet"]),
        ("eval", ["jsonl", "csv"]),
        ("batch-api", ["jsonl"]),
    ],
)
def test_the_type_suits_the_purpose(purpose: Purpose, accepted: list[FileType]) -> None:
    for file_type in ("jsonl", "parquet", "csv"):
        wrong = [] if file_type in accepted else ["file.wrong_type_for_purpose"]
        assert codes(f"a.{file_type}", purpose=purpose) == wrong


def test_an_unknown_type_suits_no_purpose_and_is_told_once() -> None:
    assert codes("a.txt") == ["file.unknown_type"]


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [(0, ["file.empty"]), (1, []), (100, []), (101, ["file.too_large"])],
)
def test_sizes_at_the_limits(size_bytes: int, expected: list[str]) -> None:
    assert codes("a.jsonl", size_bytes, limit=100) == expected


def test_the_default_limit_is_50_1_gib() -> None:
    # The vendor compares with the float 50.1 * 2**30; sizes are whole, so the floor is the same.
    limit = DEFAULT_MAX_FILE_SIZE_BYTES
    assert limit <= 50.1 * 2**30 < limit + 1
    assert codes("a.jsonl", limit) == []
    assert codes("a.jsonl", limit + 1) == ["file.too_large"]


def test_a_file_that_will_be_split_may_be_larger() -> None:
    assert codes("a.jsonl", 101, limit=100, will_be_split=True) == []


@pytest.mark.parametrize("will_be_split", [False, True])
def test_a_batch_file_has_at_most_100_mb(will_be_split: bool) -> None:
    size = 100_000_000
    assert codes("a.jsonl", size, "batch-api", will_be_split=will_be_split) == []
    assert codes("a.jsonl", size + 1, "batch-api", will_be_split=will_be_split) == [
        "batch.too_large"
    ]
    assert codes("a.jsonl", size + 1, "eval") == []


def test_everything_wrong_is_told() -> None:
    assert codes("a.csv", 0, "batch-api") == ["file.empty", "file.wrong_type_for_purpose"]
    assert codes("a.txt", 10**9, "batch-api", limit=10**9 - 1) == [
        "file.too_large",
        "file.unknown_type",
        "batch.too_large",
    ]


def test_messages_name_what_was_found() -> None:
    (problem,) = check_file_facts("dir/a.csv", 1, "fine-tune")
    assert problem.message == "expected .jsonl or .parquet for the purpose fine-tune, found .csv"
    (problem,) = check_file_facts("dir/" + "a" * 200, 1, "fine-tune")
    assert problem.message.endswith("found " + "a" * 79 + "…")
