"""`ingest publish`: all seven stages."""

from __future__ import annotations

import sys
from typing import Any

import click

from jobs.commands.options import publish_options, settings_from
from jobs.memory import share_arenas
from jobs.worker_processes import start_early

EXAMPLES = """
\b
Examples:
  ingest publish data/ --manifest published.jsonl
  ingest publish 's3://corpus/*.jsonl' --manifest s3://corpus/published.jsonl --engine ray
  ingest publish big.jsonl --manifest out.jsonl --shard-size 10GiB --wait
After any failure, the same command sends what is missing.
"""

NO_MANIFEST = "Missing option '--manifest FILE': where file ids are recorded."


@click.command("publish", short_help="Validate, send, and record the file ids.", epilog=EXAMPLES)
@publish_options
def command(
    report_format: str,
    json_file: str | None,
    problems: str | None,
    duplicates: bool,
    **flags: Any,
) -> int:
    """Validate, send, and record the file ids in a manifest.

    By default one invalid file stops the run before a byte is sent. What the manifest shows as
    published is not sent again. On stdout: name, file id and status of each file.
    """
    start_early(flags)
    share_arenas()
    from ingest.files import FileReport
    from ingest.settings import PublishSettings
    from jobs.commands.output import echo_manifest, in_ray_job, stoppable, write_reports
    from jobs.commands.submit import refuse_relative
    from jobs.progress import for_stream
    from jobs.publish import publish

    if not flags.get("manifest"):
        raise click.UsageError(NO_MANIFEST)
    settings = settings_from(PublishSettings, flags)
    if in_ray_job():
        refuse_relative({**flags, "json_file": json_file, "problems": problems})
    progress = for_stream(sys.stderr)

    def on_reports(reports: list[FileReport], engine: str) -> None:
        if duplicates:
            from jobs.duplicates import with_duplicates

            reports = with_duplicates(
                reports, settings.rules, settings.max_problems, progress, stop
            )
        # Valid files are told by their ids; only what is wrong needs a report.
        shown = report_format != "text" or any(
            report.warning_count or not report.valid for report in reports
        )
        if shown or json_file or problems:
            write_reports(
                reports,
                engine,
                settings,
                report_format=report_format,
                json_file=json_file,
                problems=problems,
                to_stderr=True,
                only_files=not shown,
            )

    try:
        with stoppable() as stop:
            manifest = publish(settings, progress=progress, stop=stop, on_reports=on_reports)
    finally:
        progress.close()
        echo_manifest(settings)
    for entry in manifest.sorted():
        print(f"{entry.file_id or '-'}\t{entry.status}\t{entry.name}")
    return 0
