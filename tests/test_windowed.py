"""The window of jobs in flight: bounded, refilled, and as wide as the engine is at the time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from ingest.errors import Interrupted, Retryable
from jobs.windowed import Job, run_windowed


class Worker:
    """Takes jobs, and does them in order: one when there is no more room, and all at the end."""

    def __init__(self, jobs: int, window: int) -> None:
        self.window = window
        self.widest = 0
        self.done: list[int] = []
        self._jobs = jobs
        self._taken: list[tuple[int, Future[Any]]] = []

    def job(self, number: int) -> Job:
        return Job(lambda: self._take(number), lambda future: self.done.append(future.result()))

    def room(self) -> int:
        if len(self._taken) >= self.window:
            self._do_one()
        return self.window

    def _take(self, number: int) -> Future[Any]:
        future: Future[Any] = Future()
        self._taken.append((number, future))
        self.widest = max(self.widest, number + 1 - len(self.done))
        while number == self._jobs - 1 and self._taken:
            self._do_one()
        return future

    def _do_one(self) -> None:
        number, future = self._taken.pop(0)
        future.set_result(number)


def test_no_more_jobs_are_in_flight_than_the_window_is_wide() -> None:
    worker = Worker(jobs=10, window=3)
    run_windowed((worker.job(n) for n in range(10)), worker.room, threading.Event())
    assert sorted(worker.done) == list(range(10))
    assert worker.widest == 3


def test_a_window_that_grows_is_filled() -> None:
    worker = Worker(jobs=10, window=2)

    def jobs() -> Iterator[Job]:
        for number in range(10):
            worker.window = 2 if number < 5 else 4
            yield worker.job(number)

    run_windowed(jobs(), worker.room, threading.Event())
    assert sorted(worker.done) == list(range(10))
    assert worker.widest == 4


def test_a_job_that_fails_in_passing_is_tried_again_and_then_told() -> None:
    tries: list[int] = []
    told: list[Future[Any]] = []

    def submit() -> Future[Any]:
        tries.append(1)
        future: Future[Any] = Future()
        future.set_exception(Retryable("not now"))
        return future

    run_windowed([Job(submit, told.append)], lambda: 1, threading.Event())
    assert len(tries) == 3
    (failed,) = told
    assert isinstance(failed.exception(), Retryable)


def test_a_stop_drops_what_is_in_flight() -> None:
    stop = threading.Event()
    stop.set()
    never: Future[Any] = Future()
    with pytest.raises(Interrupted):
        run_windowed([Job(lambda: never, pytest.fail)], lambda: 5, stop)
    assert never.cancelled()
