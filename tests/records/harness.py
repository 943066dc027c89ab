"""Programs that hold a manifest in a process of their own, so that it can be killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_HOLD = """
import sys
from ingest.run_store import run_store
store = run_store(sys.argv[1], sys.argv[2] or None)
store.open()
print("open", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_elsewhere(manifest: str, endpoint_url: str = "") -> Iterator[subprocess.Popen[str]]:
    """Another process that has the manifest open; it is killed at the end, if not before."""
    command = [sys.executable, "-c", _HOLD, manifest, endpoint_url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.kill()
