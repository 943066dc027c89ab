"""The SHA-256 of each upload file, worked out beside the validation of the same files.

Used by `ingest publish`, on either engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from functools import partial

from ingest.digest import digest_key
from ingest.errors import IngestError
from ingest.files import UploadFile
from ingest.journal import Journal
from jobs.engines import Engine
from jobs.progress import Progress
from jobs.windowed import Job


class Digests:
    """Collects the SHA-256 of upload files, keeping in the journal what was read for it.

    Attributes:
        known: by ``digest_key``; what earlier runs found is in it from the start.
    """

    def __init__(
        self, engine: Engine, journal: Journal, known: dict[str, str], progress: Progress
    ) -> None:
        self.known = known
        self._progress = progress
        self._failed: dict[str, IngestError] = {}
        self._engine = engine
        self._journal = journal

    def of(self, file: UploadFile) -> str | None:
        """The SHA-256 of ``file``, if it is known."""
        return self.known.get(digest_key(file.segments))

    def failure(self, file: UploadFile) -> IngestError:
        """Why the SHA-256 of ``file`` is not known."""
        return self._failed[digest_key(file.segments)]

    def jobs(self, files: Iterable[UploadFile], *, counted: bool = True) -> Iterator[Job]:
        """The hashing of those of ``files`` that are not known yet.

        ``counted`` says that the stage at hand consists of hashing, so that progress shows it.
        """
        for file in files:
            size_bytes = file.size_bytes if counted else 0
            if self.of(file) is None:
                yield Job(
                    partial(self._engine.digest, file.segments),
                    partial(self._take, digest_key(file.segments), size_bytes),
                )
            elif counted:
                self._progress.advance(size_bytes, files=1, earlier=True)

    def _take(self, key: str, size_bytes: int, future: Future[str]) -> None:
        if size_bytes:
            self._progress.advance(size_bytes, files=1)
        try:
            self.known[key] = future.result()
        except IngestError as error:
            self._failed[key] = error
        else:
            self._journal.record_lazily("hashed", key=key, sha256=self.known[key])
