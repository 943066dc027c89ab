"""Stops a publish in the middle of a multipart upload, and looks at what the next one does.

The moment is made, not waited for: the API holds one part's body until it is told to let go, so
that all other parts of the file are there and that one is not.
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection
from pathlib import Path

from ingest.serve import Fault, LocalFilesApi
from tests.pipeline.conftest import (
    Ingest,
    Result,
    Running,
    entries,
    jsonl,
    parts_put,
    sent,
    until,
)

CONTENT = jsonl(450_000)
"""One dataset, which goes in ``PARTS`` parts with the options ``MULTIPART``."""
PARTS = 6
HELD = 3


def held_in_the_middle(
    ingest: Ingest, api: LocalFilesApi, *words: str, manifest: str = "out.jsonl"
) -> Running:
    """Start a publish, and return when all parts but one are sent and in the journal."""
    api.script(Fault(where="put-part", what="stall", at="middle", part=HELD))
    running = ingest.start(*words)
    until(
        lambda: ingest.parts_sent(manifest) == PARTS - 1 or running.process.poll() is not None,
        "all parts but one are in the journal",
    )
    assert running.process.poll() is None, running.wait().err
    assert parts_put(api) == list(range(1, PARTS + 1))
    api.clear_requests()
    return running


def assert_only_the_missing_part_is_sent(
    ingest: Ingest, api: LocalFilesApi, *words: str, manifest: Path | None = None
) -> None:
    """Run the command that ``held_in_the_middle`` has begun once more, to its end."""
    api.clear_faults()
    api.clear_requests()

    result = ingest.start(*words).wait()

    assert result.code == 0, result.err
    assert sent(api) == ["put-part", "complete"]
    assert parts_put(api) == [HELD]
    assert f"{PARTS - 1} of {PARTS} parts are there" in result.err
    (file,) = api.files()
    assert api.stored_bytes(file["id"]) == CONTENT
    if manifest is not None:
        (entry,) = entries(manifest).values()
        assert (entry["file_id"], entry["parts"]) == (file["id"], PARTS)
        assert not Path(f"{manifest}.journal").exists()


def assert_stopped(result: Result, sent: Collection[int]) -> None:
    """It ended cleanly, and told that these parts of the one file are sent."""
    assert result.code == 130, result.err
    length = -(-len(CONTENT) // PARTS)
    sent_bytes = sum(len(CONTENT[(n - 1) * length : n * length]) for n in sent)
    assert result.errors == [
        "ingest: stopping; parts in flight get a few seconds",
        "ingest: stopped; 0 of 1 files are published; of large.jsonl, "
        f"{len(sent)} of {PARTS} parts ({sent_bytes / 1e3:.1f} kB of {len(CONTENT) / 1e3:.1f} kB) "
        "are sent and kept; run the same command again to go on",
    ]
    assert "Traceback" not in result.err


def processes_of(running: Running) -> list[str]:
    """The commands of the run's processes, but for those that are dead and not yet buried."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "sess=,stat=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    session = str(running.process.pid)
    return [row[2] for row in rows if row[0] == session and not row[1].startswith("Z")]
