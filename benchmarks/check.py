"""`ingest check` beside the vendor's check of the same file, as whole processes.

    python -m benchmarks.check --size 1GiB --runs 3
    python -m benchmarks.check --size 1GiB --bad-every 1000

Conversations of real text; both sides in turn, after one run of each that is not counted. Quoted
are medians, and the median of the ratios pair by pair. The vendor stops at the first bad record, so
with ``--bad-every`` its time is that on the same records without the bad ones.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from pydantic import ByteSize, TypeAdapter

from benchmarks.whole_process import Figures, measured, row, vendor_python
from examples.make_corpus import write_conversations

VENDOR_VERSION = "1.5.35"

_VENDOR_SCRIPT = """
import sys
from together.utils.files import check_file
sys.exit(not check_file(sys.argv[1])["is_check_passed"])
"""


def main() -> None:
    """Measure, and print a table."""
    size = TypeAdapter(ByteSize)
    parser = argparse.ArgumentParser(description="Checks, ours and the vendor's.")
    parser.add_argument("--size", type=size.validate_python, default="1GiB")
    parser.add_argument("--bad-every", type=int, help="one bad record in so many")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    size_bytes = int(size.validate_python(arguments.size))
    with tempfile.TemporaryDirectory(prefix="ingest-bench-") as folder:
        good = Path(folder) / "good.jsonl"
        write_conversations(good, size_bytes, 1)
        checked = good
        if arguments.bad_every:
            checked = Path(folder) / "bad.jsonl"
            write_conversations(checked, size_bytes, 1, bad_every=arguments.bad_every)
        ours, theirs = compare(checked, good, arguments.workers, arguments.runs)
    ratio = statistics.median(b.wall_s / a.wall_s for a, b in zip(ours, theirs, strict=True))
    print(f"conversations of {size_bytes:,} bytes, bad: 1 of {arguments.bad_every or 'none'}\n")
    print("| | wall | throughput | CPU | peak memory |\n|---|---|---|---|---|")
    print(row(f"ingest check, {arguments.workers} workers", ours, size_bytes))
    print(row(f"together {VENDOR_VERSION} check_file", theirs, size_bytes))
    print(f"\n{ratio:.2f} times the vendor's speed")


def compare(
    checked: Path, good: Path, workers: int, runs: int
) -> tuple[list[Figures], list[Figures]]:
    """Both sides in turn."""
    ingest = Path(sys.executable).with_name("ingest")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TOGETHER_", "RAY_"))}
    ours: list[Figures] = []
    theirs: list[Figures] = []
    for number in range(runs + 1):
        command = [ingest, "check", checked, "--engine", "local", "--workers", str(workers)]
        a = measured(command, environment, expect=0 if checked == good else 5)
        b = measured([vendor_python(VENDOR_VERSION), "-c", _VENDOR_SCRIPT, good], environment)
        if number:
            ours.append(a)
            theirs.append(b)
    return ours, theirs


if __name__ == "__main__":
    main()
