"""All benchmarks at a size that takes some minutes: ``make bench``, ``python -m benchmarks``."""

from __future__ import annotations

import shlex
import subprocess
import sys

COMMANDS = (
    "benchmarks.validation --size 300MiB",
    "benchmarks.check --size 1GiB",
    "benchmarks.check --size 1GiB --bad-every 1000",
    "benchmarks.upload --size 2GiB --multipart",
    "benchmarks.upload --size 1MB --files 300 --latency-ms 50 --runs 1",
)


def main() -> None:
    """Run each in a process of its own, so that none warms up another."""
    for command in COMMANDS:
        print(f"\n$ python -m {command}\n", flush=True)
        subprocess.run([sys.executable, "-m", *shlex.split(command)], check=True)


if __name__ == "__main__":
    main()
