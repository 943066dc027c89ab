"""`ingest plan`: stages 1 and 2 as a dry run."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from jobs.commands.options import plan_options, settings_from

if TYPE_CHECKING:
    from ingest.files import UploadFile
    from ingest.manifest import Manifest
    from jobs.survey import Survey

EXAMPLES = """
\b
Examples:
  ingest plan data/ --shard-size 10GiB
  ingest plan 's3://corpus/*.jsonl' --json
"""


@click.command("plan", short_help="Show what publish would send, and how.", epilog=EXAMPLES)
@plan_options
@click.option(
    "--json", "json_file", metavar="[FILE]", is_flag=False, flag_value="-", help="As JSON."
)
def command(json_file: str | None, **flags: Any) -> int:
    """Show what publish would send, how, in how many parts, and what it would skip and why.

    Takes the flags of publish. Reads no content and sends nothing; an invalid record is found by
    `ingest check`.
    """
    from ingest.manifest import Manifest, parse_manifest
    from ingest.run_store import run_store
    from ingest.settings import PlanSettings
    from jobs.commands.output import write_file
    from jobs.survey import survey

    settings = settings_from(PlanSettings, flags)
    plan = survey(settings)
    manifest = Manifest()
    if settings.manifest:
        store = run_store(settings.manifest, settings.s3_endpoint)
        manifest = parse_manifest(store.read_manifest() or b"", store.location)
    if json_file:
        text = json.dumps(_document(plan, manifest), indent=2) + "\n"
        if json_file == "-":
            sys.stdout.write(text)
        else:
            write_file(json_file, text, "--json")
    else:
        _print(plan, manifest)
    return 2 if plan.refused and not plan.uploads else 0


def _skip_reason(file: UploadFile, manifest: Manifest) -> str | None:
    """Why publish would not send a file; None where it would, or has to hash it to know."""
    from ingest.manifest import SourceRange, usable

    entry = manifest.entries.get(file.name)
    sources = tuple(SourceRange.of(segment) for segment in file.segments)
    if entry is not None and usable(entry) and entry.sources == sources:
        return f"published as {entry.file_id} and not changed since"
    return None


def _why_not_cut(file: UploadFile, plan: Survey) -> str | None:
    from ingest.planning import why_not_cut

    return why_not_cut(file.segments[0].source, file.file_type, plan.limits)


def _document(plan: Survey, manifest: Manifest) -> dict[str, Any]:
    files = []
    for file in plan.uploads:
        files.append(
            {
                "name": file.name,
                "bytes": file.size_bytes,
                "file_type": file.file_type,
                "upload": "multipart" if file.parts else "single",
                "parts": len(file.parts),
                "part_bytes": file.parts[0].length if file.parts else None,
                "skip": _skip_reason(file, manifest),
                "not_cut": _why_not_cut(file, plan),
                "sources": [
                    {"uri": s.source.uri, "offset": s.offset, "length": s.length}
                    for s in file.segments
                ],
            }
        )
    return {
        "schema": 1,
        "files": files,
        "skipped": [{"uri": s.uri, "reason": s.reason} for s in plan.skipped],
        "refused": [
            {"uri": r.uri, "code": p.code, "message": p.message}
            for r in plan.refused
            for p in r.problems
        ],
    }


def _print(plan: Survey, manifest: Manifest) -> None:
    from ingest.reports.text import size_text

    for file in plan.uploads:
        how = "single request"
        if file.parts:
            how = f"{len(file.parts)} parts of {size_text(file.parts[0].length)}"
        if uncut := _why_not_cut(file, plan):
            how = f"{how} ({uncut})"
        reason = _skip_reason(file, manifest)
        if reason:
            how = f"skip: {reason}"
        print(f"{file.name}\t{size_text(file.size_bytes)}\t{how}")
    for skipped in plan.skipped:
        print(f"{skipped.uri}\t-\tskip: {skipped.reason}")
    for report in plan.refused:
        for problem in report.problems:
            print(f"{report.uri}\t-\trefused: {problem.code} {problem.message}")
