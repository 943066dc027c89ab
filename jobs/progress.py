"""What a person sees of long work: bars on a terminal, plain lines in a log. All of it on stderr.

The driver tells a ``Progress`` what it has finished; bytes count once they are validated, or
acknowledged by the store, never when they are merely read. stdout is for results alone.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol, TextIO

_LINE_EVERY_S = 10.0


class Progress(Protocol):
    """Follows one stage after another."""

    def stage(self, title: str, total_bytes: int, total_files: int) -> None:
        """A stage begins, with this much to do."""

    def advance(self, done_bytes: int, files: int = 0) -> None:
        """That much more is done. Safe to call from any thread."""

    def note(self, line: str) -> None:
        """Something a person should read."""

    def finished(self, line: str) -> None:
        """One file reached its end; a terminal's bars tell it without a line."""

    def close(self) -> None:
        """The work is over, well or not."""


class Silent:
    """Tells nothing: for ``publish`` called from Python."""

    def stage(self, title: str, total_bytes: int, total_files: int) -> None:
        """See ``Progress``."""

    def advance(self, done_bytes: int, files: int = 0) -> None:
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
        self._title = ""
        self._done_bytes = self._total_bytes = self._done_files = self._total_files = 0
        self._started = time.monotonic()
        self._closed = threading.Event()
        threading.Thread(target=self._tick, name="progress", daemon=True).start()

    def stage(self, title: str, total_bytes: int, total_files: int) -> None:
        """See ``Progress``."""
        with self._lock:
            self._title = title
            self._total_bytes, self._total_files = total_bytes, total_files
            self._done_bytes = self._done_files = 0
            self._started = time.monotonic()
        if total_files:
            self._write(f"{title}: {total_files} files, {_size(total_bytes)}")

    def advance(self, done_bytes: int, files: int = 0) -> None:
        """See ``Progress``."""
        with self._lock:
            self._done_bytes += done_bytes
            self._done_files += files

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
                done, total = self._done_bytes, self._total_bytes
                files = f"{self._done_files}/{self._total_files} files"
                elapsed_s = max(time.monotonic() - self._started, 0.001)
                title = self._title
            if not title or done >= total:
                continue
            rate = done / elapsed_s
            left = f", {(total - done) / rate:.0f} s left" if rate else ""
            self._write(
                f"{title}: {files}, {_size(done)} of {_size(total)}, {rate / 1e6:.1f} MB/s{left}"
            )

    def _write(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


def for_stream(stream: TextIO) -> Progress:
    """Bars where ``stream`` is a terminal, else lines."""
    if not stream.isatty():
        return Lines(stream)
    # Rich takes a while to import, and a log needs none of it.
    from rich.console import Console

    from jobs.progress_bars import Bars

    console = Console(file=stream)
    return Bars(console) if console.is_terminal and not console.is_dumb_terminal else Lines(stream)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"
