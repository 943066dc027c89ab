"""Validates a stored file like the server does: same rules, same verdict, one slice.

`examine` is the work; `Examiner` runs it so that no request ever waits for it. A file of some
size goes to a process of its own, started when first needed; a small one is over before such a
process is up, and is done in the calling thread.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import signal
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from ingest.errors import IngestError
from ingest.files import FileType, Problem, Purpose, RuleSet, SliceTask, SourceFile
from ingest.serve.records import ProcessingStatus, ValidationReport
from ingest.sources import open_source, stat_source

RULES: RuleSet = "standard"
_IN_THREAD_BYTES = 256 * 2**10
_READ_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Job:
    """A stored file to examine; ``checksum`` is the SHA-256 its client declared, if any."""

    uri: str
    endpoint_url: str | None
    name: str
    size_bytes: int
    file_type: FileType
    purpose: Purpose
    checksum: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The final state of a file, and the report to show."""

    status: ProcessingStatus
    report: ValidationReport


def examine(job: Job) -> Verdict:
    """Check the declared checksum, then the rules for the file's type and purpose."""
    try:
        source = stat_source(job.uri, job.name, job.endpoint_url)
        if job.checksum is not None and (found := _sha256(source)) != job.checksum:
            message = f"checksum: expected {job.checksum}, found {found}"
            return Verdict("FAILED", ValidationReport(valid=False, error=message))
        return _validate(source, job)
    except IngestError as error:
        return Verdict("FAILED", ValidationReport(valid=False, error=str(error)))


def _sha256(source: SourceFile) -> str:
    digest = hashlib.sha256()
    with open_source(source) as stream:
        while piece := stream.read(_READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _validate(source: SourceFile, job: Job) -> Verdict:
    from ingest.validation import merge_slices, validate_slice  # heavy: not at server start

    task = SliceTask(source, job.file_type, job.purpose, RULES, 0, source.size_bytes, 1)
    result = validate_slice(task)
    report = merge_slices(source, job.file_type, job.purpose, RULES, 1, [result])
    error = None if report.valid else _sentence(report.problems[0])
    return Verdict(
        "COMPLETED" if report.valid else "INVALID_FORMAT",
        ValidationReport(
            valid=report.valid,
            error=error,
            error_type=None if report.valid else "INVALID_FORMAT",
            nlines=report.records,
            dataset_format=report.dataset_format and report.dataset_format.upper(),
        ),
    )


def _sentence(problem: Problem) -> str:
    place = "" if problem.line is None else f"line {problem.line}: "
    return f"{place}{problem.message} [{problem.code}]"


class Examiner:
    """Runs examinations one at a time; the process for large files can be killed at any moment.

    A plain process and a pipe rather than an executor: an executor's worker outlives a server
    that is killed, and cannot be killed by its public interface. Here the end of the pipe ends
    the process.
    """

    def __init__(self) -> None:
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._closed = False
        self._lock = threading.Lock()

    def run(self, job: Job) -> Verdict:
        """Examine a file. Blocking: call it in a thread, one call at a time."""
        if job.size_bytes <= _IN_THREAD_BYTES:
            return examine(job)
        try:
            pipe = self._started()
            pipe.send(job)
            verdict = pipe.recv()
        except (EOFError, OSError):
            self._stop()
            message = "the validation process ended without a verdict"
            return Verdict("FAILED", ValidationReport(valid=False, error=message))
        assert isinstance(verdict, Verdict)
        return verdict

    def close(self) -> None:
        """Kill the process, whatever it is at; a waiting `run` returns."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()
                self._process.join()

    def _started(self) -> Connection:
        """The pipe to a living process.

        Raises:
            EOFError: the examiner is closed.
        """
        with self._lock:
            if self._closed:
                raise EOFError
            if self._pipe is None:
                spawn = multiprocessing.get_context("spawn")
                self._pipe, far_end = spawn.Pipe()
                self._process = spawn.Process(
                    target=_examine_all, args=(far_end,), name="examiner", daemon=True
                )
                self._process.start()
                far_end.close()  # else the end of the process would go unnoticed here
            return self._pipe

    def _stop(self) -> None:
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.join()
            if self._pipe is not None:
                self._pipe.close()
            self._process = self._pipe = None


def _examine_all(pipe: Connection) -> None:
    """The process: examine what comes in until the server is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to answer
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(examine(job))
