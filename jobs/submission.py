"""Sends a publish to a Ray cluster as a job, and sees it through: `ingest submit`.

What Ray's own `ray job submit` leaves to the user: it finds the token that the cluster may want,
goes on when the log stream breaks off, ends with the job's own exit code, and brings the manifest
back. Code is shipped, never data and never the API key: job metadata can be read by anyone who
can list jobs, so the key comes from the cluster's own environment, a file there, or a secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobInfo, JobStatus, JobSubmissionClient

import ingest
import jobs
from ingest.errors import IngestError, UsageError
from jobs.commands.output import ECHO_MANIFEST, MANIFEST_END, MANIFEST_MARK
from jobs.ray_access import find_token

_POLL_S = 1.0
_KNOCK_TIMEOUT_S = 10.0
_SILENCE_S = 60.0
"""A cluster whose dashboard does not answer for this long is taken for lost."""
_ENDED = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED})
# Ray kills a job 3 s after it was asked to stop: parts in flight may take longer to arrive.
_ENVIRONMENT = {ECHO_MANIFEST: "1", "RAY_JOB_STOP_WAIT_TIME_S": "20"}
# Ray's client takes these for its address, whatever address it is given.
_OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


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
        The job's exit code, and the lines of its manifest; none if it told none to its end.

    Raises:
        UsageError: there is no cluster at the address, or it refuses us.
        IngestError: the job came to no end of its own, or the cluster is lost from sight.
    """
    for handler in logging.getLogger("ray").handlers:  # its modules set levels of their own
        handler.setLevel(logging.WARNING)
    client = _client(address)
    entrypoint = shlex.join(["python", "-m", "jobs.publish", *arguments])
    with _shipped_code() as folder:
        try:
            job_id = client.submit_job(
                entrypoint=entrypoint,
                runtime_env={"working_dir": folder, "env_vars": _ENVIRONMENT},
            )
        except (requests.RequestException, RuntimeError) as error:
            raise IngestError(f"{address}: the job was not taken ({_first_line(error)})") from None
    show(f"job {job_id} is submitted to {address}")
    log = _Log(show)
    ended = asyncio.run(_follow(client, job_id, log, stop))
    return _exit_code(ended), log.manifest


def _client(address: str) -> JobSubmissionClient:
    if not address.startswith(("http://", "https://")):
        raise UsageError(
            f"--address {address}: expected the URL of the cluster's dashboard, http://HOST:8265 "
            "by default"
        )
    token = find_token()
    headers = {"Authorization": f"Bearer {token}"} if token else None
    try:
        # Ray's client would wait for an answer without an end.
        requests.head(address, timeout=_KNOCK_TIMEOUT_S)
        with _without(_OVERRIDES):
            return JobSubmissionClient(address, headers=headers)
    except (ConnectionError, requests.RequestException, ValueError) as error:
        raise UsageError(
            f"--address {address}: no Ray dashboard answers there ({type(error).__name__}); it is "
            "the URL that `ray start --head` prints, http://HOST:8265 by default"
        ) from None
    except AuthenticationError:
        raise UsageError(
            f"--address {address}: the cluster wants a token and "
            f"{'refuses the one' if token else 'there is none'} here; set RAY_AUTH_TOKEN, or copy "
            "the head's ~/.ray/auth_token to this machine"
        ) from None
    except RuntimeError as error:
        raise UsageError(f"--address {address}: {_first_line(error)}") from None


@contextmanager
def _without(variables: Sequence[str]) -> Iterator[None]:
    """The environment without these variables, for the length of a ``with`` block."""
    before = {name: os.environ.pop(name) for name in variables if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


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
    """Shows a job's log once, however often its stream has to be opened again.

    Attributes:
        manifest: the lines of the manifest, once all have been seen.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self.manifest: list[str] = []
        self._show = show
        self._seen = 0  # characters of the log that have been taken
        self._line = ""
        self._manifest_so_far: list[str] = []

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
            self._manifest_so_far.append(line[len(MANIFEST_MARK) :])
        elif line.startswith(MANIFEST_END):
            # Half a manifest must not replace a whole one.
            if line[len(MANIFEST_END) :] == str(len(self._manifest_so_far)):
                self.manifest = self._manifest_so_far
        else:
            self._show(line)


async def _follow(
    client: JobSubmissionClient, job_id: str, log: _Log, stop: threading.Event
) -> JobInfo:
    """Show the log until the job has ended, whatever happens to the stream."""
    seen_at = time.monotonic()
    tail = asyncio.create_task(_tail(client, job_id, log))
    stopping = False
    while True:
        try:
            info = await asyncio.to_thread(client.get_job_info, job_id)
            if info.status in _ENDED:
                break
            if stop.is_set() and not stopping:
                await asyncio.to_thread(client.stop_job, job_id)
                stopping = True
            seen_at = time.monotonic()
        except (requests.RequestException, RuntimeError) as error:
            if time.monotonic() - seen_at > _SILENCE_S:
                raise IngestError(
                    f"job {job_id}: its cluster has not answered for {_SILENCE_S:g} s "
                    f"({_first_line(error)}); it may go on there, see `ray job status {job_id}`"
                ) from None
        if tail.done():
            # The stream ends before the status does, or broke off; not asked in a tight loop.
            tail = asyncio.create_task(_tail(client, job_id, log, after_s=_POLL_S))
        await asyncio.wait([tail], timeout=_POLL_S)
    tail.cancel()
    await asyncio.wait([tail])
    # The stream may have lagged; the whole log is there now.
    with contextlib.suppress(requests.RequestException, RuntimeError):
        log.take(await asyncio.to_thread(client.get_job_logs, job_id), 0)
    log.close()
    return info


async def _tail(client: JobSubmissionClient, job_id: str, log: _Log, after_s: float = 0.0) -> None:
    """Show the log as it grows, from its beginning: what was shown before is left out."""
    await asyncio.sleep(after_s)
    position = 0
    # Whatever broke the stream, the status is what counts, and the stream is opened again.
    with contextlib.suppress(Exception):
        async for text in client.tail_job_logs(job_id):
            log.take(text, position)
            position += len(text)


def _exit_code(info: JobInfo) -> int:
    if info.driver_exit_code is not None and info.driver_exit_code >= 0:
        return int(info.driver_exit_code)
    if info.status == JobStatus.STOPPED:
        return 130
    if info.status == JobStatus.SUCCEEDED:
        return 0
    raise IngestError(
        f"the job ended as {info.status.value} without an exit code of its own "
        f"({(info.message or 'no reason told').splitlines()[0][:300]}); run again to go on"
    )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__} {str(error).strip()[:300]}".splitlines()[0]
