"""Live bars on a terminal: the ``Progress`` (``jobs.progress``) of a person who is watching."""

from __future__ import annotations

import threading

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class Bars:
    """One live bar for the stage at hand; notes scroll above it."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TextColumn("{task.fields[files]} files"),
            TimeRemainingColumn(),
            console=console,
        )
        self._lock = threading.Lock()
        self._task: TaskID | None = None
        self._done_files = self._total_files = 0
        self._bars.start()

    def stage(self, title: str, total_bytes: int, total_files: int) -> None:
        """See ``Progress``."""
        with self._lock:
            self._done_files, self._total_files = 0, total_files
            if not total_files:
                return
            self._task = self._bars.add_task(title, total=total_bytes, files=f"0/{total_files}")

    def advance(self, done_bytes: int, files: int = 0) -> None:
        """See ``Progress``."""
        with self._lock:
            if self._task is None:
                return
            self._done_files += files
            self._bars.update(
                self._task, advance=done_bytes, files=f"{self._done_files}/{self._total_files}"
            )

    def note(self, line: str) -> None:
        """See ``Progress``."""
        self._bars.console.print(line, markup=False, highlight=False)

    def finished(self, line: str) -> None:
        """See ``Progress``."""

    def close(self) -> None:
        """See ``Progress``."""
        self._bars.stop()
