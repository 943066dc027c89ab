"""The warnings of ``--duplicates``, put into the reports of a check.

Used by `ingest check` and `ingest publish`. The driver reads the JSON Lines files once more, one
after another: slower than validation, but in bounded memory, and the same on either engine.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from ingest.errors import Interrupted, SourceError, UploadError
from ingest.files import FileReport, RuleSet
from ingest.validation.duplicates import Repeated, find_duplicates
from jobs.progress import Progress


def with_duplicates(
    reports: Sequence[FileReport],
    rules: RuleSet,
    max_warnings: int,
    progress: Progress,
    stop: threading.Event,
) -> list[FileReport]:
    """Return ``reports`` with a warning for each record that an earlier one repeats.

    Raises:
        SourceError: a file cannot be read, or is not what it was when it was checked.
        Interrupted: ``stop`` was set.
    """
    sources = [r.source for r in reports if r.source is not None and r.file_type == "jsonl"]
    progress.stage("duplicates", sum(source.size_bytes for source in sources), len(sources))

    def on_read(size_bytes: int) -> None:
        if stop.is_set():
            raise Interrupted("stopped while looking for repeated records")
        progress.advance(size_bytes)

    try:
        found = find_duplicates(sources, rules, max_warnings, on_read)
    except UploadError as error:  # it has changed, or its store has a fault; nothing was sent
        raise SourceError(f"--duplicates: {error}") from None
    return [_joined(r, found[r.uri], max_warnings) if r.uri in found else r for r in reports]


def _joined(report: FileReport, repeated: Repeated, max_warnings: int) -> FileReport:
    warnings = sorted((*report.warnings, *repeated.warnings), key=lambda warning: warning.line or 0)
    return replace(
        report,
        warning_count=report.warning_count + repeated.count,
        warnings=tuple(warnings[:max_warnings]),
    )
