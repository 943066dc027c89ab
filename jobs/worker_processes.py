"""The processes of the local engine, and a head start for them.

They are forked from a server process that has imported what validation needs: importing takes
longer than checking a hundred megabytes. Not forked from the driver: it has threads, whose locks a
child would inherit as held. Importing this module is cheap, so a command can let the server start
while it imports the rest of the pipeline itself.

A worker imports the program's main module again, which is why that (``jobs.entry``) is empty.

Nothing outlives the run: a worker whose driver is gone, even by SIGKILL, ends by itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

WORTH_PROCESSES_BYTES = 16 << 20
"""With less than this to read, threads are done before processes have started."""

CONTEXT = multiprocessing.get_context("forkserver")
# Other readers than that of nearly all files are left to the workers that meet one.
CONTEXT.set_forkserver_preload(["ingest.validation.jsonl", "ingest.validation.slices", __name__])


def start_early(flags: Mapping[str, Any]) -> None:
    """Start the server process if a command's flags look as if there will be work for it."""
    ray = flags["engine"] == "ray" or flags["address"] or "RAY_ADDRESS" in os.environ
    if (flags["engine"] == "local" or not ray) and any(map(_may_be_large, flags["inputs"])):
        forkserver.ensure_running()


def _may_be_large(text: str) -> bool:
    path = Path(text)
    try:
        # A folder's own size says nothing of its files.
        return path.is_dir() or path.stat().st_size >= WORTH_PROCESSES_BYTES
    except (OSError, ValueError):
        return True  # a glob, or s3://


def begin_worker(lifeline: Connection) -> None:
    """Prepare a worker process: what the pool of ``jobs.engines.local`` calls first in each.

    Ctrl-C goes to the whole process group; only the driver decides what it means. The driver alone
    holds the other end of ``lifeline``, which the system closes when it dies.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(lifeline,), name="lifeline", daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv()
    os._exit(0)
