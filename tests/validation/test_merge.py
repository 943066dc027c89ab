from __future__ import annotations

from ingest.files import Problem
from ingest.validation.findings import FormatCount, RequestId, SliceResult, Utf8Fault
from ingest.validation.merge import merge_slices
from tests.validation.in_memory import codes, places, source_of

SOURCE = source_of(b"0123456789")


def bad(line: int, code: str = "json.malformed") -> Problem:
    return Problem(line, line, None, code, "expected, found")


def test_line_and_record_numbers_become_those_of_the_file() -> None:
    results = [
        SliceResult(records=2, lines=5),
        SliceResult(records=3, lines=3, problem_count=1, problems=(bad(2),)),
    ]
    report = merge_slices(SOURCE, "jsonl", "fine-tune", "basic", 100, results)
    assert places(report) == [(7, 4, "json.malformed")]
    assert report.records == 5


def test_problems_of_the_whole_file_come_first_and_are_counted() -> None:
    known = [Problem(None, None, None, "file.too_large", "too large")]
    results = [
        SliceResult(records=1, lines=1, problem_count=9, problems=(bad(1),)),
        SliceResult(records=1, lines=1, utf8_fault=Utf8Fault(7, 255, "x"), not_utf8_lines=1),
    ]
    report = merge_slices(SOURCE, "jsonl", "fine-tune", "strict", 2, results, known)
    assert codes(report) == ["file.too_large", "file.not_utf8"]
    assert report.problem_count == 11


def test_what_the_caller_knows_already_is_not_told_again() -> None:
    known = [Problem(None, None, None, "file.empty", "empty")]
    report = merge_slices(source_of(b""), "jsonl", "eval", "strict", 9, [], known)
    assert codes(report) == ["file.empty"]
    assert report.problem_count == 1


def test_mixed_formats_come_behind_the_problems_of_their_own_record() -> None:
    results = [
        SliceResult(
            records=3,
            lines=3,
            problem_count=2,
            problems=(bad(2), bad(3)),
            formats=(FormatCount("general", 1, (2,)), FormatCount("conversation", 1, (1,))),
        )
    ]
    report = merge_slices(SOURCE, "jsonl", "fine-tune", "strict", 9, results)
    assert places(report) == [
        (2, 2, "json.malformed"),
        (2, 2, "format.mixed"),
        (3, 3, "json.malformed"),
    ]
    assert report.dataset_format == "conversation"


def test_mixed_formats_are_counted_beyond_those_that_are_kept() -> None:
    results = [
        SliceResult(records=1, lines=1, formats=(FormatCount("general", 1, (1,)),)),
        SliceResult(records=70, lines=70, formats=(FormatCount("instruction", 70, (1, 2)),)),
    ]
    report = merge_slices(SOURCE, "jsonl", "fine-tune", "strict", 2, results)
    assert places(report) == [(2, 2, "format.mixed"), (3, 3, "format.mixed")]
    assert report.problem_count == 70


def test_ids_are_compared_over_all_slices() -> None:
    one = SliceResult(records=1, lines=2, request_ids=(RequestId(2, 1, "\ud800"),))
    report = merge_slices(SOURCE, "jsonl", "batch-api", "basic", 9, [one, one, one])
    assert places(report) == [(4, 2, "batch.custom_id"), (6, 3, "batch.custom_id")]
    assert "line 2 and line 6" in report.problems[1].message
