"""The threads of the local engine that send bodies.

A module of its own, imported by runs that send: what it needs takes a while to import.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

from ingest.transfer import PutResult, PutTask, put_body


class SendingThreads:
    """As many threads as bodies may be sent at the same time."""

    def __init__(self, max_in_flight: int) -> None:
        self._threads = ThreadPoolExecutor(max_in_flight, "send")
        self._closed = threading.Event()

    def put(self, task: PutTask) -> Future[PutResult]:
        """See ``Engine``."""
        return self._threads.submit(put_body, task, self._closed)

    def close(self) -> None:
        """Drop what waits, and cut what is being sent: the run is over."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._closed.set()
