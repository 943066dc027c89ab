"""One upload file from its plan to its id: the state machine of a single or multipart upload.

Runs in the driver, one thread a file in progress; ``Uploader`` is shared by these threads. It
alone initiates, completes and writes the journal, and journals its intent before each effect.
Bodies go out through ``send``, which hands a ``PutTask`` to a worker. It must never send a byte
to an upload whose identity (content, purpose, API, part layout) is not the planned one, and never
repeat a step whose outcome is unknown before it has looked.

A passing fault that outlasts its retries leaves the upload open, so that the next run sends only
what is missing; a lasting one aborts it at the server, and so does a link that is too slow for the
size of the parts: ``PartsTooLarge`` asks the caller for smaller ones.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from ingest.bodies import Bodies, PartsTooLarge
from ingest.errors import (
    IngestError,
    Interrupted,
    NotAuthorised,
    OutcomeUnknown,
    Permanent,
    Retryable,
    SourceChanged,
    UploadError,
    UrlExpired,
)
from ingest.files import UploadFile
from ingest.files_api import Existing, FilesApi, MultipartTicket, RemoteFile, SingleTicket
from ingest.files_api.wire import RefusedTicket
from ingest.journal import Attempt, Phase
from ingest.retries import backoff_s
from ingest.secrets import PresignedUrl

_STARTS = 3
# Less than this before its expiry, a URL is not worth starting with.
_EXPIRY_MARGIN_S = 30.0
_BAD_STATES = frozenset({"FAILED", "INVALID_FORMAT"})


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A file that the API holds.

    Attributes:
        duplicate: it held these bytes already; nothing was sent.
        parts: how many PUTs carried it, over all runs.
    """

    remote: RemoteFile
    duplicate: bool
    parts: int


