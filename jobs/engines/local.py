"""The engine for one machine: processes validate, threads hash and send.

Hashing and sending release Python's lock, so threads keep all cores busy; parsing does not, so it
gets processes. Where there is little to read, threads validate too: processes take longer to
start than the work takes.

Nothing outlives the run: `close` ends a slice or a hash in its middle, and a worker process whose
driver is gone, even by SIGKILL, ends by itself.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING

from ingest.digest import digest_segments
from ingest.errors import IngestError
from ingest.files import Segment, SliceTask, SourceFile
from ingest.validation import SliceResult, validate_slice
from jobs.worker_processes import CONTEXT, WORTH_PROCESSES_BYTES, begin_worker

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from ingest.transfer import PutResult, PutTask
    from jobs.engines.send_threads import SendingThreads


class LocalEngine:
    """Pools of this machine."""

    name = "local"

    def __init__(self, workers: int | None, total_bytes: int, max_in_flight: int) -> None:
        self.workers = workers or os.cpu_count() or 1
        self._closed = threading.Event()
        self._lifeline: Connection | None = None
        self._validators: ProcessPoolExecutor | ThreadPoolExecutor
        if total_bytes < WORTH_PROCESSES_BYTES:
            self._validators = ThreadPoolExecutor(self.workers, "validate")
        else:
            end, self._lifeline = CONTEXT.Pipe(duplex=False)
            self._validators = ProcessPoolExecutor(
                self.workers, mp_context=CONTEXT, initializer=begin_worker, initargs=(end,)
            )
        self._hashers = ThreadPoolExecutor(self.workers, "hash")
        self._senders: SendingThreads | None = None
        if max_in_flight:
            # It brings `requests` along, for which a check should not wait.
            from jobs.engines.send_threads import SendingThreads

            self._senders = SendingThreads(max_in_flight)

    def validate(self, task: SliceTask) -> Future[SliceResult]:
        """See ``Engine``."""
        outcome: Future[SliceResult] = Future()
        outcome.set_running_or_notify_cancel()

        def settle(inner: Future[SliceResult]) -> None:
            try:
                outcome.set_result(inner.result())
            except BrokenExecutor:
                outcome.set_exception(_worker_killed(task))
            except BaseException as error:  # CancelledError too: the engine was closed
                outcome.set_exception(error)

        try:
            self._validators.submit(validate_slice, task).add_done_callback(settle)
        except BrokenExecutor:
            raise _worker_killed(task) from None
        return outcome

    def digest(self, segments: tuple[Segment, ...]) -> Future[str]:
        """See ``Engine``."""
        return self._hashers.submit(digest_segments, segments, self._closed)

    def put(self, task: PutTask) -> Future[PutResult]:
        """See ``Engine``."""
        assert self._senders is not None, "the engine was started for a run that sends nothing"
        return self._senders.put(task)

    def check_sources(self, sources: tuple[SourceFile, ...]) -> None:
        """See ``Engine``: the workers are on this machine."""

    def close(self) -> None:
        """See ``Engine``."""
        self._closed.set()
        for pool in (self._validators, self._hashers):
            pool.shutdown(wait=False, cancel_futures=True)
        if self._lifeline is not None:
            self._lifeline.close()
        if self._senders is not None:
            self._senders.close()


def _worker_killed(task: SliceTask) -> IngestError:
    return IngestError(
        f"{task.source.uri}: a validating process was killed (out of memory?); "
        "--workers 1 needs less"
    )
