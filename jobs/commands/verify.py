"""`ingest verify`: does the API still hold what the manifest says?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ingest.errors import ManifestError, UploadError
from jobs.commands.recorded_api import RecordedApis, api_options

if TYPE_CHECKING:
    from ingest.files_api import FilesApi
    from ingest.manifest import ManifestEntry

EXAMPLES = """
\b
Examples:
  ingest verify published.jsonl
  ingest verify published.jsonl --deep     download everything and compare SHA-256
"""


@click.command("verify", short_help="Ask the API about each recorded file id.", epilog=EXAMPLES)
@click.argument("manifest")
@click.option("--deep", is_flag=True, help="Download each file and compare its SHA-256.")
@api_options
def command(
    manifest: str,
    deep: bool,
    base_url: str | None,
    api_key_file: str | None,
    api_key_secret: str | None,
    s3_endpoint: str | None,
    insecure: bool,
) -> int:
    """Ask the API about each recorded file id; ends with 3 when one is not as recorded."""
    from ingest.manifest import parse_manifest
    from ingest.run_store import run_store
    from ingest.secrets import read_api_key

    store = run_store(manifest, s3_endpoint)
    content = store.read_manifest()
    if content is None:
        raise ManifestError(f"{manifest}: there is no such manifest")
    key = read_api_key(api_key_file, api_key_secret)
    apis = RecordedApis(manifest, base_url, insecure, key)
    entries = parse_manifest(content, manifest).sorted()
    for entry in entries:  # before the key goes anywhere
        apis.at(entry.base_url)
    wrong = 0
    for entry in entries:
        if entry.file_id is None:
            print(f"-\t{entry.status}\t{entry.name}")
            continue
        try:
            fault = _fault(apis.at(entry.base_url), entry, deep=deep)
        except UploadError as error:
            fault = str(error)
        wrong += fault is not None
        print(f"{entry.file_id}\t{fault or 'ok'}\t{entry.name}")
    apis.close()
    if wrong:
        print(f"ingest: {wrong} files are not as the manifest says", file=sys.stderr)
    return 3 if wrong else 0


def _fault(api: FilesApi, entry: ManifestEntry, *, deep: bool) -> str | None:
    """What is not as recorded; None when all is."""
    assert entry.file_id is not None
    remote = api.find(entry.file_id)
    if remote is None:
        return "missing at the API"
    if remote.bytes is not None and remote.bytes != entry.bytes:
        return f"has {remote.bytes} bytes, expected {entry.bytes}"
    if remote.purpose != entry.purpose:
        return f"has purpose {remote.purpose}, expected {entry.purpose}"
    if remote.state in ("FAILED", "INVALID_FORMAT") and entry.status != "invalid":
        return f"is {remote.state}: {remote.error or 'no reason given'}"
    differs = remote.differs(entry.bytes, entry.lines)
    if differs:
        return differs
    if deep:
        sha256 = api.content_sha256(entry.file_id)
        if sha256 != entry.sha256:
            return f"content has SHA-256 {sha256}, expected {entry.sha256}"
    return None
