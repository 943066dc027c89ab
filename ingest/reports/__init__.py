"""What `ingest check` found, put into words: for people, for programs, and for CI systems.

Every renderer is a pure function from reports to text; `ingest check` and the gate of
`ingest publish` call them. Nothing here decides anything: verdicts come in, and the exit code is
the command line's. Nothing here reads a dataset file, and nothing that came out of one reaches a
terminal, a log or an XML document unescaped.

    text    a table, then problems and warnings by rule with what to do about each (`text.py`)
    json    the report as a document with a schema number (`document.py`)
    github  annotations on the lines of a pull request (`github.py`)
    sarif   SARIF 2.1.0, for code scanning and editors (`sarif.py`)
    junit   JUnit XML, a test case a file, for every other CI system (`junit.py`)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from ingest.files import FileReport, Purpose, RuleSet
from ingest.reports.document import (
    ReportDocument,
    json_report,
    problem_entry,
    report_document,
)
from ingest.reports.github import github_report
from ingest.reports.junit import junit_report
from ingest.reports.sarif import sarif_report
from ingest.reports.text import print_report, text_report

ReportFormat = Literal["text", "json", "github", "sarif", "junit"]

Renderer = Callable[[Sequence[FileReport], RuleSet, Purpose, str, Path | None], str]

RENDERERS: dict[ReportFormat, Renderer] = {
    "text": text_report,
    "json": json_report,
    "github": github_report,
    "sarif": sarif_report,
    "junit": junit_report,
}

__all__ = [
    "RENDERERS",
    "ReportDocument",
    "ReportFormat",
    "print_report",
    "problem_entry",
    "render",
    "report_document",
]


def render(
    report_format: ReportFormat,
    reports: Sequence[FileReport],
    *,
    rules: RuleSet,
    purpose: Purpose,
    engine: str,
    root: Path | None = None,
) -> str:
    """Render ``reports`` in one of the formats above.

    Args:
        report_format: a key of ``RENDERERS``.
        reports: one a source file, in the order in which they are to appear.
        rules: the rule set that the files were held against.
        purpose: what the files are for.
        engine: ``ray`` or ``local``.
        root: paths below it are told relative to it. None is the working directory; for
            ``github`` and ``sarif`` on a GitHub runner it is the checkout.

    Returns:
        The whole text, ending in a newline; ``github`` alone is empty when all is well.
    """
    return RENDERERS[report_format](reports, rules, purpose, engine, root)
