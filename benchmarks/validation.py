"""How fast one core validates conversations, beside the vendor's own check of the same files.

    python -m benchmarks.validation --size 300MiB

Writes JSON Lines of ``--size`` a workload into a temporary folder, and checks each with
``together==1.5.35`` (rule set ``strict``), ``together==3.1.1`` (``basic``; 2.14.0 and ``standard``
where records have tools) and ours, each in a process of its own and by turns, so that all suffer
alike from what else the machine does. Times
are the best of ``--runs``, of the check alone, on one thread, with the file in the page cache.
Peak memory is that of the whole process, as Linux tells it.

The vendor stops at the first bad line, so a workload with bad records is compared with its time
on the same records without them. Their environments are found below ``.venvs``, or named by
``--vendor 1.5.35=PATH_TO_PYTHON``.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ByteSize, TypeAdapter

from ingest.files import RuleSet, SliceTask
from ingest.sources import stat_source
from ingest.validation import merge_slices, validate_slice

ROOT = Path(__file__).parents[1]
VENDORS: dict[str, RuleSet] = {"1.5.35": "strict", "3.1.1": "basic"}
POOL = 10_000

VENDOR_CHECK = """
import json, sys, time
try:
    from together.utils.files import check_file
except ImportError:
    from together.lib.utils.files import check_file
began = time.perf_counter()
passed = check_file(sys.argv[1])["is_check_passed"]
seconds = time.perf_counter() - began
status = dict(line.split(":") for line in open("/proc/self/status"))
print(json.dumps([seconds, int(status["VmHWM"].split()[0]) * 1024, passed]))
"""


@dataclass(frozen=True)
class Workload:
    """Records of one kind: how long their turns are, in words, and how many are bad."""

    name: str
    user_words: tuple[int, int]
    assistant_words: tuple[int, int]
    bad_every: int = 0
    with_tools: bool = False


WORKLOADS = (
    Workload("conversations", (4, 60), (10, 120)),
    Workload("conversations, 1 of 1,000 bad", (4, 60), (10, 120), bad_every=1000),
    Workload("short turns", (2, 20), (2, 30)),
    Workload("long answers", (5, 80), (100, 600)),
    Workload("tool calls (standard)", (4, 60), (10, 120), with_tools=True),
)


@dataclass
class Best:
    """The best of several runs."""

    seconds: float = float("inf")
    peak_bytes: int = 0
    passed: bool = True

    def add(self, seconds: float, peak_bytes: int, passed: bool) -> None:
        """Take another run into account."""
        self.seconds = min(self.seconds, seconds)
        self.peak_bytes = max(self.peak_bytes, peak_bytes)
        self.passed = passed


def records(workload: Workload, rng: random.Random) -> Iterator[bytes]:
    """Endless records, drawn from a pool of different ones."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 10))) for _ in range(5000)]
    words += ["naïve", "über", "日本語", "😀", '"quoted"', "C:\\path", "two\nlines"] * 20

    def text(bounds: tuple[int, int]) -> str:
        return " ".join(rng.choices(words, k=rng.randint(*bounds)))

    def record() -> bytes:
        messages: list[dict[str, object]] = [{"role": "system", "content": text((5, 20))}]
        for _ in range(rng.randint(1, 4)):
            messages.append({"role": "user", "content": text(workload.user_words)})
            if workload.with_tools:
                call = {"id": "1", "function": {"name": "find", "arguments": '{"a": 1}'}}
                messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
                messages.append({"role": "tool", "content": text(workload.user_words)})
            messages.append({"role": "assistant", "content": text(workload.assistant_words)})
        return json.dumps({"messages": messages}, ensure_ascii=False).encode() + b"\n"

    pool = [record() for _ in range(POOL)]
    while True:
        yield rng.choice(pool)


def write(workload: Workload, path: Path, size_bytes: int) -> None:
    """Write a file of at least ``size_bytes``."""
    with path.open("wb") as file:
        for number, record in enumerate(records(workload, random.Random(7)), start=1):
            if workload.bad_every and number % workload.bad_every == 0:
                record = record.replace(b'"role": "assistant"', b'"role": "helper"')
            file.write(record)
            if file.tell() >= size_bytes:
                return


def check_ours(path: str, rules: RuleSet) -> None:
    """What the child process for ours does."""
    source = stat_source(path, Path(path).name)
    task = SliceTask(source, "jsonl", "fine-tune", rules, 0, source.size_bytes)
    began = time.perf_counter()
    result = validate_slice(task)
    report = merge_slices(source, "jsonl", "fine-tune", rules, 100, [result])
    seconds = time.perf_counter() - began
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    print(json.dumps([seconds, int(status["VmHWM"].split()[0]) * 1024, report.valid]))


def run(command: list[str], best: Best) -> None:
    """Run a child process once."""
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    best.add(*json.loads(done.stdout.splitlines()[-1]))


def compare(
    workload: Workload, folder: Path, size_bytes: int, runs: int, pythons: dict[str, str]
) -> None:
    """Measure one workload and print its lines of the table."""
    path, clean = folder / "data.jsonl", folder / "clean.jsonl"
    write(workload, path, size_bytes)
    for_vendor = path
    if workload.bad_every:
        write(Workload("", workload.user_words, workload.assistant_words), clean, size_bytes)
        for_vendor = clean
    megabytes = path.stat().st_size / 1e6
    rule_sets: dict[str, RuleSet] = {"2.14.0": "standard"} if workload.with_tools else dict(VENDORS)
    for version, rules in rule_sets.items():
        ours, theirs = Best(), Best()
        me = [sys.executable, "-m", "benchmarks.validation", "--child", str(path), rules]
        for _ in range(runs):
            run(me, ours)
            if version in pythons:
                run([pythons[version], "-c", VENDOR_CHECK, str(for_vendor)], theirs)
        print(
            f"{workload.name:<30} {rules:<9}"
            f"{megabytes / ours.seconds:>7,.0f} MB/s {ours.peak_bytes / 2**20:>5,.0f} MiB"
            f"   {version:<7}{megabytes / theirs.seconds:>5,.0f} MB/s"
            f" {theirs.peak_bytes / 2**20:>5,.0f} MiB"
            f"   {theirs.seconds / ours.seconds:>5.1f} x",
            flush=True,
        )


def main() -> None:
    """Run all workloads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="300MiB", help="of each file")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--vendor", action="append", default=[], metavar="VERSION=PYTHON")
    parser.add_argument("--workload", default="", help="only those with this in their name")
    parser.add_argument("--child", nargs=2, metavar=("FILE", "RULES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        check_ours(*options.child)
        return
    pythons = {
        folder.name.removeprefix("together-"): str(folder / "bin" / "python")
        for folder in (ROOT / ".venvs").glob("together-*")
    }
    pythons.update(pair.split("=", 1) for pair in options.vendor)
    size_bytes = int(TypeAdapter(ByteSize).validate_python(options.size))
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print(f"{options.size} a file, best of {options.runs}, one core; ours | the vendor's | ratio")
    for workload in WORKLOADS:
        if options.workload in workload.name:
            with tempfile.TemporaryDirectory() as folder:
                compare(workload, Path(folder), size_bytes, options.runs, pythons)


if __name__ == "__main__":
    main()
