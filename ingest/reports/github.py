"""The report as GitHub workflow commands: each problem an annotation on its line of the diff.

GitHub shows ten annotations a step and keeps fifty a job, so the first ones must be the telling
ones: every bad file gets one before any gets its second, and warnings come behind all problems.
The job's log holds all that is written here; it is kept short all the same, since the table is
what a person reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice, zip_longest
from pathlib import Path

from ingest.files import FileReport, Problem, Purpose, RuleSet
from ingest.reports.places import (
    checkout_root,
    counted,
    is_remote,
    sentence,
    shown_name,
)

MAX_ANNOTATIONS = 50
"""Annotations that GitHub keeps of one job."""


def github_report(
    reports: Sequence[FileReport],
    rules: RuleSet,
    purpose: Purpose,
    engine: str,
    root: Path | None = None,
) -> str:
    """Render at most ``MAX_ANNOTATIONS`` annotations, and one notice with the full count.

    ``root`` is the repository's folder. Objects in S3 have no line in a diff: they are named in
    the message instead.
    """
    root = root or checkout_root()
    errors = (
        _annotation("error", report, problem, root)
        for report, problem in _one_a_file_first(reports, [r.problems for r in reports])
    )
    warnings = (
        _annotation("warning", report, warning, root)
        for report, warning in _one_a_file_first(reports, [r.warnings for r in reports])
    )
    lines = list(islice(chain(errors, warnings), MAX_ANNOTATIONS))
    problems = sum(report.problem_count for report in reports)
    oddities = sum(report.warning_count for report in reports)
    if problems + oddities > len(lines):
        bad = sum(not report.valid for report in reports)
        text = f"{counted(problems, 'problem')} in {counted(bad, 'file')}"
        if oddities:
            text += f", {counted(oddities, 'warning')}"
        text += f"; the first {len(lines)} shown"
        lines.append(f"::notice title=ingest check::{_escape_data(text)}")
    return "".join(line + "\n" for line in lines)


def _one_a_file_first(
    reports: Sequence[FileReport], found: Sequence[Sequence[Problem]]
) -> Iterator[tuple[FileReport, Problem]]:
    for problems in zip_longest(*found):
        for report, problem in zip(reports, problems, strict=True):
            if problem is not None:
                yield report, problem


def _annotation(level: str, report: FileReport, problem: Problem, root: Path) -> str:
    properties = {}
    message = sentence(problem)
    if is_remote(report.uri):
        at = "" if problem.line is None else f":{problem.line}"
        message = f"{shown_name(report, root)}{at}: {message}"
    else:
        # The runner finds a file outside the checkout by its whole path, if at all.
        properties["file"] = shown_name(report, root)
        if problem.line is not None:
            properties["line"] = str(problem.line)
    properties["title"] = problem.code
    listed = ",".join(f"{key}={_escape_property(value)}" for key, value in properties.items())
    return f"::{level} {listed}::{_escape_data(message)}"


def _escape_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")
