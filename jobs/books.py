"""Stage 6's records: the one writer of the manifest, and the tally that decides the exit code."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from ingest.errors import (
    DataInvalid,
    IngestError,
    Interrupted,
    ManifestError,
    NotAuthorised,
    OutcomeUnknown,
    UploadError,
)
from ingest.files import FileReport, UploadFile
from ingest.files_api import RemoteFile
from ingest.journal import Attempt
from ingest.manifest import (
    Manifest,
    ManifestEntry,
    SourceRange,
    Status,
    merge_superseded,
    usable,
)
from ingest.run_store import RunStore
from ingest.settings import PublishSettings
from ingest.statistics import ContentStatistics
from ingest.upload import Uploaded
from jobs.progress import Progress
from jobs.rate import bytes_text

_MANIFEST_EVERY_S = 3.0


@dataclass(frozen=True, slots=True)
class Content:
    """What is known of an upload file's bytes; None where nothing looked at them."""

    sha256: str | None = None
    records: int | None = None
    dataset_format: str | None = None
    statistics: ContentStatistics | None = None


class Books:
    """The manifest of a run and what went wrong in it. Safe to use from several threads.

    Attributes:
        manifest: what will be written; entries of earlier runs stay until they are replaced.
        previous: the entries as the last run left them.
        fatal: the error that no file of the run can get past, if there was one.
    """

    def __init__(
        self, settings: PublishSettings, store: RunStore, manifest: Manifest, progress: Progress
    ) -> None:
        self.manifest = manifest
        self.previous = dict(manifest.entries)
        self.fatal: IngestError | None = None
        self._settings = settings
        self._store = store
        self._progress = progress
        self._writing = threading.Lock()
        self._written_at = time.monotonic()
        self._failed: dict[str, IngestError] = {}
        self._invalid: dict[str, str] = {}
        self._differing: dict[str, str] = {}

    def published(self, file: UploadFile) -> ManifestEntry | None:
        """The earlier entry that may describe ``file``, if the API holds what it describes."""
        entry = self.previous.get(file.name)
        fits = (
            entry is not None
            and usable(entry)
            and entry.purpose == self._settings.purpose
            and entry.base_url == self._settings.base_url
            and entry.bytes == file.size_bytes
        )
        return entry if fits else None

    def keep(self, file: UploadFile, entry: ManifestEntry) -> None:
        """Keep an entry whose bytes have not changed, with the sources they were found in now."""
        sources = tuple(SourceRange.of(segment) for segment in file.segments)
        self.manifest.entries[file.name] = replace(entry, sources=sources)

    def refuse(self, reports: Sequence[FileReport]) -> set[str]:
        """Remember which sources are invalid; their URIs."""
        bad = [report for report in reports if not report.valid]
        for report in bad:
            first = report.problems[0]
            place = f"{report.uri}:{first.line}" if first.line else report.uri
            self._invalid[report.uri] = (
                f"{place}: {first.code} {first.message} ({report.problem_count} problems in all)"
            )
        return {report.uri for report in bad}

    def skip(self, file: UploadFile, content: Content) -> None:
        """Enter a file that is not sent since it is invalid."""
        self._enter(file, "invalid", content)

    def succeed(self, file: UploadFile, content: Content, done: Uploaded) -> None:
        """Enter a file that the API holds."""
        entry = self._enter(file, "duplicate" if done.duplicate else "uploaded", content, done)
        entry = self._judge(entry, done.remote)
        self._progress.advance(0, files=1)
        self._progress.finished(f"{file.name}: {entry.status} as {entry.file_id}")

    def fail(self, file: UploadFile, content: Content, error: IngestError) -> None:
        """Enter a file that could not be sent; some errors end the whole run."""
        if isinstance(error, (NotAuthorised, ManifestError, Interrupted)):
            self.fatal = self.fatal or error
        if isinstance(error, Interrupted):
            return  # the journal knows how far it came
        self._failed[file.name] = error
        word = "unknown" if isinstance(error, OutcomeUnknown) else "failed"
        self._progress.note(f"{file.name}: {word}: {error}")
        self._enter(file, "failed", content)

    def remember(self, completed: Sequence[Attempt]) -> list[Attempt]:
        """See that no id of a completed upload is lost; those that no entry can hold.

        Content that was replaced before its id was entered is superseded by what came after it, or
        by what was to come.
        """
        known = self.manifest.all_ids
        unknown = []
        changed = False
        for attempt in completed:
            if attempt.file_id is None or attempt.file_id in known:
                continue
            entry = self.manifest.entries.get(attempt.name)
            if entry is None:
                unknown.append(attempt)
                continue
            ids = (*entry.superseded, attempt.file_id)
            self.manifest.entries[attempt.name] = replace(entry, superseded=ids)
            changed = True
        if changed:
            self.write()
        return unknown

    def processed(self, entry: ManifestEntry, remote: RemoteFile) -> None:
        """Enter the server's verdict on a file that it holds."""
        entry = self._judge(entry, remote)
        self._progress.advance(entry.bytes, files=1)
        self._progress.finished(f"{entry.name}: {entry.status}")

    def write(self) -> None:
        """Write the manifest, whole or not at all."""
        self._store.replace_manifest(self.manifest.to_bytes())
        self._written_at = time.monotonic()

    def gate(self, total: int) -> None:
        """Stage 4.

        Raises:
            DataInvalid: a file is invalid, and ``on_invalid`` is ``stop``.
        """
        if self._invalid and self._settings.on_invalid == "stop":
            raise DataInvalid(
                f"{len(self._invalid)} of {total} files are invalid, so nothing was sent; "
                f"{next(iter(self._invalid.values()))}; correct them, or send the others with "
                "--on-invalid skip"
            )

    def raise_what_failed(
        self, files: Sequence[UploadFile], still_open: Sequence[Attempt] = ()
    ) -> None:
        """Raise the error that decides the exit code, if anything went wrong with ``files``.

        ``still_open`` are the uploads whose parts the server keeps for the next run.
        """
        entries = [self.manifest.entries.get(file.name) for file in files]
        published = sum(entry is not None and usable(entry) for entry in entries)
        state = f"{published} of {len(files)} files are published"
        if isinstance(self.fatal, Interrupted):
            kept = _kept(files, still_open)
            raise Interrupted(f"stopped; {state}{kept}; run the same command again to go on")
        if self.fatal is not None:
            raise self.fatal
        if self._failed:
            name, error = next(iter(self._failed.items()))
            unknown = sum(isinstance(e, OutcomeUnknown) for e in self._failed.values())
            failed = len(self._failed) - unknown
            what = [f"{failed} files failed"] * bool(failed)
            what += [f"the outcome of {unknown} files is unknown"] * bool(unknown)
            raise UploadError(
                f"{', '.join(what)}, {state}; the first, {name}: {error}; "
                "run the same command again to go on"
            )
        if self._differing:
            raise UploadError(
                f"{len(self._differing)} files are not at the API as they were sent, {state}; "
                f"{next(iter(self._differing.values()))}; `ingest verify --deep` compares the "
                "bytes; delete the file at the API and run again to send it anew"
            )
        if self._invalid:
            raise DataInvalid(
                f"{len(self._invalid)} files are invalid, {state}; "
                f"{next(iter(self._invalid.values()))}"
            )

    def _enter(
        self, file: UploadFile, status: Status, content: Content, done: Uploaded | None = None
    ) -> ManifestEntry:
        """Put a file's entry into the manifest, and write that every few seconds."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        entry = ManifestEntry(
            name=file.name,
            file_id=done.remote.id if done else None,
            status=status,
            purpose=self._settings.purpose,
            file_type=file.file_type,
            dataset_format=content.dataset_format,
            bytes=file.size_bytes,
            records=content.records,
            sha256=content.sha256,
            parts=done.parts if done else 0,
            base_url=self._settings.base_url,
            uploaded_at=now if done else None,
            sources=tuple(SourceRange.of(segment) for segment in file.segments),
            statistics=content.statistics,
        )
        entry = merge_superseded(entry, self.previous.get(file.name))
        with self._writing:
            self.manifest.entries[file.name] = entry
            if time.monotonic() - self._written_at > _MANIFEST_EVERY_S:
                self.write()
        return entry

    def _judge(self, entry: ManifestEntry, remote: RemoteFile) -> ManifestEntry:
        """Enter what the server says of a file that it holds, and remember what is against it."""
        differs = remote.differs(entry.bytes, self._lines(entry))
        if differs:
            # Not ``failed``: its bytes are there, and sending them again would meet the same id.
            # Not ``processed``: what was processed is not what was sent.
            self._differing[entry.name] = f"{entry.name}: {remote.id} {differs}"
            self._progress.note(f"{self._differing[entry.name]}; it is not taken for processed")
            return entry
        if remote.differs(entry.bytes, entry.records):
            self._progress.note(
                f"{entry.name}: the server counts {remote.lines} lines, here {entry.records} "
                "records"
            )
        status = _status_of(remote, entry.status)
        if status != entry.status:
            entry = replace(entry, status=status)
            with self._writing:
                self.manifest.entries[entry.name] = entry
        if entry.status == "invalid":
            self._invalid[entry.name] = (
                f"{entry.name}: the server refused its content as {remote.id}: "
                f"{remote.error or remote.state}"
            )
        return entry

    def _lines(self, entry: ManifestEntry) -> int | None:
        # These rules skip blank lines, which a server may count.
        return None if self._settings.rules == "basic" else entry.lines


def _kept(files: Sequence[UploadFile], still_open: Sequence[Attempt]) -> str:
    """What has been sent of files that are not complete, as the end of a sentence."""
    sizes = {file.name: file.size_bytes for file in files}
    begun = {a.name: a for a in still_open if a.sent and a.name in sizes}.values()
    if not begun:
        return ""
    parts = sum(len(attempt.sent) for attempt in begun)
    sent = sum(attempt.sent_bytes(sizes[attempt.name]) for attempt in begun)
    where = next(iter(begun)).name if len(begun) == 1 else f"{len(begun)} others"
    of = sum(attempt.num_parts for attempt in begun)
    size = sum(sizes[attempt.name] for attempt in begun)
    return (
        f"; of {where}, {parts} of {of} parts ({bytes_text(sent)} of {bytes_text(size)}) are sent "
        "and kept"
    )


def _status_of(remote: RemoteFile, otherwise: Status) -> Status:
    if remote.state == "COMPLETED":
        return "duplicate" if otherwise == "duplicate" else "processed"
    return "invalid" if remote.state in ("FAILED", "INVALID_FORMAT") else otherwise
