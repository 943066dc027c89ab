"""The comparison sees a difference where there is one."""

from __future__ import annotations

import pytest

from ingest.files import FileReport, FileType, Problem
from tests.differential.compare import difference
from tests.differential.reference import Answer


def problem(line: int | None, code: str = "json.malformed", record: int | None = None) -> Problem:
    return Problem(line, record, None, code, "expected this, found that")


def report(*problems: Problem, file_type: FileType = "jsonl") -> FileReport:
    return FileReport("a", 1, file_type, None, 1, len(problems), problems)


def answer(valid: bool, line: int | None = None) -> Answer:
    return Answer(valid, line, "")


@pytest.mark.parametrize(
    ("ours", "vendors", "same"),
    [
        pytest.param(report(), answer(True), True, id="both valid"),
        pytest.param(report(), answer(False), False, id="they refuse it"),
        pytest.param(report(problem(1)), answer(True), False, id="we refuse it"),
        pytest.param(report(problem(1)), answer(False), True, id="they tell no line"),
        pytest.param(report(problem(2)), answer(False, 2), True, id="same line"),
        pytest.param(report(problem(2)), answer(False, 1), False, id="another line"),
        pytest.param(report(problem(3), problem(2)), answer(False, 2), True, id="the first counts"),
        pytest.param(report(problem(None)), answer(False, 1), False, id="we tell no line"),
        pytest.param(
            report(problem(None, "file.not_utf8"), problem(1)),
            answer(False, 1),
            False,
            id="not UTF-8 outranks lines",
        ),
        pytest.param(
            report(problem(None, "parquet.column_type"), file_type="parquet"),
            answer(True),
            True,
            id="a rule of our own",
        ),
        pytest.param(
            report(problem(7, "csv.row_width", record=3), file_type="csv"),
            answer(False, 3),
            True,
            id="rows of CSV",
        ),
    ],
)
def test_a_difference_is_told(ours: FileReport, vendors: Answer, same: bool) -> None:
    assert (difference(ours, vendors) is None) == same
