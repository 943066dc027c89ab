"""All seven stages: find, plan, validate, gate, upload, record, confirm.

``publish(PublishSettings(...))`` is what ``ingest publish`` and ``python -m jobs.publish`` run; a
notebook or a pipeline calls it too. It runs in the driver, which alone holds the key, talks to
the API and writes the journal and the manifest.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from itertools import chain

from ingest.digest import range_key
from ingest.errors import DataInvalid, SourceError
from ingest.files import FileReport, UploadFile
from ingest.files_api import FilesApi
from ingest.journal import Attempt, Journal, Phase, PlannedFile, replay
from ingest.manifest import Manifest, parse_manifest, usable
from ingest.run_store import RunStore, run_store
from ingest.secrets import read_api_key
from ingest.settings import PublishSettings
from ingest.throttle import Throttle
from jobs import engines
from jobs.books import Books, Content
from jobs.checking import Validation, window_of
from jobs.digests import Digests
from jobs.engines import Engine
from jobs.progress import Progress, Silent
from jobs.survey import UNREADABLE, Survey, survey
from jobs.uploading import UploadStage
from jobs.waiting import wait_processed
from jobs.windowed import run_windowed

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
    _refuse_unreadable(plan.refused)
    throttle = Throttle(settings.max_in_flight, progress.note)
    api = FilesApi(settings.base_url, key, stop, throttle=throttle)
    store = run_store(settings.manifest, settings.s3_endpoint)
    try:
        store.open()
        manifest = parse_manifest(store.read_manifest() or b"", store.location)
        api.check_key()
        run = _Run(settings, plan, api, throttle, store, manifest, progress, stop)
        return run.run(on_reports)
    finally:
        store.close()
        api.close()


def _refuse_unreadable(reports: Sequence[FileReport]) -> None:
    lost = [r for r in reports if not r.valid and r.problems[0].code in UNREADABLE]
    if lost:
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        problem = lost[0].problems[0].message.removeprefix(f"{lost[0].uri}: ")
        raise SourceError(f"{lost[0].uri}: {problem}{more}; nothing was sent")


class _Run:
    """One run: the stages in order, each a method."""

    def __init__(
        self,
        settings: PublishSettings,
        plan: Survey,
        api: FilesApi,
        throttle: Throttle,
        store: RunStore,
        manifest: Manifest,
        progress: Progress,
        stop: threading.Event,
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._api = api
        self._store = store
        self._progress = progress
        self._stop = stop
        self._books = Books(settings, store, manifest, progress)
        self._state = replay(store.read_journal(), store.location)
        self._journal = Journal(store)
        self._uploads = UploadStage(
            settings,
            plan.limits,
            api,
            self._journal,
            self._state,
            self._books,
            progress,
            stop,
            throttle,
        )

    def run(self, on_reports: OnReports | None) -> Manifest:
        """Stages 3 to 7."""
        self._tell_gone()
        total = sum(file.size_bytes for file in self._plan.uploads)
        engine = engines.start(self._settings, total, self._settings.max_in_flight)
        try:
            engine.check_sources(self._plan.sources)
            digests = Digests(engine, self._journal, self._known_digests(), self._progress)
            files = self._changed(engine, digests)
            validation = self._validate(engine, files, digests, on_reports)
            contents = {file.name: self._content(file, digests, validation) for file in files}
            sendable = self._sendable(files, contents)
            self._begin_upload(sendable)
            self._uploads.run(engine, sendable, contents, digests.failure)
        except DataInvalid:
            self._clear_journal()
            raise
        finally:
            engine.close()
        self._books.write()
        if self._settings.wait and self._books.fatal is None:
            try:
                self._wait_processed()
            finally:
                self._books.write()
        still_open = self._clear_journal()
        if still_open and self._books.fatal is None:
            names = sorted({attempt.name for attempt in still_open})
            self._progress.note(
                f"uploads of {', '.join(names[:5])} are still open at the server: "
                "run the same command again to go on, or `ingest abort` to close them"
            )
        self._books.raise_what_failed(self._plan.uploads, still_open)
        return self._books.manifest

    # --- what is there already -------------------------------------------------------------------

    def _tell_gone(self) -> None:
        planned = {file.name for file in self._plan.uploads}
        for name, entry in sorted(self._books.previous.items()):
            if name not in planned:
                self._progress.note(
                    f"{name}: is no longer among the inputs; its entry ({entry.file_id}) stays"
                )
        for attempt in self._state.attempts.values():
            if attempt.phase is Phase.INITIATING and attempt.num_parts:
                self._progress.note(
                    f"{attempt.name}: an earlier run never learned whether its upload was opened; "
                    "if it was, it is empty and its id is lost"
                )

    def _known_digests(self) -> dict[str, str]:
        """SHA-256 by the version of what was read for it: from the manifest and the journal."""
        known = {
            range_key((s.uri, s.version, s.offset, s.length) for s in entry.sources): entry.sha256
            for entry in self._books.previous.values()
            if entry.sha256
        }
        return {**known, **self._state.digests}

    def _changed(self, engine: Engine, digests: Digests) -> list[UploadFile]:
        """The upload files that the API does not hold yet, as far as the manifest tells.

        A file that is in the manifest with the same length is hashed before anything else is done
        with it: most often only its mtime is new, and then it is not even validated.
        """
        likely = [file for file in self._plan.uploads if self._books.published(file) is not None]
        self._progress.stage("compare", sum(f.size_bytes for f in likely), len(likely))
        run_windowed(digests.jobs(likely), window_of(engine), self._stop)
        changed = []
        for file in self._plan.uploads:
            entry = self._books.published(file)
            if entry is not None and entry.sha256 == digests.of(file):
                self._books.keep(file, entry)
            else:
                changed.append(file)
        unchanged = len(self._plan.uploads) - len(changed)
        if unchanged:
            self._progress.note(f"{unchanged} files are published already and have not changed")
        return changed

    # --- validation and the gate -----------------------------------------------------------------

    def _validate(
        self,
        engine: Engine,
        files: Sequence[UploadFile],
        digests: Digests,
        on_reports: OnReports | None,
    ) -> Validation:
        """Stages 3 and 4, and the digests of ``files`` beside them.

        Raises:
            DataInvalid: a file is invalid, and ``on_invalid`` is ``stop``.
            SourceError: a file can no longer be read, and ``on_invalid`` is ``stop``.
        """
        uris = {segment.source.uri for file in files for segment in file.segments}
        sources = [source for source in self._plan.sources if source.uri in uris]
        check = self._settings.check
        checked = sources if check else []
        validation = Validation(self._plan, self._settings, engine, self._progress)
        self._progress.stage(
            "validate" if check else "hash", sum(s.size_bytes for s in sources), len(sources)
        )
        of_source: dict[str, list[UploadFile]] = {source.uri: [] for source in sources}
        for file in files:
            of_source[file.segments[0].source.uri].append(file)
        # A file's digest goes before its slices: it is one long read, and would end last.
        jobs = chain.from_iterable(
            chain(
                digests.jobs(of_source[source.uri], counted=not check),
                validation.jobs([source] if check else []),
            )
            for source in sources
        )
        run_windowed(jobs, window_of(engine), self._stop)
        reports = [*self._plan.refused, *(validation.reports[source.uri] for source in checked)]
        if on_reports is not None:
            on_reports(reports, engine.name)
        if self._settings.on_invalid == "stop":
            _refuse_unreadable(reports)  # gone since it was found: not invalid data
        self._invalid = self._books.refuse(reports)
        self._books.gate(len(reports))
        return validation

    def _content(self, file: UploadFile, digests: Digests, validation: Validation) -> Content:
        first = file.segments[0]
        report = validation.reports.get(first.source.uri)
        statistics = validation.statistics.get((first.source.uri, first.offset))
        return Content(
            sha256=digests.of(file),
            records=statistics.records if statistics else None,
            dataset_format=report.dataset_format if report else None,
            statistics=statistics,
        )

    def _sendable(
        self, files: Sequence[UploadFile], contents: dict[str, Content]
    ) -> list[UploadFile]:
        """The files that may be sent; the others are entered as invalid."""
        sendable = []
        for file in files:
            if file.segments[0].source.uri in self._invalid:
                self._books.skip(file, contents[file.name])
            else:
                sendable.append(file)
        return sendable

    def _begin_upload(self, files: Sequence[UploadFile]) -> None:
        plan = [PlannedFile(f.name, f.size_bytes, len(f.parts)) for f in self._plan.uploads]
        self._journal.record_run(self._settings.base_url, plan)
        self._progress.stage(
            "upload",
            sum(file.size_bytes for file in files),
            len(files),
            sum(len(file.parts) for file in files),
        )

    # --- the end ---------------------------------------------------------------------------------

    def _wait_processed(self) -> None:
        """Stage 7 with ``--wait``: follow the server's processing of this run's files."""
        planned = {file.name for file in self._plan.uploads}
        waiting = [
            entry
            for entry in self._books.manifest.sorted()
            if entry.name in planned and usable(entry) and entry.status != "processed"
        ]
        self._progress.stage("process", sum(e.bytes for e in waiting), len(waiting))
        for entry, remote in wait_processed(self._api, waiting, self._stop):
            self._books.processed(entry, remote)

    def _clear_journal(self) -> list[Attempt]:
        """Forget the journal, unless uploads are open at the server; these.

        A single request whose last step is unknown is one: its body is there, to be gone on with.
        """
        state = replay(self._store.read_journal(), self._store.location)
        still_open = [
            attempt
            for attempt in state.attempts.values()
            if attempt.open_at_server or attempt.phase is Phase.COMPLETING
        ]
        completed = [a for a in state.attempts.values() if a.phase is Phase.COMPLETED]
        unknown = self._books.remember(completed)
        for attempt in unknown:
            self._progress.note(
                f"{attempt.name}: an earlier run published it as {attempt.file_id}; the journal "
                "keeps that until a publish with this file among its inputs records it"
            )
        if not still_open and not unknown:
            self._store.clear_journal()
        return still_open


def main() -> None:
    """``python -m jobs.publish``: the arguments of ``ingest publish``."""
    from jobs.cli import main as command_line

    command_line(["publish", *sys.argv[1:]])


if __name__ == "__main__":
    main()
