"""What a person sees of long work: bars on a terminal, plain lines in a log. All of it on stderr.

The driver tells a ``Progress`` what it has finished; bytes count once they are validated, or
acknowledged by the store, never when they are merely read. stdout is for results alone.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Protocol, TextIO

from jobs.rate import Meter, bytes_text, duration_text

_LINE_EVERY_S = 10.0


class Progress(Protocol):
    """Follows one stage after another. Safe to call from any thread."""

    def stage(self, title: str, total_bytes: int, total_files: int, total_parts: int = 0) -> None:
        """A stage begins, with this much to do."""

    def advance(
        self, done_bytes: int, files: int = 0, parts: int = 0, *, earlier: bool = False
    ) -> None:
        """That much more is done; less, where it is negative.

        ``earlier`` says that it was done before, by another run say: it counts, but not as speed.
        """

    def drop(self, left_bytes: int, files: int = 0, parts: int = 0) -> None:
        """That much will not be done: its file failed."""

    def note(self, line: str) -> None:
        """Something a person should read."""

    def finished(self, line: str) -> None:
        """One file reached its end; a terminal's bars tell it without a line."""

    def close(self) -> None:
        """The work is over, well or not."""


class Silent:
    """Tells nothing: for ``publish`` called from Python."""

    def stage(self, title: str, total_bytes: int, total_files: int, total_parts: int = 0) -> None:
        """See ``Progress``."""

    def advance(
        self, done_bytes: int, files: int = 0, parts: int = 0, *, earlier: bool = False
    ) -> None:
        """See ``Progress``."""

    def drop(self, left_bytes: int, files: int = 0, parts: int = 0) -> None:
        """See ``Progress``."""

    def note(self, line: str) -> None:
        """See ``Progress``."""

    def finished(self, line: str) -> None:
        """See ``Progress``."""

    def close(self) -> None:
        """See ``Progress``."""


class Lines:
    """A plain line every ten seconds, and one for each finished file."""

    def __init__(self, stream: TextIO, every_s: float = _LINE_EVERY_S) -> None:
        self._stream = stream
        self._every_s = every_s
        self._lock = threading.Lock()
        self._meter: Meter | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._tick, name="progress", daemon=True).start()

    def stage(self, title: str, total_bytes: int, total_files: int, total_parts: int = 0) -> None:
        """See ``Progress``."""
        with self._lock:
            self._meter = Meter(title, total_bytes, total_files, total_parts, time.monotonic())
        if total_files:
            parts = f", {total_parts} parts" if total_parts else ""
            self._write(f"{title}: {total_files} files{parts}, {bytes_text(total_bytes)}")

    def advance(
        self, done_bytes: int, files: int = 0, parts: int = 0, *, earlier: bool = False
    ) -> None:
        """See ``Progress``."""
        with self._lock:
            if self._meter is not None:
                self._meter.add(done_bytes, files, parts, time.monotonic(), earlier=earlier)

    def drop(self, left_bytes: int, files: int = 0, parts: int = 0) -> None:
        """See ``Progress``."""
        with self._lock:
            if self._meter is not None:
                self._meter.drop(left_bytes, files, parts)

    def note(self, line: str) -> None:
        """See ``Progress``."""
        self._write(line)

    def finished(self, line: str) -> None:
        """See ``Progress``."""
        self._write(line)

    def close(self) -> None:
        """See ``Progress``."""
        self._closed.set()

    def _tick(self) -> None:
        while not self._closed.wait(self._every_s):
            with self._lock:
                going = self._meter is not None and not self._meter.over
                line = _line(self._meter, time.monotonic()) if going and self._meter else ""
            if line:
                self._write(line)

    def _write(self, line: str) -> None:
        # A log that nobody reads any more must not end a run.
        with contextlib.suppress(OSError, ValueError):
            print(line, file=self._stream, flush=True)


def _line(meter: Meter, now_s: float) -> str:
    """``upload: 3/5 files, 12/40 parts, 1.20 GB of 3.00 GB, 52.1 MB/s, 35 s left``."""
    facts = [f"{meter.done_files}/{meter.total_files} files"]
    if meter.total_parts:
        facts.append(f"{meter.done_parts}/{meter.total_parts} parts")
    facts.append(f"{bytes_text(meter.done_bytes)} of {bytes_text(meter.total_bytes)}")
    left_s = meter.left_s(now_s)
    if left_s is not None:
        facts.append(f"{bytes_text(meter.rate_bytes_s(now_s))}/s")
        facts.append(f"{duration_text(left_s)} left")
    return f"{meter.title}: {', '.join(facts)}"


def for_stream(stream: TextIO) -> Progress:
    """Bars where ``stream`` is a terminal, else lines."""
    # Not rich's word: FORCE_COLOR, which many a CI sets, makes it take a log for a terminal.
    if not stream.isatty():
        return Lines(stream)
    # Rich takes a while to import, and a log needs none of it.
    from rich.console import Console

    from jobs.progress_bars import Bars

    console = Console(file=stream)
    return Bars(console) if console.is_terminal and not console.is_dumb_terminal else Lines(stream)
