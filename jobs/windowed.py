"""Hands many small jobs to an engine, a bounded number at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from typing import Any

from ingest.errors import Interrupted, Retryable

_LOOK_UP_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work: how to hand it to the engine, and what to do with its future.

    Attributes:
        tries: how often it is handed over in all while its fault is a passing one.
    """

    submit: Callable[[], Future[Any]]
    done: Callable[[Future[Any]], None]
    tries: int = 3


def run_windowed(jobs: Iterable[Job], window: Callable[[], int], stop: threading.Event) -> None:
    """Run jobs with at most ``window`` in flight, so that memory does not grow with their number.

    The window is asked for before each job: a cluster that grows is given more.

    ``done`` is called in this thread, in the order in which jobs finish.

    Raises:
        Interrupted: ``stop`` was set; what was in flight is dropped.
    """
    in_flight: dict[Future[Any], Job] = {}
    for job in jobs:
        in_flight[job.submit()] = job
        while len(in_flight) >= window():
            _collect(in_flight, stop)
    while in_flight:
        _collect(in_flight, stop)


def _collect(in_flight: dict[Future[Any], Job], stop: threading.Event) -> None:
    """Wait until something is done, and take all that is."""
    finished: set[Future[Any]] = set()
    while not finished:
        if stop.is_set():
            for future in in_flight:
                future.cancel()
            raise Interrupted("stopped before anything was sent; run the same command again")
        finished, _ = wait(in_flight, timeout=_LOOK_UP_EVERY_S, return_when=FIRST_COMPLETED)
    for future in finished:
        job = in_flight.pop(future)
        if job.tries > 1 and isinstance(future.exception(), Retryable):
            in_flight[job.submit()] = replace(job, tries=job.tries - 1)
        else:
            job.done(future)
