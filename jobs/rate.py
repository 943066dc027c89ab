"""How fast a stage goes and how long it will take: arithmetic on what is done, without a clock.

Used by ``jobs.progress``. Speed is what this run has moved lately; what an earlier run had done
counts as done, and never as speed. Nothing here prints or waits.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW_S = 60.0
"""Speed is that of the last minute: links and stores change theirs."""
_BUCKET_S = 0.5
# Parts of 250 MiB are acknowledged seldom: a minute may hold one, or none.
_LEAST_BUCKETS = 8


@dataclass
class Meter:
    """One stage. Times are ``time.monotonic``'s; not safe for several threads.

    Attributes:
        done_bytes: of this run and of earlier ones.
        moved_bytes: of this run alone, also what had to be taken back since: it was sent.
    """

    title: str
    total_bytes: int
    total_files: int
    total_parts: int
    started_s: float
    done_bytes: int = 0
    done_files: int = 0
    done_parts: int = 0
    moved_bytes: int = 0
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._samples.append((self.started_s, 0))

    def add(self, done_bytes: int, files: int, parts: int, now_s: float, *, earlier: bool) -> None:
        """So much more is done; less where it is negative."""
        self.done_bytes += done_bytes
        self.done_files += files
        self.done_parts += parts
        if earlier or done_bytes <= 0:
            return
        self.moved_bytes += done_bytes
        # A sample stands for all that followed within half a second.
        if len(self._samples) > 1 and now_s - self._samples[-1][0] < _BUCKET_S:
            self._samples[-1] = (self._samples[-1][0], self.moved_bytes)
        else:
            self._samples.append((now_s, self.moved_bytes))
        while len(self._samples) > _LEAST_BUCKETS + 1 and self._samples[1][0] < now_s - WINDOW_S:
            self._samples.popleft()

    def drop(self, left_bytes: int, files: int, parts: int) -> None:
        """So much will not be done."""
        self.total_bytes -= left_bytes
        self.total_files -= files
        self.total_parts -= parts

    @property
    def over(self) -> bool:
        """Whether all is done."""
        return self.done_bytes >= self.total_bytes and self.done_files >= self.total_files

    def rate_bytes_s(self, now_s: float) -> float:
        """Bytes a second of late; it falls while nothing moves. 0 before anything has."""
        since_s, before = self._samples[0]
        return (self.moved_bytes - before) / max(now_s - since_s, 0.001)

    def left_s(self, now_s: float) -> float | None:
        """Seconds until the last byte is done, at this speed.

        None while there is no speed to go by, and once only the API's answers are missing.
        """
        left = self.total_bytes - self.done_bytes
        rate = self.rate_bytes_s(now_s)
        return left / rate if rate and left > 0 else None


def duration_text(seconds: float) -> str:
    """``35 s``, ``4 min 10 s``, ``2 h 05 min``, ``3 d 04 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"


UNITS = {"TB": 1e12, "GB": 1e9, "MB": 1e6, "kB": 1e3, "B": 1.0}


def bytes_text(size_bytes: float) -> str:
    """``999 B``, ``1.5 kB``, ``375.0 MB``, ``1.20 TB``: decimal, as speeds are."""
    unit = next((unit for unit, factor in UNITS.items() if size_bytes >= factor), "B")
    amount = size_bytes / UNITS[unit]
    digits = 0 if unit == "B" else 2 if unit in ("GB", "TB") and amount < 100 else 1
    return f"{amount:.{digits}f} {unit}"
