"""Live bars on a terminal: the ``Progress`` (``jobs.progress``) of a person who is watching."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from jobs.rate import UNITS, Meter, bytes_text

# Narrower than this, there is no room for a bar, nor for parts.
_BAR_FROM_COLUMNS = 76


class Bars:
    """One live bar for the stage at hand; notes scroll above it."""

    def __init__(self, console: Console) -> None:
        wide = console.width >= _BAR_FROM_COLUMNS
        bar = [BarColumn(bar_width=None, table_column=Column(ratio=1))] if wide else []
        facts = (_bytes, _speed, _files, *((_parts,) if wide else ()), _time)
        title = TextColumn("{task.description}", table_column=Column(no_wrap=True))
        self._bars = Progress(title, *bar, *map(_Fact, facts), console=console, expand=wide)
        self._lock = threading.Lock()
        self._task: TaskID | None = None
        self._meter: Meter | None = None
        self._bars.start()

    def stage(self, title: str, total_bytes: int, total_files: int, total_parts: int = 0) -> None:
        """See ``Progress``."""
        self._end_stage()
        if not total_files:
            return
        meter = Meter(title, total_bytes, total_files, total_parts, time.monotonic())
        task = self._bars.add_task(title, total=total_bytes, meter=meter, ended_s=None)
        with self._lock:
            self._meter, self._task = meter, task

    def advance(
        self, done_bytes: int, files: int = 0, parts: int = 0, *, earlier: bool = False
    ) -> None:
        """See ``Progress``."""
        with self._lock:
            if self._meter is not None:
                self._meter.add(done_bytes, files, parts, time.monotonic(), earlier=earlier)
        self._show()

    def drop(self, left_bytes: int, files: int = 0, parts: int = 0) -> None:
        """See ``Progress``."""
        with self._lock:
            if self._meter is not None:
                self._meter.drop(left_bytes, files, parts)
        self._show()

    def note(self, line: str) -> None:
        """See ``Progress``."""
        self._bars.console.print(line, markup=False, highlight=False)

    def finished(self, line: str) -> None:
        """See ``Progress``."""

    def close(self) -> None:
        """See ``Progress``."""
        self._end_stage()
        self._bars.stop()

    def _show(self) -> None:
        # Without our lock: rich holds its own while it asks a ``_Fact``.
        if self._task is not None and self._meter is not None:
            self._bars.update(
                self._task, completed=self._meter.done_bytes, total=self._meter.total_bytes
            )

    def _end_stage(self) -> None:
        if self._task is not None:
            self._bars.update(self._task, ended_s=time.monotonic())
        with self._lock:
            self._task = self._meter = None


class _Fact(ProgressColumn):
    """One figure of a stage; rich aligns them from stage to stage."""

    def __init__(self, fact: Callable[[Meter, float, bool], str]) -> None:
        super().__init__(Column(no_wrap=True, justify="right"))
        self._fact = fact

    def render(self, task: Task) -> Text:
        """See rich; it calls this a few times a second, in a thread of its own."""
        ended_s: float | None = task.fields["ended_s"]
        now_s = time.monotonic() if ended_s is None else ended_s
        return Text(self._fact(task.fields["meter"], now_s, ended_s is not None))


def _bytes(meter: Meter, _now_s: float, _ended: bool) -> str:
    """``1.20/3.00 GB``: both in the unit of the whole."""
    number, unit = bytes_text(meter.total_bytes).split()
    digits = len(number.partition(".")[2])
    return f"{meter.done_bytes / UNITS[unit]:.{digits}f}/{number} {unit}"


def _speed(meter: Meter, now_s: float, ended: bool) -> str:
    """Of late; what has ended shows what it had in all."""
    took_s = max(now_s - meter.started_s, 0.001)
    rate = meter.moved_bytes / took_s if ended else meter.rate_bytes_s(now_s)
    return f"{bytes_text(rate)}/s" if rate else ""


def _files(meter: Meter, _now_s: float, _ended: bool) -> str:
    return f"{meter.done_files}/{meter.total_files} files"


def _parts(meter: Meter, _now_s: float, _ended: bool) -> str:
    return f"{meter.done_parts}/{meter.total_parts} parts" if meter.total_parts else ""


def _time(meter: Meter, now_s: float, ended: bool) -> str:
    if ended:
        return f"in {_clock(now_s - meter.started_s)}"
    left_s = meter.left_s(now_s)
    return "" if left_s is None else f"{_clock(left_s)} left"


def _clock(seconds: float) -> str:
    """``0:35``, ``12:05``, ``1:02:05``."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
