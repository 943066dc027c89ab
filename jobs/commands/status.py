"""`ingest status`: what a run has done, and what is left."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ingest.errors import ManifestError

if TYPE_CHECKING:
    from ingest.journal import Attempt, JournalState
    from ingest.manifest import Manifest

EXAMPLES = """
\b
Examples:
  ingest status published.jsonl
  ingest status s3://corpus/published.jsonl --json
"""

UNKNOWN = "unknown"
"""The state of a file whose last step was begun by a run that is over."""


@click.command("status", short_help="Show what a run has done and what is left.", epilog=EXAMPLES)
@click.argument("manifest")
@click.option("--s3-endpoint", metavar="URL", help="An S3 endpoint other than AWS's.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(manifest: str, s3_endpoint: str | None, as_json: bool) -> int:
    """Show what a run has done and what is left, while it is open or after it ended."""
    from ingest.journal import replay
    from ingest.manifest import parse_manifest
    from ingest.run_store import run_store

    store = run_store(manifest, s3_endpoint)
    content, journal = store.read_manifest(), store.read_journal()
    if content is None and not journal:
        raise ManifestError(f"{manifest}: there is no manifest and no journal here")
    recorded = parse_manifest(content or b"", manifest)
    state = replay(journal, manifest)
    facts = _facts(recorded, state, live=store.in_use())
    if as_json:
        print(json.dumps(facts, indent=2))
        return 0
    print(f"run: {facts['run']} ({_MEANING[facts['run']]})")
    _print_table(_summary(facts))
    if facts["left"]:
        print("left:")
        _print_table([_left_row(left) for left in facts["left"]])
    if facts["run"] == "dead":
        print(
            "run the same publish again to go on, or `ingest abort` to close what is open at the "
            "server"
        )
    return 0


_MEANING = {
    "live": "it is going on now",
    "dead": "it was stopped or killed before its end",
    "closed": "it came to its end",
}


def _summary(facts: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row for each state of files, and one for what is left."""
    from jobs.rate import bytes_text

    rows: list[tuple[str, ...]] = [
        (f"{status}:", f"{count} files", bytes_text(facts["entry_bytes"][status]), "")
        for status, count in facts["entries"].items()
    ]
    if left := facts["left"]:
        sent = sum(file["bytes_sent"] for file in left)
        told = f"of these, {bytes_text(sent)} are sent" if sent else ""
        size = bytes_text(sum(file["bytes"] for file in left))
        rows.append(("to send:", f"{len(left)} files", size, told))
    return rows


def _left_row(left: dict[str, Any]) -> tuple[str, ...]:
    from jobs.rate import bytes_text

    parts = f"{left['parts_sent']} of {left['parts']} parts" if left["parts"] else "one request"
    sent = f"{bytes_text(left['bytes_sent'])} are sent" if left["bytes_sent"] else ""
    if left["phase"] == UNKNOWN:
        sent = "outcome unknown: the next run looks it up"
    return f"  {left['name']}", bytes_text(left["bytes"]), parts, sent


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Columns as wide as they need, names to the left and figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *figures in rows:
        cells = [name.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(figures, widths[1:], strict=True)]
        print("  ".join(cells).rstrip())


def _facts(manifest: Manifest, state: JournalState, *, live: bool) -> dict[str, Any]:
    from ingest.journal import Phase

    attempts = state.attempts_by_name()
    known = {name: (entry.status, entry.bytes) for name, entry in manifest.entries.items()}
    left = []
    for planned in state.planned.values():
        newest = attempts.get(planned.name, [None])[-1]
        done = newest is not None and newest.phase is Phase.COMPLETED
        entry = manifest.entries.get(planned.name)
        if done and newest and (entry is None or entry.file_id != newest.file_id):
            # The manifest is written every few seconds; the journal knows at once.
            known[planned.name] = ("uploaded", planned.size_bytes)
        if done or (newest is None and entry is not None and entry.status != "failed"):
            continue
        left.append(
            {
                "name": planned.name,
                "bytes": planned.size_bytes,
                "parts": planned.num_parts,
                "parts_sent": len(newest.sent) if newest else 0,
                "bytes_sent": newest.sent_bytes(planned.size_bytes) if newest else 0,
                "phase": _phase(newest, live=live),
            }
        )
    counts: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for status, size_bytes in known.values():
        counts[status] = counts.get(status, 0) + 1
        sizes[status] = sizes.get(status, 0) + size_bytes
    open_run = bool(state.planned or state.attempts)
    return {
        "schema": 1,
        "run": "live" if live else "dead" if open_run else "closed",
        "entries": dict(sorted(counts.items())),
        "entry_bytes": dict(sorted(sizes.items())),
        "left": left,
    }


def _phase(newest: Attempt | None, *, live: bool) -> str:
    if newest is None:
        return "planned"
    return UNKNOWN if newest.outcome_unknown and not live else newest.phase.value
