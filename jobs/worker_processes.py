"""The processes of the local engine, and a head start for them.

They are forked from a server process that has imported what validation needs: importing takes
longer than checking a hundred megabytes. Not forked from the driver: it has threads, whose locks a
child would inherit as held. Importing this module is cheap, so a command can let the server start
while it imports the rest of the pipeline itself.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

WORTH_PROCESSES_BYTES = 16 << 20
"""With less than this to read, threads are done before processes have started."""

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["ingest.validation"])


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
