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


class Running:
    """A command in a process of its own, at the head of a process group."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self.group = process.pid
        self._out = out
        self._err = err

    @property
    def out(self) -> str:
        """What it has written to stdout so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """What it has written to stderr so far."""
        return self._err.read_text()

    def end(self) -> Result:
        code = self.process.wait(_WAIT_S)
        return Result(code, self._out.read_text(), self.err)


class Client:
    """Runs commands from an empty folder and a clean home."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self._folder = folder / "elsewhere"
        self._outputs = folder / "outputs"
        self._started: list[Running] = []
        for each in (self.home, self._folder, self._outputs):
            each.mkdir()

    def start(self, *words: str | Path, **environment: str) -> Running:
        number = len(self._started)
        out, err = self._outputs / f"{number}.out", self._outputs / f"{number}.err"
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                words,
                cwd=self._folder,
                env={
                    "HOME": str(self.home),
                    "PATH": f"{SCRIPTS}:/usr/bin:/bin",
                    "NO_COLOR": "1",
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
                start_new_session=True,
            )
        self._started.append(Running(process, out, err))
        return self._started[-1]

    def run(self, *words: str | Path, **environment: str) -> Result:
        return self.start(*words, **environment).end()

    def clean_up(self) -> None:
        for running in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.group, signal.SIGKILL)
            running.process.wait()


@contextlib.contextmanager
def running_client(folder: Path) -> Iterator[Client]:
    client = Client(folder)
    try:
        yield client
    finally:
        client.clean_up()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with running_client(tmp_path) as client:
        yield client


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
    return make_corpus(tmp_path)


def make_corpus(parent: Path) -> Path:
    """A folder with a file for a single request, and one for three parts."""
    folder = parent / "corpus"
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
