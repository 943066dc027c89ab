"""Uploads beside the vendor's clients, as whole processes, to a server that throws bodies away.

    python -m benchmarks.upload multipart
    python -m benchmarks.upload multipart --part-size 1GiB --vendors --runs 1
    python -m benchmarks.upload conversations
    python -m benchmarks.upload conversations --engine ray
    python -m benchmarks.upload many --runs 1
    python -m benchmarks.upload tiny --runs 1

Ours always hashes twice (SHA-256 as the checksum, MD5 against each part's ETag); 1.5.35 hashes
nothing, 3.1.1 takes a SHA-256 before it starts. The vendor uses multipart over 5 GiB alone; for
``multipart`` its threshold is set to 0, in its own process. ``conversations`` is checked and then
sent, by all sides; in the other scenarios nobody checks. With ``--engine ray`` the cluster runs
before anything is measured.

``multipart`` also hashes the same bytes with nothing else, so that what our CPU adds to that can be
told. ``tiny`` puts a tenth of its files beside all of them, so its figures over start-up are those
of nine tenths: time a file, and whether memory grows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.whole_process import (
    INGEST,
    Command,
    Runs,
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
from examples.make_corpus import write_conversations
from tests.fixtures.ray_cluster import RayCluster
from tests.fixtures.vendors import build_environment

HASHING = "SHA-256 and MD5 alone"
IDLE_BYTES = 1_000
BLOCK_BYTES = 1 << 20

VENDOR_SCRIPT = """
import pathlib, sys
import together
base_url, folder, multipart, check = sys.argv[1:]
if multipart:
    try:
        from together.lib.resources import files
    except ImportError:
        from together.resources import files
    files.MULTIPART_THRESHOLD_GB = 0
client = together.Together(api_key="benchmark", base_url=base_url)
for path in sorted(pathlib.Path(folder).iterdir()):
    client.files.upload(file=str(path), purpose="fine-tune", check=bool(check))
"""

HASHING_SCRIPT = """
import hashlib, pathlib, sys, time
sha256, md5 = hashlib.sha256(), hashlib.md5()
block = bytearray(1 << 20)
seconds = 0.0
for path in pathlib.Path(sys.argv[1]).iterdir():
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            began = time.thread_time()
            sha256.update(memoryview(block)[:count])
            md5.update(memoryview(block)[:count])
            seconds += time.thread_time() - began
