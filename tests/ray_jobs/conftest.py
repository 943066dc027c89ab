"""What the tests on Ray share: a client with a home of its own, and a Files API for the nodes' key.

A client is `ingest`, or another command, in a process of its own: it gets nothing from this
process's environment, and its home is empty unless the test puts something there.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ingest.serve import LocalFilesApi
from tests.fixtures.files_api import MIN_PART_SIZE_BYTES
from tests.fixtures.ray_cluster import NODE_API_KEY

SCRIPTS = Path(sys.executable).parent
MULTIPART = ("--multipart-threshold", "128KiB", "--part-size", "64KiB")
_WAIT_S = 90.0


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("ingest: ")]


class Client:
    """Runs commands from an empty folder and a clean home."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.folder = folder / "elsewhere"
        self._started: list[subprocess.Popen[str]] = []
        for each in (self.home, self.folder):
            each.mkdir()

    def start(self, *words: str | Path, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            words,
            cwd=self.folder,
            env={
                "HOME": str(self.home),
                "PATH": f"{SCRIPTS}:/usr/bin:/bin",
                "NO_COLOR": "1",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def run(self, *words: str | Path, **environment: str) -> Result:
        return self.end(self.start(*words, **environment))

    def end(self, process: subprocess.Popen[str]) -> Result:
        out, err = process.communicate(timeout=_WAIT_S)
        return Result(process.returncode, out, err)

    def clean_up(self) -> None:
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    client = Client(tmp_path)
    yield client
    client.clean_up()


@pytest.fixture
def files_api(tmp_path: Path) -> Iterator[LocalFilesApi]:
    """A local Files API that takes the key of the nodes."""
    with LocalFilesApi(
        tmp_path / "files-api", api_key=NODE_API_KEY, min_part_size_bytes=MIN_PART_SIZE_BYTES
    ) as api:
        yield api
        api.clear_faults()  # cuts what is stalled, so that nothing waits for it


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with a file for a single request, and one for three parts."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "small.jsonl").write_bytes(jsonl(2_000))
    (folder / "large.jsonl").write_bytes(jsonl(230_000))
    return folder


def jsonl(size_bytes: int) -> bytes:
    """A valid dataset of at least so many bytes."""
    records: list[bytes] = []
    while sum(map(len, records[-1:])) * len(records) < size_bytes:
        records.append(json.dumps({"text": f"{len(records):09} " + "x" * 80}).encode() + b"\n")
    return b"".join(records)


def stored(api: LocalFilesApi, manifest: Path) -> dict[str, bytes]:
    """What the API holds under the ids of a manifest, by name."""
    entries = [json.loads(line) for line in manifest.read_text().splitlines()]
    return {entry["name"]: api.stored_bytes(entry["file_id"]) for entry in entries}


def content(folder: Path) -> dict[str, bytes]:
    """What a folder holds, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
