"""`ingest check`: stages 1 to 3, a report, and an exit code."""

from __future__ import annotations

import sys
from typing import Any

import click

from jobs.commands.options import check_options, settings_from
from jobs.worker_processes import start_early

EXAMPLES = """
\b
Examples:
  ingest check train.jsonl eval/
  ingest check 's3://corpus/**/*.jsonl' --json report.json
  ingest check data/ --format github      annotations in a pull request
"""


@click.command(
    "check", short_help="Validate files, folders, globs or s3:// prefixes.", epilog=EXAMPLES
)
@check_options
def command(
    report_format: str,
    json_file: str | None,
    problems: str | None,
    duplicates: bool,
    **flags: Any,
) -> int:
    """Validate files, folders, globs or s3:// prefixes; nothing is sent.

    Every mistake is told, with its line. Ends with 5 when a file is invalid, with 2 when one
    cannot be read.
    """
    start_early(flags)
    from ingest.settings import CheckSettings
    from jobs.checking import check
    from jobs.commands.output import stoppable, write_reports
    from jobs.progress import for_stream
    from jobs.survey import UNREADABLE

    settings = settings_from(CheckSettings, flags)
    progress = for_stream(sys.stderr)
    try:
        with stoppable() as stop:
            result = check(settings, progress, stop)
            reports = result.reports
            if duplicates:
                from jobs.duplicates import with_duplicates

                reports = with_duplicates(
                    reports, settings.rules, settings.max_problems, progress, stop
                )
    finally:
        progress.close()
    write_reports(
        reports,
        result.engine,
        settings,
        report_format=report_format,
        json_file=json_file,
        problems=problems,
    )
    bad = [report for report in reports if not report.valid]
    if any(report.problems[0].code in UNREADABLE for report in bad):
        return 2
    return 5 if bad else 0
