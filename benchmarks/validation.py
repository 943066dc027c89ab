"""How fast one core validates records, beside the vendor's own check of the same files.

    python -m benchmarks.validation --size 1GiB
    python -m benchmarks.validation --size 300MiB --workload images

Writes JSON Lines of ``--size`` a workload (``benchmarks.workloads``), and checks each with
``together==1.5.35`` (our rules: strict) and ``together==3.1.1`` (basic; for tool calls, 2.14.0 and
standard). Every check has a process of its own, one thread, and the file in the page cache; all run
in turn. Timed is the check alone. Peak memory is that of the whole process.

The vendor stops at the first bad line, so a workload with bad records is compared with its time on
the same records without them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.kernel import BAD_DATA
from benchmarks.whole_process import (
    MIB,
    Command,
    Runs,
    Side,
    compare,
    machine,
    pairwise,
    parse_size,
)
from benchmarks.workloads import WORKLOADS, Workload
from examples.make_corpus import write_records
from ingest.files import RuleSet
from tests.fixtures.vendors import build_environment

VENDOR_SCRIPT = """
import sys, time
try:
    from together.utils.files import check_file
except ImportError:
    from together.lib.utils.files import check_file
began = time.perf_counter()
passed = check_file(sys.argv[1])["is_check_passed"]
print(time.perf_counter() - began)
sys.exit(not passed)
"""


def main() -> None:
    """Run all workloads."""
    parser = argparse.ArgumentParser(description="One core's check, ours and the vendor's.")
    parser.add_argument("--size", type=parse_size, default="300MiB", help="of each file  [300MiB]")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workload", default="", help="only those with this in their name")
    arguments = parser.parse_args()
    print(f"{machine()}\n{arguments.size:,} bytes a file, median of {arguments.runs}\n")
    print("| data | rules | ours | peak | vendor | | peak | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for workload in WORKLOADS:
        if arguments.workload in workload.name:
            measure(workload, arguments.size, arguments.runs)


def measure(workload: Workload, size_bytes: int, runs: int) -> None:
    """Measure one workload and print its lines of the table."""
    with tempfile.TemporaryDirectory(prefix="ingest-bench-") as name:
        idle, good, checked = (Path(name) / f"{n}.jsonl" for n in ("idle", "good", "checked"))

        def write(path: Path, size_bytes: int, bad_every: int | None = None) -> None:
            ascii_only = workload.ascii_only
            write_records(path, size_bytes, 1, workload.make, bad_every, ascii_only)

        write(idle, 1)
        write(good, size_bytes)
        if workload.bad_every:
            write(checked, size_bytes, workload.bad_every)
        else:
            checked = good
        sides: list[Side] = []
        for version, rules in workload.vendors:
            expect = BAD_DATA if workload.bad_every else 0
            sides.append(Side(rules, our_check(rules), checked, expect, timed_inside=True))
            sides.append(Side(version, vendor_check(version), good, timed_inside=True))
        measured = compare(sides, runs, idle)
        for version, rules in workload.vendors:
            ours, theirs = measured[rules], measured[version]
            ratio = statistics.median(pairwise(ours, theirs))
            cells = [workload.name, rules, *told(ours, checked), version, *told(theirs, good)]
            print(f"| {' | '.join(cells)} | {ratio:.2f} |", flush=True)


def our_check(rules: RuleSet) -> Callable[[Path, Path], Command]:
    """Ours, in a process of its own."""
    return lambda data, folder: [sys.executable, "-m", "benchmarks.kernel", data, rules]


def vendor_check(version: str) -> Callable[[Path, Path], Command]:
    """The vendor's."""
    python = build_environment(version)
    return lambda data, folder: [python, "-c", VENDOR_SCRIPT, data]


def told(runs: Runs, data: Path) -> tuple[str, str]:
    """Throughput and peak, as cells."""
    megabytes = data.stat().st_size / 1e6
    return f"{megabytes / runs.wall_s:,.0f} MB/s", f"{runs.peak_bytes / MIB:,.0f} MiB"


if __name__ == "__main__":
    main()
