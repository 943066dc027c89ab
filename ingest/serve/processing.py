"""Takes finished files through their processing states, in the background and one at a time.

    PENDING -> QUEUED -> RUNNING -> COMPLETED | INVALID_FORMAT | FAILED

The endpoints add a file when all its bytes are in. Only the first and the last state are written
to disk: what was under way when the server stopped is queued anew at the next start.
"""

from __future__ import annotations

import asyncio
import logging

from ingest.serve.examination import Examiner, Job
from ingest.serve.records import FINAL_STATES, Catalog, FileRecord, ProcessingStatus
from ingest.serve.storage import Storage

_log = logging.getLogger(__name__)


class Processing:
    """The queue of files to examine, and the task that works on it."""

    def __init__(self, catalog: Catalog, storage: Storage) -> None:
        self._catalog = catalog
        self._storage = storage
        self._examiner = Examiner()
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._progress = asyncio.Condition()
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, with what an earlier server left over."""
        for record in self._catalog:
            if record.finished and record.status not in FINAL_STATES:
                self.add(record.id)
        self._worker = asyncio.create_task(self._work())

    def add(self, file_id: str) -> None:
        """Process a file that has just been finished."""
        self._queue.put_nowait(file_id)
        asyncio.get_running_loop().call_soon(self._move, file_id, "PENDING", "QUEUED")

    async def ended(self, file_id: str) -> FileRecord:
        """Wait for a file's final state.

        Raises:
            KeyError: there is no such file, or no more.
        """

        def is_final() -> bool:
            record = self._catalog.get(file_id)
            return record is None or record.status in FINAL_STATES

        async with self._progress:
            await self._progress.wait_for(is_final)
        record = self._catalog.get(file_id)
        if record is None:
            raise KeyError(file_id)
        return record

    async def close(self) -> None:
        """Stop at once; an examination under way is given up."""
        if self._worker is not None:
            self._worker.cancel()
        await asyncio.to_thread(self._examiner.close)

    async def _work(self) -> None:
        while True:
            file_id = await self._queue.get()
            try:
                await self._process(file_id)
            except Exception:
                _log.exception("processing of %s failed", file_id)
                self._move(file_id, "RUNNING", "FAILED")
            async with self._progress:
                self._progress.notify_all()

    async def _process(self, file_id: str) -> None:
        self._move(file_id, "PENDING", "QUEUED")
        record = self._move(file_id, "QUEUED", "RUNNING")
        if record is None:
            return  # deleted meanwhile
        verdict = await asyncio.to_thread(self._examiner.run, self._job(record))
        current = self._catalog.get(file_id)
        if current is None:
            return
        update: dict[str, object] = {"status": verdict.status, "report": verdict.report}
        if verdict.status == "FAILED":
            update["checksum"] = None  # unproven: another upload must not be turned away for it
        self._catalog.save(current.model_copy(update=update))

    def _job(self, record: FileRecord) -> Job:
        return Job(
            uri=self._storage.uri(record.id),
            endpoint_url=self._storage.endpoint_url,
            name=record.filename,
            size_bytes=record.size_bytes,
            file_type=record.file_type,
            purpose=record.purpose,
            checksum=record.checksum,
        )

    def _move(
        self, file_id: str, before: ProcessingStatus, after: ProcessingStatus
    ) -> FileRecord | None:
        """Change a file's state if it is ``before``; its record, None if there is none."""
        record = self._catalog.get(file_id)
        if record is not None and record.status == before:
            record = record.model_copy(update={"status": after})
            self._catalog.note(record)
        return record
