"""The whole product in two minutes, on this machine alone: what `make demo` runs.

    python -m examples.demo --size 300MB

It makes a corpus with one bad file in it, starts the local Files API, and then does what a user
would, with the same commands: check everything, see a publish refused, publish the good files on
Ray (the larger ones in parts), publish again to see that nothing is sent twice, and verify. Each
command is printed as in a shell, and an exit code other than the expected one ends the demo.

It leaves nothing behind: folders, server and workers go at the end, and at Ctrl-C as well. It
never reads the user's own key, and never talks to anything but its own server.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import requests
from pydantic import ByteSize, TypeAdapter

from examples.make_corpus import make_corpus

INGEST = Path(sys.executable).with_name("ingest")
STOP_TIMEOUT_S = 60.0
"""How long a command may take to end after Ctrl-C: it closes its uploads and stops its Ray."""

FOREIGN = ("TOGETHER_", "RAY_", "INGEST_")
"""The user's own key, API and cluster: the demo must not touch them."""

DONE, DATA_INVALID = 0, 5
"""The exit codes that the demo expects of `ingest`."""


class Shell:
    """Runs commands as a person would type them, in a folder of their own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment

    def run(self, command: str, expect: int = DONE) -> None:
        """Run `ingest` with the words of ``command``, showing it and all that it prints.

        Raises:
            SystemExit: it ended with another exit code than ``expect``.
        """
        print(f"\n$ ingest {command}", flush=True)
        began = time.monotonic()
        process = subprocess.Popen(
            [INGEST, *shlex.split(command)], cwd=self._folder, env=self._environment
        )
        try:
            code = process.wait()
        except BaseException as error:
            # Ctrl-C has reached it too. Let it clean up after itself: it knows what it started.
            if not isinstance(error, KeyboardInterrupt):
                process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
        took_s = time.monotonic() - began
        print(f"[exit code {code}, {took_s:.1f} s]", flush=True)
        if code != expect:
            sys.exit(f"demo: expected exit code {expect} of `ingest {command}`, got {code}")


@contextmanager
def files_api(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Run `ingest serve` on a free port; the value is its base URL."""
    print("\n$ ingest serve --port 0 --data-dir server &", flush=True)
    log = folder / "server.log"
    with log.open("wb") as errors:
        server = subprocess.Popen(
            [INGEST, "serve", "--port", "0", "--data-dir", "server"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            # Not in the terminal's group: Ctrl-C must reach the publish before its server.
            start_new_session=True,
        )
    try:
        assert server.stdout is not None
        base_url = server.stdout.readline().strip()
        if not base_url.startswith("http://"):
            sys.exit(f"demo: the server did not start: {base_url}\n{log.read_text()}")
        print(base_url, flush=True)
        yield base_url
    finally:
        server.terminate()
        server.wait(STOP_TIMEOUT_S)


def files_at_server(base_url: str, key: str) -> list[str]:
    """Ask the API which files it has; the names."""
    reply = requests.get(
        f"{base_url}/files", headers={"Authorization": f"Bearer {key}"}, timeout=30
    )
    reply.raise_for_status()
    return sorted(file["filename"] for file in reply.json()["data"])


def show_manifest(path: Path) -> int:
    """Print the columns of a manifest that a person looks for; how many files went in parts."""
    print(f"\n{path.name}:")
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for entry in entries:
        print(
            f"  {entry['file_id']}  {entry['status']:<10} {entry['bytes']:>12,} bytes "
            f"{entry['records']:>8,} records  {entry['parts']:>3} parts  {entry['name']}"
        )
    return sum(entry["parts"] > 1 for entry in entries)


def demo(folder: Path, size_bytes: int) -> None:
    """Do it all in ``folder``."""
    key = f"demo-{secrets.token_hex(8)}"
    own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    environment = own | {"TOGETHER_API_KEY": key}

    print(f"Making a corpus of {size_bytes:,} bytes ...", flush=True)
    make_corpus(folder / "corpus", size_bytes)
    for path in sorted((folder / "corpus").rglob("*.*")):
        print(f"  {path.stat().st_size:>12,}  {path.relative_to(folder)}")

    with files_api(folder, environment) as base_url:
        environment["TOGETHER_BASE_URL"] = base_url
        shell = Shell(folder, environment)

        shell.run("check corpus", expect=DATA_INVALID)
        shell.run("publish corpus --manifest all.jsonl --max-problems 1", expect=DATA_INVALID)
        if sent := files_at_server(base_url, key):
            sys.exit(f"demo: a refused publish sent {sent}")
        print("The server has no file: one bad file stops a publish before a byte is sent.")

        publish = "publish corpus/good --manifest published.jsonl --engine ray"
        publish += " --multipart-threshold 20MiB --part-size 8MiB"
        shell.run(publish)
        if not show_manifest(folder / "published.jsonl"):
            sys.exit("demo: no file was large enough to go in parts; give a larger --size")
        shell.run(publish.replace("ray", "local"))
        print("Nothing was sent again: the manifest knows these bytes.")
        shell.run("verify published.jsonl")
        if len(files_at_server(base_url, key)) != 5:
            sys.exit("demo: the server should hold five files")
    print("\nThe demo is done.")


def main() -> None:
    """Run the demo in a temporary folder."""
    parser = argparse.ArgumentParser(description="Check and publish a corpus to a local Files API.")
    parser.add_argument("--size", default="300MB", help="size of the corpus (default: 300MB)")
    arguments = parser.parse_args()
    size_bytes = int(TypeAdapter(ByteSize).validate_python(arguments.size))
    signal.signal(signal.SIGTERM, _end)
    try:
        with tempfile.TemporaryDirectory(prefix="ingest-demo-") as folder:
            demo(Path(folder), size_bytes)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