class Uploader:
    """Uploads files, one call of ``upload`` each, from several threads.

    Args:
        api: where files are announced, completed and looked up.
        bodies: what brings their bytes; its journal, options and callbacks are this one's too.
    """

    def __init__(self, api: FilesApi, bodies: Bodies) -> None:
        self.api = api
        self._bodies = bodies
        self.journal = bodies.journal
        self.options = bodies.options
        self.stop = bodies.stop
        self.on_sent = bodies.on_sent
        self.note = bodies.note

    def upload(self, file: UploadFile, sha256: str, earlier: Sequence[Attempt] = ()) -> Uploaded:
        """Bring one file to the API, going on with the last of ``earlier`` where possible.

        Raises:
            UploadError: its type says whether running again can help; the journal keeps what was
                reached.
            PartsTooLarge: among them; the upload was aborted, to be planned anew.
            NotAuthorised: the key is refused.
            Interrupted: ``stop`` was set.
        """
        identity = self.identity(file, sha256)
        if earlier and earlier[-1].identity == identity:
            done = self._take_up(file, earlier[-1])
            if done is not None:
                return done
        for attempt in earlier:
            if attempt.base_url == self.options.base_url:
                self._close_earlier(attempt)
        for _ in range(_STARTS):
            done = self._start(file, sha256, identity)
            if done is not None:
                return done
            self.note(f"{file.name}: its presigned URLs expire too soon; the upload starts anew")
        raise Retryable(
            f"{file.name}: the presigned URLs expired {_STARTS} times before it was sent; "
            "a smaller --part-size or --shard-size needs less time for each, unless the clock of "
            "this machine is wrong"
        )

    def identity(self, file: UploadFile, sha256: str) -> str:
        """What an earlier attempt must be equal in, for ``upload`` to go on with it."""
        layout = f"{len(file.parts)}x{file.parts[0].length}" if file.parts else "single"
        return f"{sha256} {self.options.purpose} {self.options.base_url} {layout}"

    # --- beginning -------------------------------------------------------------------------------

    def _start(self, file: UploadFile, sha256: str, identity: str) -> Uploaded | None:
        """A new attempt; None when its URLs expired before all was sent."""
        self._bodies.check_stop(file)
        attempt = Attempt(
            attempt_id=uuid.uuid4().hex,
            name=file.name,
            identity=identity,
            num_parts=len(file.parts),
            base_url=self.options.base_url,
        )
        self.journal.record_initiating(attempt)
        try:
            ticket = self._ticket(file, sha256, attempt)
        except (Permanent, NotAuthorised):
            if attempt.phase is Phase.INITIATING:  # refused: there is nothing at the server
                self.journal.record_phase(attempt, Phase.ABORTED)
            raise
        if isinstance(ticket, Existing):
            self.journal.record_phase(attempt, Phase.ABORTED)
            return self._existing(file, ticket)
        if isinstance(ticket, MultipartTicket):
            self.journal.record_initiated(attempt, ticket.file_id, ticket.upload_id, ticket.urls)
            remote = self._finish(file, attempt, ticket.urls)
        else:
            self.journal.record_initiated(attempt, ticket.file_id)
            remote = self._finish(file, attempt, (ticket.url,))
        return self._ended(file, attempt, remote)

    def _ticket(
        self, file: UploadFile, sha256: str, attempt: Attempt
    ) -> SingleTicket | MultipartTicket | Existing:
        purpose = self.options.purpose
        if not file.parts:
            return self.api.create(file.name, file.file_type, purpose, sha256)

        def lost() -> None:
            # An attempt of its own: the journal keeps that there may be one more upload.
            attempt.attempt_id = uuid.uuid4().hex
            self.journal.record_initiating(attempt)
            self.note(
                f"{file.name}: the server did not say whether its upload was opened; "
                "if it was, it is empty and its id is lost"
            )

        try:
            return self.api.initiate(
                file.name, file.file_type, purpose, sha256, file.size_bytes, len(file.parts), lost
            )
        except RefusedTicket as error:
            self.journal.record_initiated(attempt, error.ticket.file_id, error.ticket.upload_id)
            self._give_up(attempt)
            raise Permanent(f"{file.name}: {error}") from None

    def _existing(self, file: UploadFile, existing: Existing) -> Uploaded:
        """The file a 409 names, if it is the one we would have sent."""
        remote = self.api.find(existing.file_id)
        where = f"{file.name}: the API says that {existing.file_id} has these bytes"
        if remote is None:
            raise Retryable(f"{where}, but does not find it; run again later")
        if remote.state in _BAD_STATES:
            raise Permanent(
                f"{where}, and it is {remote.state}: delete that file at the API, then run again"
            )
        if remote.purpose != self.options.purpose:
            raise Permanent(
                f"{where}, but for purpose {remote.purpose}, not {self.options.purpose}: "
                "use it there, or delete it at the API, then run again"
            )
        if remote.bytes is not None and remote.bytes != file.size_bytes:
            raise Permanent(
                f"{where}, but it has {remote.bytes} bytes, not {file.size_bytes}: "
                "delete it at the API, then run again"
            )
        return Uploaded(remote, duplicate=True, parts=0)

    # --- going on --------------------------------------------------------------------------------

    def _take_up(self, file: UploadFile, attempt: Attempt) -> Uploaded | None:
        """Bring an earlier attempt to its end; None when there is nothing to go on with."""
        if attempt.file_id is None or attempt.phase in (Phase.FAILED, Phase.ABORTED):
            return None
        if attempt.phase in (Phase.COMPLETED, Phase.COMPLETING):
            remote = self.api.look_up(attempt.file_id)
            if remote is None and attempt.phase is Phase.COMPLETING:
                remote = self._go_on(file, attempt)
            # A completed one that is not there was deleted at the API since.
            return None if remote is None else self._confirmed(file, attempt, remote)
        if not attempt.urls:
            return None  # a single request whose body was not acknowledged
        missing = [p for p in file.parts if p.number not in attempt.sent]
        margin_s = _EXPIRY_MARGIN_S
        if any(attempt.urls[p.number - 1].expires_within(margin_s) for p in missing):
            self.note(f"{file.name}: the presigned URLs have expired; the upload starts anew")
            return None
        self.note(
            f"{file.name}: going on with an earlier upload, "
            f"{len(file.parts) - len(missing)} of {len(file.parts)} parts are there"
        )
        self.on_sent(file.name, _sent_bytes(file, attempt), len(attempt.sent), True)
        return self._ended(file, attempt, self._go_on(file, attempt))

    def _close_earlier(self, attempt: Attempt) -> None:
        """Close an attempt that is not gone on with; one that may be complete is looked up."""
        if attempt.phase is Phase.COMPLETING and attempt.file_id is not None:
            remote = self.api.look_up(attempt.file_id)
            if remote is not None:
                self.journal.record_phase(attempt, Phase.COMPLETED)
                self.note(f"{attempt.name}: its earlier content is at the API, as {remote.id}")
                return
        self._give_up(attempt)

    def _go_on(self, file: UploadFile, attempt: Attempt) -> RemoteFile | None:
        """Finish an earlier attempt; None when the server or its store no longer has it."""
        try:
            return self._finish(file, attempt, attempt.urls)
        except SourceChanged:
            raise
        except Permanent as error:
            # Stores drop uploads that stay open for days. A new one tells whether that was it.
            self.note(f"{file.name}: the earlier upload is lost ({error}); it starts anew")
            return None

    def _finish(
        self, file: UploadFile, attempt: Attempt, urls: tuple[PresignedUrl, ...]
    ) -> RemoteFile | None:
        """Send what is missing and complete; None when the URLs expired."""
        try:
            if attempt.phase is not Phase.COMPLETING:
                self._bodies.send_all(file, attempt, urls)
                self.journal.record_phase(attempt, Phase.COMPLETING)
            return self._complete(attempt)
        except UrlExpired:
            self._give_up(attempt)
            return None
        except PartsTooLarge as error:
            self._give_up(attempt, error)
            self._take_back(file, attempt)
            raise
        except Permanent as error:
            self._give_up(attempt, error)
            raise

    # --- ending ----------------------------------------------------------------------------------

    def _complete(self, attempt: Attempt) -> RemoteFile:
        """Complete or preprocess; a lost outcome is looked up before anything is repeated."""
        assert attempt.file_id is not None
        for tries in range(1, self.options.attempts + 1):
            try:
                return self._complete_once(attempt)
            except UploadError as error:
                remote = self._look_up(attempt, error)
                if remote is not None:
                    return remote
                if not isinstance(error, OutcomeUnknown) or tries == self.options.attempts:
                    raise
                if self.stop.wait(backoff_s(tries, error.retry_after_s)):
                    raise Interrupted(f"{attempt.name}: stopped") from None
        raise AssertionError("unreachable: the last try returns or raises")

    def _look_up(self, attempt: Attempt, error: UploadError) -> RemoteFile | None:
        """Whether the last step took effect although it ended in ``error``.

        A refusal needs it too: the answer to a second complete is "no such upload", or "in
        progress" while the store puts a large file together.

        Raises:
            OutcomeUnknown: nobody can tell now, so that the step may neither be repeated nor its
                upload be aborted.
        """
        assert attempt.file_id is not None
        try:
            return self.api.look_up(attempt.file_id)
        except UploadError as fault:
            raise OutcomeUnknown(f"{attempt.name}: {error}; looking it up: {fault}") from None

    def _complete_once(self, attempt: Attempt) -> RemoteFile:
        assert attempt.file_id is not None
        if attempt.upload_id is None:
            return self.api.preprocess(attempt.file_id)
        etags = [attempt.sent[n].etag for n in range(1, attempt.num_parts + 1)]
        return self.api.complete(attempt.upload_id, attempt.file_id, etags)

    def _ended(
        self, file: UploadFile, attempt: Attempt, remote: RemoteFile | None
    ) -> Uploaded | None:
        """Confirm what was completed; what was not starts anew, and its parts no longer count."""
        if remote is None:
            self._take_back(file, attempt)
            return None
        return self._confirmed(file, attempt, remote)

    def _confirmed(self, file: UploadFile, attempt: Attempt, remote: RemoteFile) -> Uploaded:
        """Look the id up again: the API must hold as many bytes as were planned.

        Until it does, the attempt is not completed but of unknown outcome, and kept as such.
        """
        found = self.api.find(remote.id)
        if found is None:
            raise OutcomeUnknown(f"{file.name}: sent as {remote.id}, which is not found now")
        # A server that has not looked at the file yet may answer 0.
        known = found.bytes is not None and (found.bytes > 0 or found.state == "COMPLETED")
        if known and found.bytes != file.size_bytes:
            raise Permanent(
                f"{file.name}: the API holds {found.bytes} bytes as {found.id}, expected "
                f"{file.size_bytes}; delete that file there, then run again"
            )
        if attempt.phase is not Phase.COMPLETED:
            self.journal.record_phase(attempt, Phase.COMPLETED)
        return Uploaded(found, duplicate=False, parts=attempt.num_parts or 1)

    def _give_up(self, attempt: Attempt, error: IngestError | None = None) -> None:
        """Close an attempt here and, if it is a multipart upload, at the server.

        Never masks the error that led here: an abort that fails is noted, and stays open in the
        journal for ``ingest abort``.
        """
        if error is not None:
            self.journal.record_phase(attempt, Phase.FAILED, str(error))
        if attempt.phase in (Phase.COMPLETED, Phase.ABORTED):
            return
        if attempt.upload_id is not None and attempt.file_id is not None:
            try:
                self.api.abort(attempt.upload_id, attempt.file_id)
            except IngestError as fault:
                self.note(f"{attempt.name}: its upload could not be aborted ({fault})")
                return
        self.journal.record_phase(attempt, Phase.ABORTED)

    def _take_back(self, file: UploadFile, attempt: Attempt) -> None:
        self.on_sent(file.name, -_sent_bytes(file, attempt), -len(attempt.sent), False)


def _sent_bytes(file: UploadFile, attempt: Attempt) -> int:
    return sum(part.length for part in file.parts if part.number in attempt.sent)
