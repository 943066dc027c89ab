"""Measures commands as whole processes, start-up included, as a user would see them."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


def vendor_python(version: str) -> Path:
    """The Python of the environment that `make vendors` made for a version of the client."""
    return Path(".venvs") / f"together-{version}" / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Figures:
    """One run of one side."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def measured(
    command: Sequence[str | Path], environment: dict[str, str], expect: int = 0
) -> Figures:
    """Run a command to its end; the CPU is that of the processes it waited for, the peak its own.

    Raises:
        SystemExit: it failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status) != expect:
        sys.exit(f"{command[0]} failed:\n{errors.decode(errors='replace')[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figures(wall_s, cpu_s, usage.ru_maxrss / 1024)


def row(side: str, runs: Sequence[Figures], total_bytes: int) -> str:
    """One line of the table, of medians."""
    wall_s = statistics.median(run.wall_s for run in runs)
    cpu_s = statistics.median(run.cpu_s for run in runs)
    peak_mib = max(run.peak_mib for run in runs)
    return (
        f"| {side} | {wall_s:.2f} s | {total_bytes / wall_s / 1e6:.0f} MB/s "
        f"| {cpu_s / total_bytes * 1e9:.2f} s/GB | {peak_mib:.0f} MiB |"
    )
