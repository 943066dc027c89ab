"""The report as data: what `ingest check --json` writes, a contract with the programs that read it.

A reader may rely on the keys and their order; ``schema`` rises when one changes its meaning.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from ingest.files import FileReport, Problem, Purpose, RuleSet
from ingest.statistics import content_statistics

SCHEMA = 1


class ProblemEntry(TypedDict):
    """One broken rule; see `ingest.files.Problem`."""

    line: int | None
    record: int | None
    path: str | None
    code: str
    message: str


class FileEntry(TypedDict):
    """The verdict on one file; ``problems`` holds the first of ``problem_count``.

    Warnings do not change the verdict; ``warnings`` holds the first of ``warning_count``.
    ``statistics`` is an `ingest.statistics.ContentStatistics`.
    """

    uri: str
    bytes: int
    file_type: str | None
    dataset_format: str | None
    records: int
    valid: bool
    problem_count: int
    problems: list[ProblemEntry]
    warning_count: int
    warnings: list[ProblemEntry]
    statistics: dict[str, Any]


class ReportDocument(TypedDict):
    """The whole report; ``valid`` says whether every file is."""

    schema: int
    valid: bool
    rules: str
    purpose: str
    engine: str
    files: list[FileEntry]


def report_document(
    reports: Sequence[FileReport], rules: RuleSet, purpose: Purpose, engine: str
) -> ReportDocument:
    """Return the report of a check as plain data, ready for ``json``."""
    return {
        "schema": SCHEMA,
        "valid": all(report.valid for report in reports),
        "rules": rules,
        "purpose": purpose,
        "engine": engine,
        "files": [_file_entry(report) for report in reports],
    }


def json_report(
    reports: Sequence[FileReport],
    rules: RuleSet,
    purpose: Purpose,
    engine: str,
    root: Path | None = None,
) -> str:
    """Render the document as indented ASCII JSON; ``root`` is not used, URIs stay whole."""
    # ASCII, since a file name that is not UTF-8 and a lone surrogate in a message have no other
    # encoding that every reader takes.
    return json.dumps(report_document(reports, rules, purpose, engine), indent=2) + "\n"


def _file_entry(report: FileReport) -> FileEntry:
    return {
        "uri": report.uri,
        "bytes": report.size_bytes,
        "file_type": report.file_type,
        "dataset_format": report.dataset_format,
        "records": report.records,
        "valid": report.valid,
        "problem_count": report.problem_count,
        "problems": [problem_entry(problem) for problem in report.problems],
        "warning_count": report.warning_count,
        "warnings": [problem_entry(warning) for warning in report.warnings],
        "statistics": content_statistics(
            report.records, report.size_bytes, report.dataset_format, report.statistics
        ).model_dump(),
    }


def problem_entry(problem: Problem) -> ProblemEntry:
    """Return a problem or a warning as plain data."""
    return {
        "line": problem.line,
        "record": problem.record,
        "path": problem.path,
        "code": problem.code,
        "message": problem.message,
    }
