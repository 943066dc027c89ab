"""Runs a command that dies by SIGKILL at one exact moment of its journal or manifest.

    python killed_at.py MOMENT /path/to/ingest publish ...

A moment is a few words: when, what, and for an event of the journal perhaps of which file and
part.

    before initiated large.jsonl     nothing of the line has reached the disk
    torn part_sent large.jsonl 2     half of the line has
    after completing small.jsonl     the line is synced, what it announces has not begun
    before manifest                  the new manifest lies beside the old one
    before cleared                   the manifest is in place, the journal still full
    before removed                   the journal is empty, and there

It is a process of its own, without imports of ours, so that what dies is the driver as it is. The
product knows nothing of it: the line is watched on its way to the disk, the rest by Python's own
audit hooks.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
from typing import Any

from ingest.run_store import LocalRunStore

_FILE_EVENTS = {"manifest": "os.rename", "cleared": "os.truncate", "removed": "os.remove"}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Watch:
    """Stands between the journal and its file until the moment has come."""

    def __init__(self, when: str, kind: str, name: str | None, part: int | None) -> None:
        self._when = when
        self._wanted = (kind, name, part)
        self._names: dict[str, str] = {}
        self._append = LocalRunStore.append

    def append(self, store: LocalRunStore, lines: bytes) -> None:
        """In place of ``LocalRunStore.append``; the journal calls it from one thread at a time."""
        if not self._names:  # of attempts that an earlier run began
            for line in store.read_journal().split(b"\n")[:-1]:
                self._is_it(json.loads(line))
        start = 0
        for line in lines.splitlines(keepends=True):
            if self._is_it(json.loads(line)):
                self._strike(store, lines, start + len(line) // 2)
            start += len(line)
        self._append(store, lines)

    def _is_it(self, event: dict[str, Any]) -> bool:
        attempt = event.get("attempt", "")
        if event["event"] == "initiating":
            self._names[attempt] = event["name"]
        found = (event["event"], self._names.get(attempt), event.get("part"))
        return all(want in (None, have) for want, have in zip(self._wanted, found, strict=True))

    def _strike(self, store: LocalRunStore, lines: bytes, middle: int) -> None:
        reached = {"before": 0, "torn": middle, "after": len(lines)}[self._when]
        if reached:
            self._append(store, lines[:reached])
        die()


def arm(moment: str) -> None:
    """Have this process die at ``moment``."""
    when, kind, *place = moment.split()
    if kind in _FILE_EVENTS:
        wanted = _FILE_EVENTS[kind]
        sys.addaudithook(lambda event, args: die() if _touches(event, args, wanted) else None)
        return
    name = place[0] if place else None
    watch = Watch(when, kind, name, int(place[1]) if len(place) > 1 else None)
    LocalRunStore.append = lambda store, lines: watch.append(store, lines)  # type: ignore[method-assign]


def _touches(event: str, args: tuple[Any, ...], wanted: str) -> bool:
    """Whether an audited call is the one on our manifest or journal."""
    if event != wanted:
        return False
    if event == "os.truncate":
        # At its first change the journal is cut too, to what is whole of it.
        return args[1] == 0 and os.fstat(args[0]).st_size > 0
    return ".jsonl" in str(args[0])


if __name__ == "__main__":
    arm(sys.argv[1])
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
