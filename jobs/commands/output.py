"""Results on stdout, reports in files, and the signals that stop a run."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ingest.errors import UsageError

if TYPE_CHECKING:
    from types import FrameType

    from ingest.files import FileReport, Problem
    from ingest.settings import CheckSettings, PublishSettings


ECHO_MANIFEST = "INGEST_ECHO_MANIFEST"
"""Set in a job of `ingest submit`, so that the manifest's lines are in its log ..."""
MANIFEST_MARK = "::ingest-manifest::"
"""... each behind this, and at the end their number behind ``MANIFEST_END``."""
MANIFEST_END = "::ingest-manifest-end::"


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets; a second Ctrl-C ends the process at once."""
    stop = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            os._exit(130)
        stop.set()
        # Not print: a signal may arrive within one.
        os.write(2, b"\ningest: stopping; parts in flight get a few seconds\n")

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def write_reports(
    reports: list[FileReport],
    engine: str,
    settings: CheckSettings,
    *,
    report_format: str,
    json_file: str | None,
    problems: str | None,
    to_stderr: bool = False,
    only_files: bool = False,
) -> None:
    """Write a check's reports to where the flags say.

    Args:
        reports: one a source.
        engine: the engine's name, for the report.
        settings: what the check was asked for.
        report_format: what goes to stdout.
        json_file: also write the report as JSON there; ``-`` is stdout, which then holds only it.
        problems: also write each problem there as a JSON line, those that were only counted too.
        to_stderr: put ``report_format`` on stderr: stdout is for file ids.
        only_files: leave ``report_format`` out.
    """
    from ingest.reports import print_report, render

    common = {"rules": settings.rules, "purpose": settings.purpose, "engine": engine}
    if json_file:
        document = render("json", reports, **common)  # type: ignore[arg-type]
        if json_file == "-":
            sys.stdout.write(document)
        else:
            write_file(json_file, document, "--json")
    if problems:
        _write_problems(problems, reports, settings)
    if only_files:
        return
    stream = sys.stderr if to_stderr or json_file == "-" else sys.stdout
    if report_format == "text":
        from rich.console import Console

        print_report(Console(file=stream), reports, rules=settings.rules, purpose=settings.purpose)
    else:
        stream.write(render(report_format, reports, **common))  # type: ignore[arg-type]


def in_ray_job() -> bool:
    """Whether this process was started by `ray job submit` or `ingest submit`."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def echo_manifest(settings: PublishSettings) -> None:
    """In a job of `ingest submit`: put the manifest into the log, from which it is brought back."""
    if not os.environ.get(ECHO_MANIFEST) or settings.manifest.startswith("s3://"):
        return
    from ingest.run_store import run_store

    content = run_store(settings.manifest, settings.s3_endpoint).read_manifest() or b""
    sys.stderr.flush()
    lines = content.decode().split("\n")[:-1]
    for line in lines:
        print(MANIFEST_MARK + line)
    print(f"{MANIFEST_END}{len(lines)}")
    sys.stdout.flush()


def _write_problems(path: str, reports: list[FileReport], settings: CheckSettings) -> None:
    with _opened(path, "--problems") as file:
        file.writelines(_problem_lines(reports, settings))


def _problem_lines(reports: list[FileReport], settings: CheckSettings) -> Iterator[str]:
    """Every problem as a JSON line, found one at a time, so that there may be any number."""
    from ingest.errors import IngestError
    from ingest.reports import problem_entry
    from ingest.validation.every_problem import iter_problems
    from jobs.survey import unreadable

    def line(problem: Problem) -> str:
        entry = {"uri": report.uri, **problem_entry(problem)}
        return json.dumps(entry, ensure_ascii=False) + "\n"

    for report in reports:
        try:
            for problem in iter_problems(report, settings.purpose, settings.rules):
                yield line(problem)
        except IngestError as error:  # the file has changed since it was checked
            yield line(unreadable(error))


def write_file(path: str, text: str, flag: str) -> None:
    """Write what ``flag`` asks for.

    Raises:
        UsageError: it cannot be written there.
    """
    with _opened(path, flag) as file:
        file.write(text)


@contextmanager
def _opened(path: str, flag: str) -> Iterator[TextIO]:
    try:
        with Path(path).open("w", encoding="utf-8", errors="backslashreplace") as file:
            yield file
    except OSError as error:
        raise UsageError(f"{flag} {path}: cannot be written ({error.strerror})") from None
