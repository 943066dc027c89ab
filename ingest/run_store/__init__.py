"""Where a run keeps its manifest and, beside it, its journal: a folder, or a prefix in S3.

Two implementations of one small interface. The driver alone writes here. Locally the journal is
one append-only file that is locked while a run is open; in S3, which cannot append, it is numbered
objects, and a lock object with a heartbeat keeps a second run out, so that a run can be finished
on another machine.
"""

from __future__ import annotations

from typing import Protocol

from ingest.run_store.local import LocalRunStore
from ingest.run_store.s3 import S3RunStore

__all__ = ["LocalRunStore", "RunStore", "S3RunStore", "run_store"]


class RunStore(Protocol):
    """The bytes of one manifest and its journal, and the right to change them.

    ``open`` takes the lock, and everything else but ``read_*`` needs it.
    """

    location: str

    def open(self) -> None:
        """Take the lock. Raises ManifestError when another run has it."""

    def close(self) -> None:
        """Give the lock back; the journal stays if it holds anything."""

    def in_use(self) -> bool:
        """Whether some run has the lock now."""

    def read_manifest(self) -> bytes | None:
        """The manifest; None when there is none."""

    def replace_manifest(self, content: bytes) -> None:
        """Write the manifest, whole or not at all."""

    def read_journal(self) -> bytes:
        """All that was appended so far, in order."""

    def append(self, lines: bytes) -> None:
        """Add to the journal; on return the lines survive a crash of the machine."""

    def clear_journal(self) -> None:
        """Forget the journal: nothing is open any more."""


def run_store(manifest: str, s3_endpoint: str | None = None) -> RunStore:
    """The store for a manifest at a path or at ``s3://bucket/key``."""
    if manifest.startswith("s3://"):
        return S3RunStore(manifest, s3_endpoint)
    return LocalRunStore(manifest)
