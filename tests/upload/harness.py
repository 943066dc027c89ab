"""An upload as a run does it: journal on disk, workers in threads, the local Files API beyond."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ingest.bodies import Bodies, UploadOptions
from ingest.files import Part, Segment, UploadFile
from ingest.files_api import FilesApi
from ingest.journal import Attempt, Journal, JournalState, replay
from ingest.run_store import LocalRunStore
from ingest.serve import LocalFilesApi
from ingest.sources import stat_source
from ingest.transfer import PutResult, PutTask, put_body
from ingest.upload import Uploaded, Uploader
from tests.fixtures.files_api import MIN_PART_SIZE_BYTES


class Crash(BaseException):
    """What the driver dies of; nothing in it may catch this."""


class CrashingJournal(Journal):
    """Dies before or after one of its events reaches the disk."""

    def __init__(self, store: LocalRunStore, number: int | None, when: str) -> None:
        super().__init__(store)
        self.events: list[str] = []
        self._number = number
        self._when = when

    def record(self, event: str, **fields: Any) -> None:
        self.events.append(event)
        last = self._number is not None and len(self.events) > self._number
        if not last or (self._when == "after" and len(self.events) == (self._number or 0) + 1):
            super().record(event, **fields)
        if last:
            raise Crash


@dataclass
class Harness:
    """Runs uploads of one file, one after the other, as runs of one command would.

    ``edit`` is what a worker does with the result of a PUT; ``before_send`` with its task.
    """

    client: FilesApi
    api: LocalFilesApi
    folder: Path
    options: dict[str, Any] = field(default_factory=dict)
    before_send: Callable[[PutTask], None] = lambda _task: None
    edit: Callable[[PutTask, PutResult], PutResult] = lambda _task, result: result
    stop: threading.Event = field(default_factory=threading.Event)
    notes: list[str] = field(default_factory=list)
    sent_bytes: list[int] = field(default_factory=list)
    told: list[tuple[int, bool]] = field(default_factory=list)
    most_in_flight: int = 0

    @property
    def path(self) -> Path:
        return self.folder / "source"

    def file(self, data: bytes, parts: int = 0) -> UploadFile:
        """A file of this content, in so many parts of 64 KiB (the last may have less)."""
        if not self.path.exists() or self.path.read_bytes() != data:
            self.path.write_bytes(data)
        size = MIN_PART_SIZE_BYTES
        assert not parts or (parts - 1) * size < len(data) <= parts * size
        return UploadFile(
            name="a.jsonl",
            file_type="jsonl",
            segments=(Segment(stat_source(str(self.path), "a.jsonl"), 0, len(data)),),
            parts=tuple(
                Part(n + 1, n * size, min(size, len(data) - n * size)) for n in range(parts)
            ),
        )

    def upload(
        self, file: UploadFile, *, crash_at: int | None = None, when: str = "after"
    ) -> Uploaded:
        """One run: take the journal up and bring the file to the API."""
        self.sent_bytes.clear()
        self.told.clear()
        store = LocalRunStore(str(self.folder / "out.jsonl"))
        store.open()
        pool = ThreadPoolExecutor(8)
        in_flight: set[Future[PutResult]] = set()

        def put(task: PutTask) -> PutResult:
            self.before_send(task)
            return self.edit(task, put_body(task))

        def send(task: PutTask) -> Future[PutResult]:
            future = pool.submit(put, task)
            in_flight.add(future)
            self.most_in_flight = max(self.most_in_flight, sum(not f.done() for f in in_flight))
            return future

        try:
            state = replay(store.read_journal(), store.location)
            bodies = Bodies(
                journal=CrashingJournal(store, crash_at, when),
                send=send,
                options=UploadOptions(
                    **{
                        "purpose": "fine-tune",
                        "base_url": self.client.base_url,
                        "part_timeout_s": 20.0,
                        "local": True,
                        "insecure": True,
                        **self.options,
                    }
                ),
                stop=self.stop,
                on_sent=self.count,
                note=self.notes.append,
            )
            sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
            uploader = Uploader(self.client, bodies)
            return uploader.upload(file, sha256, state.attempts_by_name().get(file.name, ()))
        finally:
            store.close()
            if self.stop.is_set():
                self.api.clear_faults()
            pool.shutdown()

    def count(self, _name: str, size_bytes: int, parts: int, earlier: bool) -> None:
        """What the uploader calls once something is acknowledged."""
        self.sent_bytes.append(size_bytes)
        self.told.append((parts, earlier))

    def journal(self) -> JournalState:
        """What the journal says now."""
        path = self.folder / "out.jsonl.journal"
        return replay(path.read_bytes() if path.exists() else b"", "out.jsonl")

    def attempt(self) -> Attempt:
        """The latest attempt, as the journal has it."""
        return list(self.journal().attempts.values())[-1]

    # --- what the server saw --------------------------------------------------------------------

    def parts_put(self) -> list[int]:
        """The numbers of the parts that the server took in since its log was cleared."""
        return sorted(s.part or 0 for s in self.api.requests("put-part") if s.status == 200)

    def open_uploads(self) -> set[str | None]:
        """The files whose multipart upload is open at the server."""
        opened = {s.file_id for s in self.api.requests("initiate") if s.status == 200}
        ended = [*self.api.requests("abort"), *self.api.requests("complete")]
        finished = {file["id"] for file in self.api.files()}
        return opened - {s.file_id for s in ended if s.status == 200} - finished

    def assert_uploaded(self, done: Uploaded, data: bytes) -> None:
        """Exactly one finished file, and its bytes are ours."""
        (file,) = self.api.files()
        assert (file["id"], file["bytes"]) == (done.remote.id, len(data))
        assert self.api.stored_bytes(done.remote.id) == data
