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

    Parts that were sent are gone then; published files and the manifest stay as they are.
    """
    from ingest.journal import Journal, Phase, replay
    from ingest.run_store import run_store
    from ingest.secrets import read_api_key

    store = run_store(manifest, s3_endpoint)
    if not store.read_journal():
        print(f"{manifest}: nothing is open", file=sys.stderr)
        return 0
    key = read_api_key(api_key_file, api_key_secret)
    apis = RecordedApis(manifest, base_url, insecure, key)
    store.open()
    try:
        journal = Journal(store)
        failed = 0
        for attempt in replay(store.read_journal(), manifest).attempts.values():
            if not attempt.open_at_server:
                continue
            assert attempt.upload_id is not None
            assert attempt.file_id is not None
            try:
                apis.at(attempt.base_url).abort(attempt.upload_id, attempt.file_id)
            except (NotAuthorised, UsageError):
                raise
            except IngestError as error:
                failed += 1
                print(f"ingest: {attempt.name}: {error}", file=sys.stderr)
                continue
            journal.record_phase(attempt, Phase.ABORTED)
            print(f"{attempt.file_id}\taborted\t{attempt.name}")
        if not failed:
            store.clear_journal()
    finally:
        apis.close()
        store.close()
    return 3 if failed else 0
