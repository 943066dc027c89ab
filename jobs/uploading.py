"""Stages 5 and 6: every upload file in a thread of its own, a few files at a time.

Used by ``jobs.publish``, in the driver. A thread brings its file to the API step by step
(``ingest.upload``); all bodies go through one queue (``jobs.sending``) to the engine's workers.
A file that fails is entered in the books and takes no other one down.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from ingest.bodies import Bodies, PartsTooLarge, UploadOptions
from ingest.errors import IngestError, Interrupted
from ingest.files import UploadFile
from ingest.files_api import FilesApi
from ingest.journal import Attempt, Journal, JournalState
from ingest.planning import Limits, fit_parts
from ingest.settings import PublishSettings, is_loopback
from ingest.throttle import Throttle
from ingest.transfer import has_private_address
from ingest.upload import Uploaded, Uploader
from jobs.acknowledged import Acknowledged
from jobs.books import Books, Content
from jobs.engines import Engine
from jobs.progress import Progress
from jobs.sending import Sending

_SMALL_FILE_BYTES = 16 << 20
# A small body is sent in less time than the calls before and after it take to be answered.
_SMALL_FILES_A_BODY = 4


class UploadStage:
    """Brings files to the API.

    Args:
        settings: of the run.
        limits: which the parts were planned by.
        api: shared by all threads.
        journal: where intent is written before each effect.
        state: what an earlier run's journal says.
        books: where each file's end is entered.
        progress: told of acknowledged bytes.
        stop: set on Ctrl-C.
        throttle: the one of ``api``.
    """

    def __init__(
        self,
        settings: PublishSettings,
        limits: Limits,
        api: FilesApi,
        journal: Journal,
        state: JournalState,
        books: Books,
        progress: Progress,
        stop: threading.Event,
        throttle: Throttle,
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._api = api
        self._journal = journal
        self._attempts = state.attempts_by_name()
        self._link_bytes_s = state.link_bytes_s
        self._books = books
        self._progress = progress
        self._acknowledged = Acknowledged(progress)
        self._stop = stop
        self._throttle = throttle

    def run(
        self,
        engine: Engine,
        files: Sequence[UploadFile],
        contents: Mapping[str, Content],
        failure: Callable[[UploadFile], IngestError],
    ) -> None:
        """Bring ``files``; identical ones once.

        Args:
            engine: whose workers send.
            files: in the order in which they are begun.
            contents: by name; a file whose SHA-256 is not known fails with ``failure``.
            failure: why it is not.
        """
        identical: dict[str, list[UploadFile]] = {}
        for file in files:
            identical.setdefault(contents[file.name].sha256 or file.name, []).append(file)
        with Sending(engine.put, self._throttle, self._settings.max_bandwidth) as sending:
            bodies = Bodies(
                journal=self._journal,
                send=sending.send,
                options=self._options(),
                stop=self._stop,
                on_sent=self._acknowledged.sent,
                note=self._progress.note,
            )
            uploader = Uploader(self._api, bodies)

            def bring(same: list[UploadFile]) -> None:
                """Send the first of some identical files; the others share its id."""
                first = same[0]
                try:
                    self._check_going()
                    sha256 = contents[first.name].sha256
                    if sha256 is None:
                        raise failure(first)
                    done = self._upload(uploader, first, sha256)
                except IngestError as error:
                    for file in same:
                        self._acknowledged.failed(file, error)
                        self._books.fail(file, contents[file.name], error)
                    return
                self._acknowledged.arrived(first)
                self._books.succeed(first, contents[first.name], done)
                for file in same[1:]:
                    self._acknowledged.arrived(file)
                    self._books.succeed(file, contents[file.name], Uploaded(done.remote, True, 0))

            self._in_threads(bring, list(identical.values()))

    def _options(self) -> UploadOptions:
        settings = self._settings
        return UploadOptions(
            purpose=settings.purpose,
            base_url=settings.base_url,
            parts_in_flight=settings.max_parts_per_file,
            part_timeout_s=settings.part_timeout,
            part_size_bytes=settings.part_size,
            local=has_private_address(urlsplit(settings.base_url).hostname or ""),
            insecure=settings.insecure or is_loopback(settings.base_url),
            strict_etag=settings.etag == "strict",
        )

    def _in_threads(
        self, bring: Callable[[list[UploadFile]], None], groups: Sequence[list[UploadFile]]
    ) -> None:
        """Call ``bring`` for each group; small files do not wait behind large ones.

        Only so many uploads are open as can be busy: their URLs expire.
        """
        in_flight = self._settings.max_in_flight
        multipart: deque[list[UploadFile]] = deque()
        single: deque[list[UploadFile]] = deque()
        small: deque[list[UploadFile]] = deque()
        for group in groups:
            is_small = group[0].size_bytes <= _SMALL_FILE_BYTES
            (multipart if group[0].parts else small if is_small else single).append(group)

        def bring_all(waiting: deque[list[UploadFile]]) -> None:
            while True:
                try:
                    group = waiting.popleft()
                except IndexError:
                    return
                bring(group)

        threads = [
            *[multipart] * max(1, in_flight // self._settings.max_parts_per_file),
            *[single] * in_flight,
            *[small] * (_SMALL_FILES_A_BODY * in_flight),
        ]
        with ThreadPoolExecutor(len(threads), "upload") as pool:
            for future in [pool.submit(bring_all, waiting) for waiting in threads if waiting]:
                future.result()

    def _check_going(self) -> None:
        if self._books.fatal is not None:
            raise self._books.fatal
        if self._stop.is_set():
            raise Interrupted("stopped")

    # --- parts that a slow link can carry --------------------------------------------------------

    def _upload(self, uploader: Uploader, file: UploadFile, sha256: str) -> Uploaded:
        """Bring one file, in smaller parts where the link turns out to be slow."""
        earlier: Sequence[Attempt] = self._attempts.get(file.name, ())
        if not (earlier and earlier[-1].identity == uploader.identity(file, sha256)):
            file = self._fitted(file)
        while True:
            try:
                return uploader.upload(file, sha256, earlier)
            except PartsTooLarge as error:
                self._journal.record("slow_link", bytes_s=error.bytes_s)
                self._link_bytes_s = min(error.bytes_s, self._link_bytes_s or error.bytes_s)
                file, earlier = self._fitted(file), ()
                self._progress.note(
                    f"{file.name}: the link carries {error.bytes_s / 1e6:.2f} MB/s a part, too "
                    f"little for the parts that were planned; it starts anew in {len(file.parts)} "
                    f"parts of {file.parts[0].length / 2**20:.1f} MiB"
                )

    def _fitted(self, file: UploadFile) -> UploadFile:
        if self._link_bytes_s is None:
            return file
        timeout_s = self._settings.part_timeout
        fitted = fit_parts(file, self._link_bytes_s, timeout_s, self._limits)
        self._acknowledged.replanned(file, fitted)
        return fitted
