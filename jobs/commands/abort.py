"""`ingest abort`: closes what an unfinished run left open at the server."""

from __future__ import annotations

import sys

import click

from ingest.errors import IngestError, NotAuthorised, UsageError
from jobs.commands.recorded_api import RecordedApis, api_options

EXAMPLES = """
\b
Example:
  ingest abort published.jsonl
"""


@click.command(
    "abort", short_help="Close what an unfinished run left open at the server.", epilog=EXAMPLES
)
@click.argument("manifest")
@api_options
def command(
    manifest: str,
    base_url: str | None,
    api_key_file: str | None,
    api_key_secret: str | None,
    s3_endpoint: str | None,
    insecure: bool,
) -> int:
    """Close the multipart uploads that an unfinished run left open at the server.

    Parts that were sent are gone then; published files and the manifest stay as they are. An upload
    whose outcome is unknown is looked up first: what is complete is not closed.
    """
    from ingest.journal import Journal, Phase, replay
    from ingest.manifest import parse_manifest
    from ingest.run_store import run_store
    from ingest.secrets import read_api_key

    store = run_store(manifest, s3_endpoint)
    if not store.read_journal():
        print(f"{manifest}: nothing is open", file=sys.stderr)
        return 0
    key = read_api_key(api_key_file, api_key_secret)
    apis = RecordedApis(manifest, base_url, insecure, key)
    store.open()
    failed = unrecorded = 0
    try:
        journal = Journal(store)
        recorded = parse_manifest(store.read_manifest() or b"", manifest).all_ids
        for attempt in replay(store.read_journal(), manifest).attempts.values():
            if attempt.file_id is None:
                continue
            try:
                api = apis.at(attempt.base_url)
                if attempt.outcome_unknown and api.look_up(attempt.file_id) is not None:
                    journal.record_phase(attempt, Phase.COMPLETED)
                elif attempt.upload_id is not None and attempt.open_at_server:
                    api.abort(attempt.upload_id, attempt.file_id)
                    journal.record_phase(attempt, Phase.ABORTED)
                    print(f"{attempt.file_id}\taborted\t{attempt.name}")
            except (NotAuthorised, UsageError):
                raise
            except IngestError as error:
                failed += 1
                print(f"ingest: {attempt.name}: {error}", file=sys.stderr)
                continue
            if attempt.phase is Phase.COMPLETED and attempt.file_id not in recorded:
                unrecorded += 1
                print(f"{attempt.file_id}\tpublished\t{attempt.name}")
        if not failed and not unrecorded:
            store.clear_journal()
    finally:
        apis.close()
        store.close()
    if unrecorded:
        print(
            f"ingest: {unrecorded} files were published, and are not in the manifest yet: run the "
            "same publish again to enter them",
            file=sys.stderr,
        )
    return 3 if failed else 0
