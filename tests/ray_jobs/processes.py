"""What tests need to know of processes: who lives where, and how to hide a folder from one."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

# Those who are not root become it, in a user namespace.
_UNSHARE = ("unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",)))


def living(group: int) -> list[str]:
    """The command lines of a process group's living members."""
    return [title_of(pid) for pid in _all() if _group(pid) == group and _stat(pid)[0] not in "ZX"]


def raylet_of(group: int) -> int:
    """The raylet of a node, by the process group of its `ray start`."""
    (raylet,) = (
        pid for pid in _all() if _group(pid) == group and "raylet/raylet " in title_of(pid)
    )
    return raylet


def workers_of(raylet: int, doing: str) -> list[int]:
    """The workers of a node that are at it just now, as ``ray::_Sender.put`` say."""
    return [pid for pid in _all() if _parent(pid) == raylet and title_of(pid).startswith(doing)]


def started_with(*words: str) -> list[int]:
    """The living processes in whose command lines all of ``words`` stand."""
    return [pid for pid in _all() if all(word in title_of(pid) for word in words)]


def title_of(pid: int) -> str:
    """The command line of a process, or what it calls itself; empty when it is gone."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return command.replace(b"\0", b" ").decode(errors="replace")


def _all() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").glob("[0-9]*"))


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["X", "0", "0"]


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def _group(pid: int) -> int:
    return int(_stat(pid)[2])


def until(condition: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
    """Wait until ``condition`` holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not so within {timeout_s:g} s: {what}"
        time.sleep(0.05)


def hiding(folder: Path, then: str = 'exec "$@"') -> tuple[str, ...]:
    """The beginning of a command that finds ``folder`` empty, as if on another machine.

    ``then`` is the shell script that runs the command, ``"$@"``; the folder is its ``$0``.
    """
    return (*_UNSHARE, "sh", "-c", f'mount -t tmpfs hidden "$0" && {then}', str(folder))


@cache
def can_hide() -> bool:
    """Whether this system lets us give a process mounts of its own."""
    try:
        return subprocess.run(hiding(Path("/mnt"), "true"), check=False).returncode == 0
    except FileNotFoundError:
        return False
