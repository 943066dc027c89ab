"""All benchmarks as README.md has their figures: ``make bench``, ``python -m benchmarks``."""

from __future__ import annotations

import shlex
import subprocess
import sys

COMMANDS = (
    "benchmarks.validation --size 1GiB",
    "benchmarks.check --size 1GiB",
    "benchmarks.check --size 1GiB --bad-every 1000",
    "benchmarks.check --size 4GiB --engine ray",
    "benchmarks.check --size 4GiB --engine ray --bad-every 1000",
    "benchmarks.check --size 8GiB --engine ray --vendors",
    "benchmarks.check --size 64MiB --long-line 200MiB --runs 1",
    "benchmarks.upload multipart",
    "benchmarks.upload multipart --part-size 1GiB --vendors --runs 1",
    "benchmarks.upload conversations",
    "benchmarks.upload conversations --engine ray",
    "benchmarks.upload many --runs 1",
    "benchmarks.upload tiny --runs 1",
    "benchmarks.transfer --size 1GiB",
)


def main() -> None:
    """Run each in a process of its own, so that none warms up another."""
    for command in COMMANDS:
        print(f"\n$ python -m {command}\n", flush=True)
        subprocess.run([sys.executable, "-m", *shlex.split(command)], check=True)


if __name__ == "__main__":
    main()
