"""What counts as a difference between our verdict and the vendor's."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.files import FileReport, Problem
from tests.differential.reference import Answer

BEYOND_THE_REFERENCE = frozenset({"parquet.column_type", "parquet.length_mismatch"})
"""Rules that the vendor's clients do not have; the rest of a file is compared without them."""


def difference(report: FileReport, answer: Answer) -> str | None:
    """Say how our report on a file differs from the vendor's answer; None if it does not.

    Args:
        report: with all of the file's problems.
        answer: the vendor's. Where it names a line, our first bad line must be that one.
    """
    problems = [p for p in report.problems if p.code not in BEYOND_THE_REFERENCE]
    if answer.valid != (not problems):
        first = problems[0] if problems else None
        return f"valid: the vendor says {answer.valid}, first problem of ours {first}"
    if answer.valid or answer.line is None:
        return None
    # The vendor counts rows in CSV files, where we tell the line as well.
    ours = first_bad_record(problems) if report.file_type == "csv" else first_bad_line(problems)
    if ours != answer.line:
        return f"first bad line: the vendor says {answer.line}, we say {ours} ({problems[0]})"
    return None


def first_bad_line(problems: Sequence[Problem]) -> int | None:
    """The first line with a problem; None for a file that is not text, or has none."""
    if any(p.code == "file.not_utf8" for p in problems):
        return None
    return min((p.line for p in problems if p.line is not None), default=None)


def first_bad_record(problems: Sequence[Problem]) -> int | None:
    """The first record with a problem."""
    return min((p.record for p in problems if p.record is not None), default=None)