print(seconds)
"""


@dataclass(frozen=True)
class Scenario:
    """What is sent, and how.

    Attributes:
        files: how many.
        size: of each, at least.
        idle_files: how many the runs have that are taken for the start-up.
        latency_ms: of each call of the API; PUTs to storage have none.
        multipart: in parts, whatever the size.
        conversations: the files are conversations, which all sides check before they send.
        vendors: versions of the vendor's client.
    """

    files: int
    size: str
    idle_files: int = 1
    latency_ms: float = 0
    multipart: bool = False
    conversations: bool = False
    vendors: tuple[str, ...] = ("1.5.35", "3.1.1")


SCENARIOS = {
    "multipart": Scenario(1, "4GiB", multipart=True),
    "conversations": Scenario(1, "2GiB", conversations=True),
    "many": Scenario(300, "1MB", latency_ms=50),
    "tiny": Scenario(10_000, "1kB", idle_files=1_000, vendors=("1.5.35",)),
}


def main() -> None:
    """Make the files, measure, and print a table."""
    parser = arguments_of("Uploads, ours and the vendor's.")
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--files", type=int, help="another count")
    parser.add_argument("--size", help="another size of each file")
    parser.add_argument("--part-size", default="250MiB", help="of ours, when sent in parts")
    parser.add_argument("--vendors", nargs="*", help="other versions")
    arguments = parser.parse_args()
    scenario = SCENARIOS[arguments.scenario]
    given = {name: getattr(arguments, name) for name in ("files", "size", "vendors")}
    scenario = replace(scenario, **{name: v for name, v in given.items() if v is not None})
    scenario = replace(scenario, idle_files=min(scenario.idle_files, max(1, scenario.files // 10)))
    print(machine())
    with (
        tempfile.TemporaryDirectory(prefix="ingest-bench-") as name,
        clusters(arguments.engine, [os.cpu_count() or 1]) as (cluster,),
        sink(scenario.latency_ms) as base_url,
    ):
        data, idle = Path(name) / "data", Path(name) / "idle"
        size_bytes = parse_size(scenario.size)
        make_files(data, scenario, scenario.files, size_bytes)
        make_files(idle, scenario, scenario.idle_files, min(size_bytes, IDLE_BYTES))
        sides = [our_publish(scenario, data, base_url, cluster, arguments.part_size)]
        sides += [vendor_upload(v, scenario, data, base_url) for v in scenario.vendors]
        if scenario.multipart:
            sides.append(Side(HASHING, hashing, data, timed_inside=True))
        measured = compare(sides, arguments.runs, idle)
        report(arguments, scenario, measured, sum(p.stat().st_size for p in data.iterdir()))


def make_files(folder: Path, scenario: Scenario, count: int, size_bytes: int) -> None:
    """Write files whose bytes differ, so that no server could call them duplicates."""
    folder.mkdir()
    for number in range(count):
        path = folder / f"file-{number:05}.jsonl"
        if scenario.conversations:
            write_conversations(path, size_bytes, seed=number)
            continue
        block = os.urandom(min(BLOCK_BYTES, size_bytes))
        with path.open("wb") as file:
            left = size_bytes
            while left:
                left -= file.write(block[: min(left, len(block))])


@contextmanager
def sink(latency_ms: float) -> Iterator[str]:
    """Run `benchmarks.sink`; the value is its base URL."""
    command = [sys.executable, "-m", "benchmarks.sink", str(latency_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def our_publish(
    scenario: Scenario, data: Path, base_url: str, cluster: RayCluster | None, part_size: str
) -> Side:
    """Ours."""
    flags = engine_flags(cluster, os.cpu_count() or 1)
    flags += ["--rules", "strict"] if scenario.conversations else ["--no-check"]
    flags += ["--part-size", part_size]
    flags += ["--multipart-threshold", "1"] if scenario.multipart else []

    def command(data: Path, folder: Path) -> Command:
        manifest = folder / "manifest.jsonl"
        return [INGEST, "publish", data, "--manifest", manifest, "--base-url", base_url, *flags]

    engine = "local" if cluster is None else "ray"
    return Side(f"ingest publish, {engine}", command, data, cluster=cluster)


def vendor_upload(version: str, scenario: Scenario, data: Path, base_url: str) -> Side:
    """The vendor's client, in a loop over the files."""
    python = build_environment(version)
    options = ["yes" if on else "" for on in (scenario.multipart, scenario.conversations)]

    def command(data: Path, folder: Path) -> Command:
        return [python, "-c", VENDOR_SCRIPT, base_url, data, *options]

    return Side(f"together {version}", command, data)


def hashing(data: Path, folder: Path) -> Command:
    """Both hashes of the same bytes; what it prints is CPU, without reading."""
    return [sys.executable, "-c", HASHING_SCRIPT, data]


def report(
    arguments: argparse.Namespace,
    scenario: Scenario,
    measured: Mapping[str, Runs],
    total_bytes: int,
) -> None:
    """Print the table, the ratios, and what else the scenario is about."""
    measured = dict(measured)
    hashes = measured.pop(HASHING, None)
    ours = next(iter(measured.values()))
    print(
        f"\n{arguments.scenario}: {scenario.files:,} file(s), {total_bytes:,} bytes, "
        f"{scenario.latency_ms:g} ms a call; median of {arguments.runs}; "
        f"start-up: {scenario.idle_files:,} file(s) of 1 kB\n"
    )
    print(table(measured, total_bytes))
    print(f"\n{ratios(measured)}")
    if hashes is not None:
        beyond_s = ours.cpu_s - hashes.wall_s
        print(
            f"- CPU of {HASHING}: {hashes.wall_s / total_bytes * 1e9:.2f} s/GB; "
            f"of ours beyond that: {beyond_s / total_bytes * 1e9:.2f} s/GB"
        )
    if scenario.files > 1:
        more = scenario.files - scenario.idle_files
        for name, runs in measured.items():
            each_ms = (runs.wall_s - runs.start_s) / more * 1e3
            print(f"- {name}: {each_ms:.2f} ms a file, start-up aside")


if __name__ == "__main__":
    main()
