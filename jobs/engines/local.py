"""The engine for one machine: processes validate, threads hash and send.

Hashing and sending release Python's lock, so threads keep all cores busy; parsing does not, so it
gets processes. Where there is little to read, threads validate too: processes take longer to
start than the work takes.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor

from ingest.digest import digest_segments
from ingest.errors import IngestError
from ingest.files import Segment, SliceTask, SourceFile
from ingest.transfer import PutResult, PutTask, put_body
from ingest.validation import SliceResult, validate_slice
from ingest.watched_http import cut_all
from jobs.worker_processes import CONTEXT, WORTH_PROCESSES_BYTES


class LocalEngine:
    """Pools of this machine."""

    name = "local"

    def __init__(self, workers: int | None, total_bytes: int, max_in_flight: int) -> None:
        self.workers = workers or os.cpu_count() or 1
        self._validators: ProcessPoolExecutor | ThreadPoolExecutor
        if total_bytes < WORTH_PROCESSES_BYTES:
            self._validators = ThreadPoolExecutor(self.workers, "validate")
        else:
            self._validators = ProcessPoolExecutor(
                self.workers, mp_context=CONTEXT, initializer=_ignore_interrupts
            )
        self._hashers = ThreadPoolExecutor(self.workers, "hash")
        self._senders = ThreadPoolExecutor(max_in_flight, "send")

    def validate(self, task: SliceTask) -> Future[SliceResult]:
        """See ``Engine``."""
        try:
            return self._validators.submit(validate_slice, task)
        except BrokenExecutor:
            raise IngestError(
                f"{task.source.uri}: a validating process was killed (out of memory?); "
                "--workers 1 needs less"
            ) from None

    def digest(self, segments: tuple[Segment, ...]) -> Future[str]:
        """See ``Engine``."""
        return self._hashers.submit(digest_segments, segments)

    def put(self, task: PutTask) -> Future[PutResult]:
        """See ``Engine``."""
        return self._senders.submit(put_body, task)

    def check_sources(self, sources: tuple[SourceFile, ...]) -> None:
        """See ``Engine``: the workers are on this machine."""

    def close(self) -> None:
        """See ``Engine``."""
        for pool in (self._validators, self._hashers, self._senders):
            pool.shutdown(wait=False, cancel_futures=True)
        cut_all()


def _ignore_interrupts() -> None:
    """Ctrl-C goes to the whole process group; only the driver decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
