"""One brake for all requests of a run: what a 429 or a 503 slows down, and how that recovers.

The driver makes every API call and hands out every body, so the one ``Throttle`` that its threads
share slows a whole cluster down together. It works as TCP does: a refusal halves the number of
bodies in flight and holds back whatever has not started; each success then gives a fraction of a
place back, until all places are open again. Nothing here sends anything.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ingest.retries import backoff_s


class Throttle:
    """Safe to share between threads. Times are those of ``clock``, in seconds.

    Args:
        most: how many bodies may be in flight while nothing refuses.
        note: told when the run slows down.
        clock: the present; a test brings its own.
    """

    def __init__(
        self,
        most: int,
        note: Callable[[str], None] = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self._most = most
        self._note = note
        self._lock = threading.Lock()
        self._limit = float(most)
        self._opens_at = self._slowed_at = float("-inf")
        self._refusals = 0  # in a row

    @property
    def limit(self) -> int:
        """How many bodies may be in flight now; at least 1."""
        return int(self._limit)

    def opens_in_s(self) -> float:
        """How long no request may start; 0 when one may."""
        return max(0.0, self._opens_at - self.clock())

    def wait(self, stop: threading.Event) -> None:
        """Return when a request may start, or ``stop`` is set."""
        while (pause_s := self.opens_in_s()) and not stop.wait(pause_s):
            pass  # it may have been held back further meanwhile

    def slow_down(self, started: float, wish_s: float | None) -> None:
        """A request that started at ``started`` was refused; the server may have told for how long.

        Of requests that were under way together only the first one counts: they met the same load.
        """
        with self._lock:
            now = self.clock()
            if wish_s is not None:
                self._opens_at = max(self._opens_at, now + wish_s)
            if started <= self._slowed_at:
                return
            self._slowed_at = now
            self._refusals += 1
            self._limit = max(1.0, self._limit / 2)
            self._opens_at = max(self._opens_at, now + backoff_s(self._refusals))
            limit, pause_s = self.limit, self._opens_at - now
        self._note(
            f"the server asks to slow down: a pause of {pause_s:.1f} s, "
            f"then {limit} of {self._most} requests at a time until it recovers"
        )

    def recover(self, started: float) -> None:
        """A request that started at ``started`` succeeded."""
        with self._lock:
            if started > self._slowed_at:
                self._refusals = 0
                self._limit = min(float(self._most), self._limit + 1 / self._limit)
