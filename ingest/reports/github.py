"""The report as GitHub workflow commands: each problem an annotation on its line of the diff.

GitHub shows ten annotations a step and keeps fifty a job, so the first ones must be the telling
ones: every bad file gets one before any gets its second. The job's log holds all that is written
here; it is kept short all the same, since the table is what a person reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
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
    """Render at most ``MAX_ANNOTATIONS`` error annotations, and one notice with the full count.

    ``root`` is the repository's folder. Objects in S3 have no line in a diff: they are named in
    the message instead.
    """
    root = root or checkout_root()
    shown = list(islice(_one_a_file_first(reports), MAX_ANNOTATIONS))
    lines = [_annotation(report, problem, root) for report, problem in shown]
    total = sum(report.problem_count for report in reports)
    if total > len(shown):
        bad = sum(not report.valid for report in reports)
        text = (
            f"{counted(total, 'problem')} in {counted(bad, 'file')}; the first {len(shown)} shown"
        )
        lines.append(f"::notice title=ingest check::{_escape_data(text)}")
    return "".join(line + "\n" for line in lines)


def _one_a_file_first(reports: Sequence[FileReport]) -> Iterator[tuple[FileReport, Problem]]:
    rounds = zip_longest(*(report.problems for report in reports))
    for problems in rounds:
        for report, problem in zip(reports, problems, strict=True):
            if problem is not None:
                yield report, problem


def _annotation(report: FileReport, problem: Problem, root: Path) -> str:
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
    return f"::error {listed}::{_escape_data(message)}"


def _escape_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")
