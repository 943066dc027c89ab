"""Joins part files into one file without copying the first, and picks up where a crash left off.

Called by the disk storage, in a thread. Each part is appended to part 1's file by the kernel and
deleted once it is in whole, so the joined file never takes the room of two.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

_BITE_BYTES = 64 * 2**20  # between two looks at `stop`


class JoinStopped(Exception):
    """The server is going down; the next one finishes the join."""


def join_files(parts: Sequence[tuple[Path, int]], target: Path, stop: threading.Event) -> None:
    """Append parts 2, 3, ... to part 1's file and rename it to ``target``.

    Args:
        parts: path and size in bytes of each part, in order; parts that an earlier, interrupted
            call has appended may be gone.
        target: the joined file; if it is there, an earlier call got as far as the rename.
        stop: set to give up early.

    Raises:
        JoinStopped: ``stop`` was set; calling again goes on from here.
        OSError: the disk is full, or the like; calling again goes on from here.
    """
    if target.exists():
        return
    base = parts[0][0]
    with base.open("r+b", buffering=0) as joined:
        done = joined.seek(0, os.SEEK_END)
        end = 0
        for path, size in parts:
            start, end = end, end + size
            if done < end:
                joined.truncate(start)
                joined.seek(start)
                _append(path, joined.fileno(), stop)
                done = end
            if path != base:
                path.unlink(missing_ok=True)
    base.replace(target)


def _append(path: Path, to: int, stop: threading.Event) -> None:
    with path.open("rb", buffering=0) as part:
        left = os.fstat(part.fileno()).st_size
        while left:
            if stop.is_set():
                raise JoinStopped(path.name)
            copied = _copy_in_kernel(part.fileno(), to, min(left, _BITE_BYTES))
            if copied == 0:
                with os.fdopen(to, "wb", closefd=False) as tail:
                    shutil.copyfileobj(part, tail, 2**20)
                return
            left -= copied


def _copy_in_kernel(source: int, to: int, count: int) -> int:
    """Bytes copied; 0 where this system, or this pair of file systems, cannot."""
    try:
        return os.copy_file_range(source, to, count)
    except (AttributeError, OSError):
        return 0
