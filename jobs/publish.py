"""All seven stages: find, plan, validate, gate, upload, record, confirm.

``publish(PublishSettings(...))`` is what ``ingest publish`` and ``python -m jobs.publish`` run; a
notebook or a pipeline calls it too. It runs in the driver, which alone holds the key, talks to
the API and writes the journal and the manifest.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from itertools import chain

from ingest.digest import range_key
from ingest.errors import (
    DataInvalid,
    IngestError,
    Interrupted,
    ManifestError,
    NotAuthorised,
    SourceError,
    UploadError,
)
from ingest.files import FileReport, UploadFile
from ingest.files_api import FilesApi, RemoteFile
from ingest.journal import Journal, PlannedFile, replay
from ingest.manifest import (
    Manifest,
    ManifestEntry,
    SourceRange,
    Status,
    merge_superseded,
    parse_manifest,
    usable,
)
from ingest.run_store import RunStore, run_store
from ingest.secrets import read_api_key
from ingest.settings import PublishSettings, is_loopback
from ingest.upload import Uploaded, Uploader, UploadOptions
from jobs import engines
from jobs.checking import Digests, Validation, window_of
from jobs.engines import Engine
from jobs.progress import Progress, Silent
from jobs.survey import UNREADABLE, Survey, survey
from jobs.waiting import wait_processed
from jobs.windowed import run_windowed

_MANIFEST_EVERY_S = 3.0

OnReports = Callable[[list[FileReport], str], None]


def publish(
    settings: PublishSettings,
    *,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    on_reports: OnReports | None = None,
) -> Manifest:
    """Publish what ``settings.inputs`` name, and return the manifest that was written.

    What an earlier run has published or begun is not sent again.

    Args:
        settings: the same as the flags of ``ingest publish``.
        progress: told what happens; nothing is shown by default.
        stop: set it from another thread, or a signal handler, to stop cleanly.
        on_reports: called with the reports of what was validated and the engine's name, before
            the gate decides.

    Raises:
        UsageError: an input is missing or unreadable, or the manifest is not usable.
        NotAuthorised: the API refuses the key.
        DataInvalid: data is invalid; by default nothing was sent.
        UploadError: some files failed, or their outcome is unknown; the manifest tells the others.
        Interrupted: ``stop`` was set. Calling again goes on where this run stopped.
    """
    progress = progress or Silent()
    stop = stop or threading.Event()
    key = read_api_key(settings.api_key_file, settings.api_key_secret)
    plan = survey(settings)
    _refuse_unreadable(plan)
    api = FilesApi(settings.base_url, key, stop)
    store = run_store(settings.manifest, settings.s3_endpoint)
    try:
        store.open()
        manifest = parse_manifest(store.read_manifest() or b"", store.location)
        api.check_key()
        run = _Run(settings, plan, api, store, manifest, progress, stop)
        return run.run(on_reports)
    finally:
        store.close()
        api.close()


def _refuse_unreadable(plan: Survey) -> None:
    lost = [report for report in plan.refused if report.problems[0].code in UNREADABLE]
    if lost:
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        raise SourceError(f"{lost[0].uri}: {lost[0].problems[0].message}{more}; nothing was sent")


class _Run:
    """One run's state: the entries of the manifest, and what failed."""

    def __init__(
        self,
        settings: PublishSettings,
        plan: Survey,
        api: FilesApi,
        store: RunStore,
        manifest: Manifest,
        progress: Progress,
        stop: threading.Event,
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._api = api
        self._store = store
        self._manifest = manifest
        self._progress = progress
        self._stop = stop
        self._state = replay(store.read_journal(), store.location)
        self._journal = Journal(store)
        self._writing = threading.Lock()
        self._written_at = time.monotonic()
        self._previous = dict(manifest.entries)
        self._failed: dict[str, IngestError] = {}
        self._invalid: dict[str, str] = {}
        self._fatal: IngestError | None = None

    def run(self, on_reports: OnReports | None) -> Manifest:
        """Stages 3 to 7."""
        self._tell_gone()
        total = sum(file.size_bytes for file in self._plan.uploads)
        engine = engines.start(self._settings, total, self._settings.max_in_flight)
        try:
            engine.check_sources(self._plan.sources)
            self._digests = Digests(engine, self._journal, self._known_digests())
            files = self._changed(engine)
            files, records = self._validated(engine, files, on_reports)
            self._upload(engine, files, records)
        except DataInvalid:
            self._clear_journal()
            raise
        finally:
            engine.close()
        if self._settings.wait and self._fatal is None:
            self._wait_processed()
        self._close_books()
        self._raise_what_failed()
        return self._manifest

    # --- what is there already -------------------------------------------------------------------

    def _tell_gone(self) -> None:
        planned = {file.name for file in self._plan.uploads}
        for name, entry in sorted(self._previous.items()):
            if name not in planned:
                self._progress.note(
                    f"{name}: is no longer among the inputs; its entry ({entry.file_id}) stays"
                )
        for attempt in self._state.attempts.values():
            if attempt.phase.value == "initiating" and attempt.num_parts:
                self._progress.note(
                    f"{attempt.name}: an earlier run never learned whether its upload was opened; "
                    "if it was, it is empty and its id is lost"
                )

    def _known_digests(self) -> dict[str, str]:
        """SHA-256 by the version of what was read for it: from the manifest and the journal."""
        known = {
            range_key((s.uri, s.version, s.offset, s.length) for s in entry.sources): entry.sha256
            for entry in self._previous.values()
            if entry.sha256
        }
        return {**known, **self._state.digests}

    def _changed(self, engine: Engine) -> list[UploadFile]:
        """The upload files that the API does not hold yet, as far as the manifest tells.

        A file that is in the manifest with the same length is hashed before anything else is done
        with it: most often only its mtime is new, and then it is not even validated.
        """
        likely = [file for file in self._plan.uploads if self._published(file) is not None]
        self._progress.stage("compare", sum(f.size_bytes for f in likely), len(likely))
        run_windowed(self._digests.jobs(likely), window_of(engine), self._stop)
        changed = []
        for file in self._plan.uploads:
            entry = self._published(file)
            if entry is not None and entry.sha256 == self._digests.of(file):
                sources = tuple(SourceRange.of(segment) for segment in file.segments)
                self._manifest.entries[file.name] = entry.model_copy(update={"sources": sources})
            else:
                changed.append(file)
        unchanged = len(self._plan.uploads) - len(changed)
        if unchanged:
            self._progress.note(f"{unchanged} files are published already and have not changed")
        return changed

    def _published(self, file: UploadFile) -> ManifestEntry | None:
        """The manifest's entry that may describe ``file``, if the API holds what it describes."""
        entry = self._previous.get(file.name)
        fits = (
            entry is not None
            and usable(entry)
            and entry.purpose == self._settings.purpose
            and entry.base_url == self._settings.base_url
            and entry.bytes == file.size_bytes
        )
        return entry if fits else None

    # --- validation and the gate -----------------------------------------------------------------

    def _validated(
        self, engine: Engine, files: list[UploadFile], on_reports: OnReports | None
    ) -> tuple[list[UploadFile], dict[str, tuple[int | None, str | None]]]:
        """The files that may be sent, and for each its records and dataset format."""
        uris = {segment.source.uri for file in files for segment in file.segments}
        sources = [source for source in self._plan.sources if source.uri in uris]
        validation = Validation(self._plan, self._settings, engine, self._progress)
        checked = sources if self._settings.check else []
        self._progress.stage(
            "validate" if checked else "hash", sum(s.size_bytes for s in checked), len(sources)
        )
        # The digest of a file comes before its slices: it is read once, front to back, and takes
        # longest to end.
        jobs = chain.from_iterable(
            chain(
                self._digests.jobs(f for f in files if f.segments[0].source == source),
                validation.jobs([source] if self._settings.check else []),
            )
            for source in sources
        )
        run_windowed(jobs, window_of(engine), self._stop)
        reports = [
            *self._plan.refused,
            *(validation.reports[source.uri] for source in checked),
        ]
        if on_reports is not None:
            on_reports(reports, engine.name)
        self._gate(reports)
        return self._sendable(files, validation)

    def _gate(self, reports: Sequence[FileReport]) -> None:
        """Stage 4.

        Raises:
            DataInvalid: a file is invalid, and ``on_invalid`` is ``stop``.
        """
        bad = [report for report in reports if not report.valid]
        for report in bad:
            self._invalid[report.uri] = (
                f"{report.uri}: {report.problem_count} problems, the first: "
                f"{report.problems[0].code} {report.problems[0].message}"
            )
        if bad and self._settings.on_invalid == "stop":
            raise DataInvalid(
                f"{len(bad)} of {len(reports)} files are invalid, so nothing was sent; "
                f"{next(iter(self._invalid.values()))}; correct them, or send the others with "
                "--on-invalid skip"
            )

    def _sendable(
        self, files: list[UploadFile], validation: Validation
    ) -> tuple[list[UploadFile], dict[str, tuple[int | None, str | None]]]:
        sendable = []
        facts: dict[str, tuple[int | None, str | None]] = {}
        for file in files:
            first = file.segments[0]
            report = validation.reports.get(first.source.uri)
            records = validation.records.get((first.source.uri, first.offset))
            facts[file.name] = (records, report.dataset_format if report else None)
            if first.source.uri in self._invalid:
                self._enter(file, "invalid", facts[file.name])
            else:
                sendable.append(file)
        return sendable, facts

    # --- upload ----------------------------------------------------------------------------------

    def _upload(
        self,
        engine: Engine,
        files: list[UploadFile],
        facts: dict[str, tuple[int | None, str | None]],
    ) -> None:
        """Stages 5 and 6: every file in a thread of its own, a few files at a time."""
        plan = [PlannedFile(f.name, f.size_bytes, len(f.parts)) for f in self._plan.uploads]
        self._journal.record_run(self._settings.base_url, plan)
        self._progress.stage("upload", sum(f.size_bytes for f in files), len(files))
        uploader = Uploader(
            api=self._api,
            journal=self._journal,
            send=engine.put,
            options=self._options(files),
            stop=self._stop,
            on_sent=lambda _name, size_bytes: self._progress.advance(size_bytes),
            note=self._progress.note,
        )
        attempts = self._state.attempts_by_name()

        def bring(same: list[UploadFile]) -> None:
            """Send the first of some identical files; the others share its id."""
            first = same[0]
            try:
                sha256 = self._sha256(first)
                self._check_going()
                done = uploader.upload(first, sha256, attempts.get(first.name, ()))
            except IngestError as error:
                for file in same:
                    self._fail(file, error, facts[file.name])
                return
            self._succeed(first, done, facts[first.name])
            for file in same[1:]:
                self._progress.advance(file.size_bytes)
                self._succeed(file, Uploaded(done.remote, True, 0), facts[file.name])

        groups: dict[str, list[UploadFile]] = {}
        for file in files:
            groups.setdefault(self._digests.of(file) or file.name, []).append(file)
        self._in_threads(bring, list(groups.values()))

    def _in_threads(
        self, bring: Callable[[list[UploadFile]], None], groups: list[list[UploadFile]]
    ) -> None:
        """Call ``bring`` for each group; multipart uploads do not wait behind small files.

        Only so many multipart uploads are open as can be busy: their URLs expire.
        """
        in_flight = self._settings.max_in_flight
        large = max(1, in_flight // self._settings.max_parts_per_file)
        with (
            ThreadPoolExecutor(large, "multipart") as multipart,
            ThreadPoolExecutor(in_flight, "single") as single,
        ):
            futures = [
                (multipart if group[0].parts else single).submit(bring, group) for group in groups
            ]
            for future in futures:
                future.result()

    def _options(self, files: list[UploadFile]) -> UploadOptions:
        settings = self._settings
        bodies = sum(min(len(f.parts), settings.max_parts_per_file) or 1 for f in files)
        share = max(1, min(settings.max_in_flight, bodies))
        return UploadOptions(
            purpose=settings.purpose,
            base_url=settings.base_url,
            parts_in_flight=settings.max_parts_per_file,
            part_timeout_s=settings.part_timeout,
            rate_bytes_s=settings.max_bandwidth / share if settings.max_bandwidth else None,
            local=settings.insecure or is_loopback(settings.base_url),
            strict_etag=settings.etag == "strict",
        )

    def _sha256(self, file: UploadFile) -> str:
        digest = self._digests.of(file)
        if digest is None:
            raise self._digests.failure(file)
        return digest

    def _check_going(self) -> None:
        if self._fatal is not None:
            raise self._fatal
        if self._stop.is_set():
            raise Interrupted("stopped")

    # --- records ---------------------------------------------------------------------------------

    def _succeed(
        self, file: UploadFile, done: Uploaded, facts: tuple[int | None, str | None]
    ) -> None:
        status = _status_of(done.remote, "duplicate" if done.duplicate else "uploaded")
        entry = self._enter(file, status, facts, done)
        self._judge(entry, done.remote)
        self._progress.advance(0, files=1)
        self._progress.finished(f"{file.name}: {entry.status} as {entry.file_id}")

    def _fail(
        self, file: UploadFile, error: IngestError, facts: tuple[int | None, str | None]
    ) -> None:
        if isinstance(error, (NotAuthorised, ManifestError, Interrupted)):
            # The same would happen to every other file.
            self._fatal = self._fatal or error
        if isinstance(error, Interrupted):
            return
        self._failed[file.name] = error
        self._progress.note(f"{file.name}: failed: {error}")
        self._enter(file, "failed", facts)

    def _enter(
        self,
        file: UploadFile,
        status: Status,
        facts: tuple[int | None, str | None],
        done: Uploaded | None = None,
    ) -> ManifestEntry:
        """Put a file's entry into the manifest, and write that every few seconds."""
        records, dataset_format = facts
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        entry = ManifestEntry(
            name=file.name,
            file_id=done.remote.id if done else None,
            status=status,
            purpose=self._settings.purpose,
            file_type=file.file_type,
            dataset_format=dataset_format,
            bytes=file.size_bytes,
            records=records,
            sha256=self._digests.of(file),
            parts=done.parts if done else 0,
            base_url=self._settings.base_url,
            uploaded_at=now if done else None,
            sources=tuple(SourceRange.of(segment) for segment in file.segments),
        )
        entry = merge_superseded(entry, self._previous.get(file.name))
        with self._writing:
            self._manifest.entries[file.name] = entry
            if time.monotonic() - self._written_at > _MANIFEST_EVERY_S:
                self._write_manifest()
        return entry

    def _write_manifest(self) -> None:
        self._store.replace_manifest(self._manifest.to_bytes())
        self._written_at = time.monotonic()

    def _judge(self, entry: ManifestEntry, remote: RemoteFile) -> None:
        """Remember what the server says against a file that it holds."""
        if entry.status == "invalid":
            self._invalid[entry.name] = (
                f"{entry.name}: the server refused its content as {remote.id}: "
                f"{remote.error or remote.state}"
            )
        counted = entry.status == "processed" and remote.lines is not None
        if counted and entry.records is not None and remote.lines != entry.records:
            self._progress.note(
                f"{entry.name}: the server counts {remote.lines} records, here {entry.records}"
            )

    def _wait_processed(self) -> None:
        """Follow the server's processing of this run's files to its end."""
        planned = {file.name for file in self._plan.uploads}
        waiting = [
            entry
            for entry in self._manifest.sorted()
            if entry.name in planned and usable(entry) and entry.status != "processed"
        ]
        self._progress.stage("process", sum(e.bytes for e in waiting), len(waiting))
        for entry, remote in wait_processed(self._api, waiting, self._stop):
            status = _status_of(remote, entry.status)
            entry = entry.model_copy(update={"status": status})
            self._manifest.entries[entry.name] = entry
            self._judge(entry, remote)
            self._progress.advance(entry.bytes, files=1)
            self._progress.finished(f"{entry.name}: {status}")

    def _close_books(self) -> None:
        self._write_manifest()
        still_open = self._clear_journal()
        if still_open and self._fatal is None:
            self._progress.note(
                f"uploads of {', '.join(sorted(set(still_open))[:5])} are still open at the "
                "server: run the same command again to go on, or `ingest abort` to close them"
            )

    def _clear_journal(self) -> list[str]:
        """Forget the journal, unless uploads are open at the server; their names."""
        state = replay(self._store.read_journal(), self._store.location)
        still_open = [a.name for a in state.attempts.values() if a.open_at_server]
        if not still_open:
            self._store.clear_journal()
        return still_open

    def _raise_what_failed(self) -> None:
        """The error that decides the exit code, if anything went wrong."""
        total = len(self._plan.uploads)
        published = sum(
            usable(self._manifest.entries[f.name])
            for f in self._plan.uploads
            if f.name in self._manifest.entries
        )
        state = f"{published} of {total} files are published"
        if isinstance(self._fatal, Interrupted):
            raise Interrupted(f"stopped; {state}; run the same command again to go on")
        if self._fatal is not None:
            raise self._fatal
        if self._failed:
            name, error = next(iter(self._failed.items()))
            raise UploadError(
                f"{len(self._failed)} files failed, {state}; the first, {name}: {error}; "
                "run the same command again to go on"
            )
        if self._invalid:
            raise DataInvalid(
                f"{len(self._invalid)} files are invalid, {state}; "
                f"{next(iter(self._invalid.values()))}"
            )


def _status_of(remote: RemoteFile, otherwise: Status) -> Status:
    if remote.state == "COMPLETED":
        return "duplicate" if otherwise == "duplicate" else "processed"
    return "invalid" if remote.state in ("FAILED", "INVALID_FORMAT") else otherwise


def main() -> None:
    """``python -m jobs.publish``: the arguments of ``ingest publish``."""
    from jobs.cli import main as command_line

    command_line(["publish", *sys.argv[1:]])


if __name__ == "__main__":
    main()
