"""CPU and peak memory of a command and of all processes that it starts, as Linux tells them.

Used by ``benchmarks.whole_process``. A command's workers may be children of a server process that
outlives it, so this process adopts orphans and waits for them: their CPU counts too. Memory is
each process's own high-water mark, read while it lives; parts of it may be shared, so the marks
are never added up. Not for tests, and no part of the product.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Set
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_SAMPLE_EVERY_S = 0.03
_SAMPLE_CLUSTER_EVERY_S = 0.5  # it has a thousand threads, and to look at all takes a while
_ORPHANS_END_WITHIN_S = 20.0
_TICKS = os.sysconf("SC_CLK_TCK")


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def children(pid: int) -> Iterator[int]:
    """The living children of a process, whichever of its threads started them."""
    with contextlib.suppress(OSError):  # it has ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):  # the thread has
                yield from map(int, (task / "children").read_text().split())


def tree(root: int) -> Iterator[int]:
    """A process and its descendants."""
    yield root
    for child in children(root):
        yield from tree(child)


def wait_for_orphans(known: Set[int]) -> None:
    """Wait until no child of ours is left but the known ones.

    Raises:
        SystemExit: one does not end.
    """
    deadline = time.monotonic() + _ORPHANS_END_WITHIN_S
    while left := set(children(os.getpid())) - known:
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > deadline:
            sys.exit(f"a process was left behind: {_command_line(min(left))}")
        time.sleep(0.002)


def cpu_s(roots: Iterable[int]) -> float:
    """CPU of all children that were waited for, and of living trees: only differences mean much."""
    waited_for = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = 0
    for root in roots:
        for pid in tree(root):
            with contextlib.suppress(OSError, IndexError):
                fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15]))  # its own, and its children's that ended
    return waited_for.ru_utime + waited_for.ru_stime + ticks / _TICKS


class PeakWatch:
    """Looks at the memory of a command's processes, again and again, until it is left.

    Args:
        known: children of this process that are not looked at; all others are, with their trees.
        clusters: roots of Ray clusters, of whose processes only the workers are.

    Attributes:
        peak_bytes: the highest mark of any one process.
    """

    def __init__(self, known: Set[int], clusters: tuple[int, ...]) -> None:
        self.peak_bytes = 0
        self._known = known
        self._clusters = clusters
        self._every_s = _SAMPLE_CLUSTER_EVERY_S if clusters else _SAMPLE_EVERY_S
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            workers = (
                pid
                for root in self._clusters
                for pid in tree(root)
                if _command_line(pid).startswith("ray::")
            )
            started = set(children(os.getpid())) - self._known
            for pid in (*(pid for root in started for pid in tree(root)), *workers):
                self.peak_bytes = max(self.peak_bytes, _high_water_bytes(pid))
            if self._over.wait(self._every_s):
                return


def _high_water_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in _read(f"/proc/{pid}/status").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0  # it has ended


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return _read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
    return ""


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")
