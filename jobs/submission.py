"""Sends a publish to a Ray cluster as a job, and sees it through: `ingest submit`.

What Ray's own `ray job submit` leaves to the user: it finds the token that the cluster may want,
goes on when the log stream breaks off, ends with the job's own exit code, and brings the manifest
back. Code is shipped, never data and never the API key: job metadata can be read by anyone who
can list jobs, so the key comes from the cluster's own environment, a file there, or a secret.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests
from ray.job_submission import JobInfo, JobStatus, JobSubmissionClient

import ingest
import jobs
from ingest.errors import IngestError, UsageError
from jobs.commands.output import ECHO_MANIFEST, MANIFEST_MARK

_POLL_S = 1.0
_ENDED = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED})


def submit(
    address: str, arguments: Sequence[str], stop: threading.Event, show: Callable[[str], None]
) -> tuple[int, list[str]]:
    """Run ``python -m jobs.publish ARGUMENTS`` on the cluster and follow it to its end.

    Args:
        address: the cluster's dashboard, such as ``http://127.0.0.1:8265``.
        arguments: of ``ingest publish``, as the cluster's nodes understand them.
        stop: set it to stop the job.
        show: gets the job's log, line by line.

    Returns:
        The job's exit code, and the lines of its manifest.

    Raises:
        UsageError: there is no cluster at the address, or it refuses us.
    """
    client = _client(address)
    with _shipped_code() as folder:
        job_id = client.submit_job(
            entrypoint=shlex.join(["python", "-m", "jobs.publish", *arguments]),
            runtime_env={"working_dir": folder, "env_vars": {ECHO_MANIFEST: "1"}},
        )
    show(f"job {job_id} is submitted to {address}")
    log = _Log(show)
    ended = asyncio.run(_follow(client, job_id, log, stop))
    return _exit_code(ended), log.manifest


def _client(address: str) -> JobSubmissionClient:
    token = _token()
    headers = {"Authorization": f"Bearer {token}"} if token else None
    try:
        return JobSubmissionClient(address, headers=headers)
    except (ConnectionError, requests.RequestException, ValueError) as error:
        raise UsageError(
            f"--address {address}: no Ray dashboard answers there ({type(error).__name__}); it is "
            "the URL that `ray start --head` prints, http://HOST:8265 by default"
        ) from None
    except RuntimeError as error:
        if "token" in str(error).lower() or "authent" in str(error).lower():
            raise UsageError(
                f"--address {address}: the cluster wants a token that was not found here; set "
                "RAY_AUTH_TOKEN, or copy the head's ~/.ray/auth_token to this machine"
            ) from None
        raise UsageError(f"--address {address}: {str(error).splitlines()[0]}") from None


def _token() -> str | None:
    """The cluster's token from where Ray looks for it; a cluster without one ignores it."""
    token = os.environ.get("RAY_AUTH_TOKEN")
    if token:
        return token
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


@contextmanager
def _shipped_code() -> Iterator[str]:
    """A folder with a copy of our two packages, and nothing else of the user's."""
    with tempfile.TemporaryDirectory(prefix="ingest-code-") as folder:
        for package in (ingest, jobs):
            source = Path(package.__path__[0])
            shutil.copytree(
                source, Path(folder) / source.name, ignore=shutil.ignore_patterns("__pycache__")
            )
        yield folder


class _Log:
    """Shows a job's log once, however often its stream has to be opened again."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.manifest: list[str] = []
        self._show = show
        self._seen = 0  # characters of the log that have been taken
        self._line = ""

    def take(self, text: str, position: int) -> None:
        """Take a piece of the log that begins at ``position`` characters."""
        new = text[max(0, self._seen - position) :]
        self._seen = max(self._seen, position + len(text))
        *lines, self._line = (self._line + new).split("\n")
        for line in lines:
            self._take_line(line)

    def close(self) -> None:
        """Take a last line that has no end."""
        if self._line:
            self._take_line(self._line)

    def _take_line(self, line: str) -> None:
        if line.startswith(MANIFEST_MARK):
            self.manifest.append(line[len(MANIFEST_MARK) :])
        else:
            self._show(line)


async def _follow(
    client: JobSubmissionClient, job_id: str, log: _Log, stop: threading.Event
) -> JobInfo:
    """Show the log until the job has ended, whatever happens to the stream."""
    tail = asyncio.create_task(_tail(client, job_id, log))
    stopping = False
    while True:
        info = await asyncio.to_thread(client.get_job_info, job_id)
        if info.status in _ENDED:
            break
        if stop.is_set() and not stopping:
            stopping = True
            await asyncio.to_thread(client.stop_job, job_id)
        if tail.done():
            tail = asyncio.create_task(_tail(client, job_id, log))
        await asyncio.wait([tail], timeout=_POLL_S)
        if tail.done():
            # The stream ends before the status does; do not ask in a tight loop.
            await asyncio.sleep(_POLL_S)
    tail.cancel()
    # The stream may have broken off; the whole log is there now.
    log.take(await asyncio.to_thread(client.get_job_logs, job_id), 0)
    log.close()
    return info


async def _tail(client: JobSubmissionClient, job_id: str, log: _Log) -> None:
    position = 0
    try:
        async for text in client.tail_job_logs(job_id):
            log.take(text, position)
            position += len(text)
    except Exception as error:  # whatever broke the stream, the status is what counts
        print(f"ingest: the log stream broke off ({type(error).__name__})", file=sys.stderr)


def _exit_code(info: JobInfo) -> int:
    if info.driver_exit_code is not None and info.driver_exit_code >= 0:
        return int(info.driver_exit_code)
    if info.status == JobStatus.STOPPED:
        return 130
    if info.status == JobStatus.SUCCEEDED:
        return 0
    raise IngestError(f"the job ended as {info.status}: {info.message}; run again to go on")
