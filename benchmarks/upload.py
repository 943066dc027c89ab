"""Uploads side by side with the vendor's client: time, CPU and peak memory as users see them.

    python -m benchmarks.upload --size 1GiB --runs 3
    python -m benchmarks.upload --files 300 --size 1MB --latency-ms 50

Both sides are whole processes, start-up included, run in turn in one go against the same server
that throws every body away; neither validates. Ours hashes twice (SHA-256 as the checksum, MD5
against each part's ETag); `together` 1.5.35 hashes nothing. Quoted are medians, and the median of
the ratios pair by pair.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from pydantic import ByteSize, TypeAdapter

from benchmarks.whole_process import Figures, measured, row, vendor_python

VENDOR_VERSION = "1.5.35"
VENDOR = vendor_python(VENDOR_VERSION)

_VENDOR_SCRIPT = """
import sys
from together import Together
client = Together(api_key="sink", base_url=sys.argv[1])
for path in sys.argv[2:]:
    client.files.upload(file=path, purpose="fine-tune", check=False)
"""


def make_files(folder: Path, count: int, size_bytes: int) -> list[Path]:
    """Files whose bytes differ, so that no server could call them duplicates."""
    paths = []
    for number in range(count):
        path = folder / f"file-{number:05}.jsonl"
        block = os.urandom(1 << 20)
        with path.open("wb") as file:
            left = size_bytes
            while left:
                left -= file.write(block[: min(left, len(block))])
        paths.append(path)
    return paths


def main() -> None:
    """Measure, and print a table."""
    size = TypeAdapter(ByteSize)
    parser = argparse.ArgumentParser(description="Uploads, ours and the vendor's.")
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--size", type=size.validate_python, default="1GiB", help="of each file")
    parser.add_argument("--latency-ms", type=float, default=0, help="of each API call")
    parser.add_argument("--multipart", action="store_true", help="in parts, whatever the size")
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    size_bytes = int(size.validate_python(arguments.size))
    with tempfile.TemporaryDirectory(prefix="ingest-bench-") as folder:
        paths = make_files(Path(folder), arguments.files, size_bytes)
        sink = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sink", str(arguments.latency_ms)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert sink.stdout is not None
            base_url = sink.stdout.readline().strip()
            ours, theirs = compare(Path(folder), paths, base_url, arguments)
        finally:
            sink.terminate()
            sink.wait()
    total = size_bytes * arguments.files
    ratio = statistics.median(b.wall_s / a.wall_s for a, b in zip(ours, theirs, strict=True))
    print(f"{arguments.files} files of {size_bytes:,} bytes, {os.cpu_count()} cores\n")
    print("| | wall | throughput | CPU | peak memory |\n|---|---|---|---|---|")
    print(row(f"ingest publish --no-check, {arguments.engine}", ours, total))
    print(row(f"together {VENDOR_VERSION}", theirs, total))
    print(f"\nours takes 1/{ratio:.2f} of the vendor's time")


def compare(
    folder: Path, paths: list[Path], base_url: str, arguments: argparse.Namespace
) -> tuple[list[Figures], list[Figures]]:
    """Both sides in turn, after one run of each that is not counted."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("TOGETHER_", "RAY_"))}
    environment = own | {"TOGETHER_API_KEY": "sink", "TOGETHER_DISABLE_TQDM": "1"}
    ours: list[Figures] = []
    theirs: list[Figures] = []
    for number in range(arguments.runs + 1):
        manifest = folder / f"manifest-{number}.out"
        command = [Path(sys.executable).with_name("ingest"), "publish", *paths, "--no-check"]
        command += ["--manifest", manifest, "--base-url", base_url, "--engine", arguments.engine]
        if arguments.multipart:
            command += ["--multipart-threshold", "1MB"]
        a = measured(command, environment)
        b = measured([VENDOR, "-c", _VENDOR_SCRIPT, base_url, *paths], environment)
        if number:
            ours.append(a)
            theirs.append(b)
    return ours, theirs


if __name__ == "__main__":
    main()
