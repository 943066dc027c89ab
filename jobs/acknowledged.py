"""What the store has acknowledged of each file, told to a ``Progress`` so that its sums stay true.

The uploader tells of bodies; ``jobs.uploading`` tells how a file ended. A file that the API had
already, or that fails, would leave a rest that is never sent, and a bar that never gets there.
Safe to use from several threads.
"""

from __future__ import annotations

import threading

from ingest.errors import IngestError, Interrupted
from ingest.files import UploadFile
from jobs.progress import Progress


class Acknowledged:
    """Bytes and parts by file."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._sent: dict[str, tuple[int, int]] = {}

    def sent(self, name: str, size_bytes: int, parts: int, earlier: bool) -> None:
        """So much more of a file is at the store; negative where it does not count any more."""
        with self._lock:
            before = self._sent.get(name, (0, 0))
            self._sent[name] = (before[0] + size_bytes, before[1] + parts)
        self._progress.advance(size_bytes, parts=parts, earlier=earlier)

    def replanned(self, before: UploadFile, after: UploadFile) -> None:
        """A file goes in other parts than were planned; none of them is sent yet."""
        more = len(after.parts) - len(before.parts)
        with self._lock:
            size_bytes, parts = self._sent.get(before.name, (0, 0))
            self._sent[before.name] = (size_bytes, parts - more)
        self._progress.drop(0, 0, -more)

    def arrived(self, file: UploadFile) -> None:
        """The API has all of a file; what was not sent was there already."""
        self._progress.advance(*self._rest(file), earlier=True)

    def failed(self, file: UploadFile, error: IngestError) -> None:
        """The rest of a file will not be sent by this run; after Ctrl-C it is still to be sent."""
        if not isinstance(error, Interrupted):
            self._progress.drop(*self._rest(file))

    def _rest(self, file: UploadFile) -> tuple[int, int, int]:
        with self._lock:
            size_bytes, parts = self._sent.get(file.name, (0, 0))
        return file.size_bytes - size_bytes, 0, len(file.parts) - parts
