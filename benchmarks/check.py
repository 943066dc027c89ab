"""`ingest check` beside the vendor's check of the same file, as whole processes.

    python -m benchmarks.check --size 1GiB
    python -m benchmarks.check --size 1GiB --bad-every 1000
    python -m benchmarks.check --size 1GiB --engine ray
    python -m benchmarks.check --size 64MiB --long-line 200MiB --runs 1

Conversations of real text; ours with two workers and with one, against ``together`` 1.5.35 and
3.1.1. Ours always checks under the rules of 1.5.35, which are the most; 3.1.1 looks at less. The
vendor stops at the first bad record, so with ``--bad-every`` its time is that on the same records
without the bad ones.

With ``--engine ray`` the clusters, one for each count of workers, run before anything is measured;
what is left of start-up is told beside the total. ``--long-line`` ends the file with one line of
that size, once as a single long content, once as many small messages, and once with a bad one among
these, and tells the peak of a process beside the limit of 300 MB and three times the line.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.kernel import BAD_DATA
from benchmarks.whole_process import (
    INGEST,
    Command,
    Side,
    arguments_of,
    clusters,
    compare,
    engine_flags,
    machine,
    parse_size,
    ratios,
    table,
)
from examples.make_corpus import encoded, write_conversations
from tests.fixtures.ray_cluster import RayCluster
from tests.fixtures.vendors import build_environment

IDLE_BYTES = 1_000

VENDOR_SCRIPT = """
import sys
try:
    from together.utils.files import check_file
except ImportError:
    from together.lib.utils.files import check_file
sys.exit(not check_file(sys.argv[1])["is_check_passed"])
"""


def main() -> None:
    """Make the files, measure, and print the tables."""
    parser = arguments_of("Checks, ours and the vendor's.")
    parser.add_argument("--size", type=parse_size, default="1GiB")
    parser.add_argument("--bad-every", type=int, help="one bad record in so many")
    parser.add_argument("--long-line", type=parse_size, help="the size of one more line")
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--vendors", nargs="*", default=["1.5.35", "3.1.1"], help="versions")
    arguments = parser.parse_args()
    print(machine())
    with (
        tempfile.TemporaryDirectory(prefix="ingest-bench-") as name,
        clusters(arguments.engine, arguments.workers) as running,
    ):
        folder = Path(name)
        write_conversations(folder / "idle.jsonl", IDLE_BYTES)
        if arguments.long_line:
            good = folder / "valid.jsonl"
            for kind, line, valid in long_lines(arguments.long_line):
                checked = good if valid else folder / "invalid.jsonl"
                write_conversations(checked, arguments.size)
                with checked.open("ab") as file:
                    file.write(line)
                print(f"\nConversations, and one line of {len(line):,} bytes: {kind}")
                report(arguments, running, checked, good)
                print(f"- allowed: {(300e6 + 3 * len(line)) / 2**20:.0f} MiB a process")
            return
        good = checked = folder / "good.jsonl"
        write_conversations(good, arguments.size)
        if arguments.bad_every:
            checked = folder / "bad.jsonl"
            write_conversations(checked, arguments.size, bad_every=arguments.bad_every)
        bad = f"one in {arguments.bad_every:,} bad" if arguments.bad_every else "all valid"
        print(f"\nConversations, {bad}")
        report(arguments, running, checked, good)


def long_lines(size_bytes: int) -> tuple[tuple[str, bytes, bool], ...]:
    """Records of one line: of what kind, and whether the rules accept it."""
    answer = "A sentence of this long answer, naïve and “quoted”.\n"
    turns = [{"role": "user", "content": "Go on."}, {"role": "assistant", "content": "Well."}]
    content = answer * (size_bytes // len(encoded(answer)))
    long_turn = {**turns[1], "content": content}
    messages = turns * (size_bytes // len(encoded(turns)))
    bad = [*messages, {**turns[0], "role": "human"}]
    return (
        ("one long content", encoded({"messages": [turns[0], long_turn]}), True),
        ("many small messages", encoded({"messages": messages}), True),
        ("many small messages, the last one bad", encoded({"messages": bad}), False),
    )


def report(
    arguments: argparse.Namespace,
    running: Sequence[RayCluster | None],
    checked: Path,
    good: Path,
) -> None:
    """Measure one file and print its table."""
    sides = [
        our_check(checked, workers, cluster, 0 if checked == good else BAD_DATA)
        for workers, cluster in zip(arguments.workers, running, strict=True)
    ]
    sides += [vendor_check(version, good) for version in arguments.vendors]
    measured = compare(sides, arguments.runs, good.parent / "idle.jsonl")
    size_bytes = checked.stat().st_size
    print(f"{size_bytes:,} bytes, median of {arguments.runs}; start-up: a file of some records\n")
    print(table(measured, size_bytes))
    print(f"\n{ratios(measured)}", flush=True)


def our_check(data: Path, workers: int, cluster: RayCluster | None, expect: int) -> Side:
    """Ours with that many workers."""

    def command(data: Path, folder: Path) -> Command:
        return [INGEST, "check", data, "--rules", "strict", *engine_flags(cluster, workers)]

    engine = "local" if cluster is None else "ray"
    name = f"ingest check, {engine}, {workers} worker{'s' * (workers > 1)}"
    return Side(name, command, data, expect, cluster)


def vendor_check(version: str, data: Path) -> Side:
    """The vendor's."""
    python = build_environment(version)
    return Side(
        f"together {version} check_file",
        lambda data, folder: [python, "-c", VENDOR_SCRIPT, data],
        data,
    )


if __name__ == "__main__":
    main()
