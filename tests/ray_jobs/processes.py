"""What tests need to know of processes: who lives in a group, and how to hide a folder from one."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

# Those who are not root become it, in a user namespace.
_UNSHARE = ("unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",)))


def living(group: int) -> list[str]:
    """The command lines of a process group's living members."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == group and state not in "ZX":
                command = stat.with_name("cmdline").read_bytes()
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


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
