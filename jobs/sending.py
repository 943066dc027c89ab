"""The queue of bodies in front of an engine: in which order, how many at a time, how fast.

The threads that bring files put their bodies in; one thread hands them to the engine. It alone
knows what is in flight over all files and workers, so it is where ``--max-in-flight``,
``--max-bandwidth`` and the throttling of the whole cluster are kept. A file that was begun goes
before one that was not: fewer uploads are open at a time, and their URLs do not expire.

    send() ────────┐
                   ├──> notes ──> the thread ──> engine.put
    body has ended ┘                  └──> the body's future
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import TypeAlias

from ingest.bandwidth import Bandwidth
from ingest.errors import Retryable
from ingest.files import Segment
from ingest.throttle import Throttle
from ingest.transfer import PutResult, PutTask


@dataclass(slots=True)
class _Body:
    """A body that waits or is in flight."""

    task: PutTask
    future: Future[PutResult] = field(default_factory=Future)
    file_rank: int = 0
    number: int = 0
    started: float = 0.0

    def __lt__(self, other: _Body) -> bool:
        """Those of the file that came first go first."""
        return (self.file_rank, self.number) < (other.file_rank, other.number)


@dataclass(frozen=True, slots=True)
class _Ended:
    body: _Body
    outcome: Future[PutResult]


@dataclass(frozen=True, slots=True)
class _Closed:
    """The queue is over."""


_Note: TypeAlias = "_Body | _Ended | _Closed"


class Sending:
    """A context manager: leaving it ends the queue; bodies that wait then fail as retryable.

    Args:
        put: hands one attempt to a worker; ``Engine.put``.
        throttle: how many may be in flight, and when.
        max_bandwidth: bytes a second over all workers.
    """

    def __init__(
        self,
        put: Callable[[PutTask], Future[PutResult]],
        throttle: Throttle,
        max_bandwidth: float | None = None,
    ) -> None:
        self._put = put
        self._throttle = throttle
        self._bandwidth = Bandwidth(max_bandwidth) if max_bandwidth else None
        self._notes: SimpleQueue[_Note] = SimpleQueue()
        self._waiting: list[_Body] = []  # a heap
        self._in_flight = 0
        self._queued = 0
        self._ranks: dict[tuple[Segment, ...], int] = {}
        self._thread = threading.Thread(target=self._work, name="sending", daemon=True)

    def __enter__(self) -> Sending:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._notes.put(_Closed())
        self._thread.join()

    def send(self, task: PutTask) -> Future[PutResult]:
        """Queue one attempt; until it is handed out its future can be cancelled."""
        body = _Body(task)
        self._notes.put(body)
        return body.future

    def _work(self) -> None:
        pause_s: float | None = None
        while not isinstance(note := self._next_note(pause_s), _Closed):
            if isinstance(note, _Body):
                self._enqueue(note)
            elif note is not None:
                self._take(note)
            pause_s = self._hand_out()
        for body in self._waiting:
            if body.future.set_running_or_notify_cancel():
                body.future.set_exception(Retryable(f"{body.task.label}: the run has ended"))

    def _next_note(self, pause_s: float | None) -> _Note | None:
        """The next note; None when ``pause_s`` have passed without one."""
        try:
            return self._notes.get(timeout=pause_s)
        except Empty:
            return None

    def _enqueue(self, body: _Body) -> None:
        self._queued += 1
        body.number = self._queued
        body.file_rank = self._ranks.setdefault(body.task.segments, len(self._ranks))
        heapq.heappush(self._waiting, body)

    def _hand_out(self) -> float | None:
        """Hand out what may go now.

        Returns:
            After how many seconds to look again though no note comes; None where only a note, of
            a body that has ended say, can change anything. It comes from the reading of the clock
            that held a body back: a later one could find nothing left to wait for.
        """
        while self._waiting:
            body = self._waiting[0]
            if not body.future.cancelled():
                if pause_s := self._throttle.opens_in_s():
                    return pause_s
                room = self._throttle.limit - self._in_flight
                if room <= 0:
                    return None
                now = self._throttle.clock()
                if not self._take_bandwidth(body, min(room, len(self._waiting)), now):
                    assert self._bandwidth is not None
                    change = self._bandwidth.next_change(now)
                    return None if change is None else change - now
            heapq.heappop(self._waiting)
            self._start(body)
        return None

    def _take_bandwidth(self, body: _Body, rivals: int, now: float) -> bool:
        """Give the body its rate; False when it has to wait for one."""
        if self._bandwidth is None:
            return True
        task = body.task
        rate = self._bandwidth.take(task.length, task.timeout_s, rivals, now)
        if rate is None:
            return False
        expected_s = max(task.expected_s, task.length / rate)
        body.task = replace(task, rate_bytes_s=rate, expected_s=expected_s)
        return True

    def _start(self, body: _Body) -> None:
        self._in_flight += 1
        body.started = self._throttle.clock()
        if not body.future.set_running_or_notify_cancel():
            self._end(body, body.started)
            return
        try:
            outcome = self._put(body.task)
        except Exception as error:  # this thread must live on: other bodies wait for it
            self._end(body, body.started)
            body.future.set_exception(error)
            return
        outcome.add_done_callback(lambda done: self._notes.put(_Ended(body, done)))

    def _take(self, ended: _Ended) -> None:
        body, error = ended.body, ended.outcome.exception()
        now = self._throttle.clock()
        if error is None:
            rate = body.task.rate_bytes_s
            self._end(body, body.started + body.task.length / rate if rate else now)
            body.future.set_result(ended.outcome.result())
            self._throttle.recover(body.started)
            return
        self._end(body, now)
        body.future.set_exception(error)
        if isinstance(error, Retryable) and error.throttled:
            self._throttle.slow_down(body.started, error.retry_after_s)

    def _end(self, body: _Body, until: float) -> None:
        """A body is not in flight any more; its rate counts ``until`` then."""
        self._in_flight -= 1
        if self._bandwidth is not None and body.task.rate_bytes_s is not None:
            self._bandwidth.give_back(body.task.rate_bytes_s, until, self._throttle.clock())
