"""`ingest status`: what a run has done, and what is left."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from ingest.errors import ManifestError

if TYPE_CHECKING:
    from ingest.journal import JournalState
    from ingest.manifest import Manifest

EXAMPLES = """
\b
Examples:
  ingest status published.jsonl
  ingest status s3://corpus/published.jsonl --json
"""


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
    print(f"run: {facts['run']}")
    for status, count in facts["entries"].items():
        print(f"{status}: {count} files")
    for left in facts["left"]:
        sent = f"{left['parts_sent']} of {left['parts']} parts sent" if left["parts"] else "-"
        print(f"left\t{left['name']}\t{left['bytes']} bytes\t{sent}")
    if facts["run"] == "dead":
        print("the run is over and was not finished: run the same publish again to go on")
    return 0


def _facts(manifest: Manifest, state: JournalState, *, live: bool) -> dict[str, Any]:
    from ingest.journal import Phase
    from ingest.manifest import summary

    attempts = state.attempts_by_name()
    left = []
    for planned in state.planned.values():
        newest = attempts.get(planned.name, [None])[-1]
        done = newest is not None and newest.phase is Phase.COMPLETED
        entry = manifest.entries.get(planned.name)
        if done or (newest is None and entry is not None and entry.status != "failed"):
            continue
        left.append(
            {
                "name": planned.name,
                "bytes": planned.size_bytes,
                "parts": planned.num_parts,
                "parts_sent": len(newest.sent) if newest else 0,
                "phase": newest.phase.value if newest else "planned",
            }
        )
    open_run = bool(state.planned or state.attempts)
    return {
        "schema": 1,
        "run": "live" if live else "dead" if open_run else "closed",
        "entries": dict(sorted(summary(manifest.entries.values()).items())),
        "left": left,
    }
