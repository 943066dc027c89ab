"""`ingest` as a user runs it, against the local Files API.

``ingest`` runs a command line in this process, which is quick; ``ingest.start`` runs it in one of
its own, where signals matter. Both use the API, the key and the folder of the test at hand.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from ingest.serve import LocalFilesApi
from jobs.cli import main

INGEST = Path(sys.executable).with_name("ingest")
MULTIPART = ("--multipart-threshold", "128KiB", "--part-size", "64KiB")
"""Parts of the size that the test's API takes at the least."""

_SENDING = frozenset({"create", "put", "preprocess", "initiate", "put-part", "complete"})
_WAIT_S = 60.0


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines on stderr that are errors, not progress."""
        return [line for line in self.err.splitlines() if line.startswith("ingest: ")]


class Running:
    """A command in a process of its own, at the head of a process group."""

    def __init__(self, command: list[str | Path], folder: Path) -> None:
        self._out = folder / f"{time.monotonic_ns()}.stdout"
        self._err = self._out.with_suffix(".stderr")
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                start_new_session=True,
            )

    @property
    def err(self) -> str:
        """What it has written to stderr so far."""
        return self._err.read_text()

    def wait(self, timeout_s: float = _WAIT_S) -> Result:
        code = self.process.wait(timeout_s)
        return Result(code, self._out.read_text(), self.err)

    def kill(self) -> None:
        """SIGKILL, for the driver alone: what it started finds out by itself."""
        self.process.kill()
        self.process.wait(_WAIT_S)

    def clean_up(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(_WAIT_S)


class Ingest:
    """Runs `ingest`; see above."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Running] = []

    def __call__(self, *words: str | Path) -> Result:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main([str(word) for word in words])
            except SystemExit as end:
                code = end.code
        assert isinstance(code, int)
        return Result(code, out.getvalue(), err.getvalue())

    def start(self, *words: str | Path, prefix: tuple[str, ...] = ()) -> Running:
        running = Running([*prefix, INGEST, *words], self._folder)
        self._started.append(running)
        return running

    def parts_sent(self, manifest: str | Path, *options: str) -> int:
        """How many parts the journal holds as acknowledged, as `ingest status` tells."""
        status = self("status", manifest, "--json", *options)
        left = json.loads(status.out)["left"] if status.code == 0 else []
        return sum(file["parts_sent"] for file in left)

    def clean_up(self) -> None:
        for running in self._started:
            running.clean_up()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An empty folder for datasets."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def ingest(
    tmp_path: Path, files_api: LocalFilesApi, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ingest]:
    """`ingest` in an empty folder, with the API and the key in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOGETHER_BASE_URL", files_api.base_url)
    monkeypatch.setenv("TOGETHER_API_KEY", files_api.api_key)
    runner = Ingest(tmp_path)
    yield runner
    files_api.clear_faults()  # cuts what is stalled, so that nothing waits for it
    runner.clean_up()


def jsonl(size_bytes: int, *, text: str = "some words") -> bytes:
    """A valid dataset of at least so many bytes, in records of about 70."""
    pad = "x" * 40
    records: list[bytes] = []
    length = 0
    while length < size_bytes:
        record = json.dumps({"text": f"{text} {len(records)} {pad}"}).encode() + b"\n"
        records.append(record)
        length += len(record)
    return b"".join(records)


def entries(manifest: Path | bytes) -> dict[str, dict[str, Any]]:
    """The lines of a manifest by name."""
    content = manifest if isinstance(manifest, bytes) else manifest.read_bytes()
    lines = [json.loads(line) for line in content.splitlines()]
    return {line["name"]: line for line in lines}


def sent(api: LocalFilesApi) -> list[str]:
    """Every request that brings data to the API, or announces some."""
    return [seen.where for seen in api.requests() if seen.where in _SENDING]


def parts_put(api: LocalFilesApi) -> list[int | None]:
    """The numbers of the parts that were sent, in order of number."""
    return sorted(seen.part or 0 for seen in api.requests("put-part"))


def delete(api: LocalFilesApi, file_id: str) -> None:
    """Delete a file at the API, as its owner might by other means."""
    headers = {"Authorization": f"Bearer {api.api_key}"}
    requests.delete(f"{api.base_url}/files/{file_id}", headers=headers, timeout=10)


def until(condition: Callable[[], bool], what: str, timeout_s: float = _WAIT_S) -> None:
    """Wait until ``condition`` holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not so within {timeout_s:g} s: {what}"
        time.sleep(0.02)
