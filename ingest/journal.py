r"""The journal: what a run did and is about to do, so that the next one can finish it.

JSON Lines, append-only, synced before each effect it announces. One writer, the driver, from
several threads; one reader, ``replay``, which rebuilds the state. A torn last line is what a
crash leaves, and is passed over. It holds presigned URLs: it is the one file of ours that is
secret.

    planned -> initiating -> initiated -> part n sent ... -> completing -> completed
                                  \________________________________________/
                                     failed, aborted, or (by silence) unknown

Planned is a file that the event "run" lists and no attempt names. Unknown is what *completing*
means once its run is over: the server may have taken the last step, and is asked before anything
is repeated (``Attempt.outcome_unknown``). *Completed* is what the API confirms to hold. All other
states are the events of these names; a single request has no parts, and its body has arrived when
it is completing.

Each try to upload a file is an *attempt* with an id of its own, so that one that was given up can
still be closed at the server.
"""

from __future__ import annotations

import io
import json
import re
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ingest.errors import ManifestError
from ingest.run_store import RunStore
from ingest.secrets import PresignedUrl

_SCHEMA = 1
_LINE_START = b'{"event":"'
_LAYOUT = re.compile(r"\d+x(\d+)$")


class Phase(Enum):
    """How far an attempt came, as far as the journal tells."""

    INITIATING = "initiating"
    INITIATED = "initiated"
    COMPLETING = "completing"
    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class SentPart:
    """A part that the store acknowledged."""

    number: int
    etag: str
    md5: str


@dataclass(slots=True)
class Attempt:
    """One try to upload one file. None and empty mean that it is not known, or not yet.

    Attributes:
        identity: SHA-256 + purpose + base URL + part layout; what must be equal to go on with it.
        urls: where parts go; empty for a single request, whose URL is not worth keeping.
        error: why it failed.
    """

    attempt_id: str
    name: str
    identity: str
    num_parts: int
    base_url: str = ""
    phase: Phase = Phase.INITIATING
    upload_id: str | None = None
    file_id: str | None = None
    urls: tuple[PresignedUrl, ...] = ()
    sent: dict[int, SentPart] = field(default_factory=dict)
    error: str | None = None

    @property
    def open_at_server(self) -> bool:
        """Whether the server still holds a multipart upload for it."""
        return self.upload_id is not None and self.phase not in (Phase.COMPLETED, Phase.ABORTED)

    def sent_bytes(self, size_bytes: int) -> int:
        """How many bytes its acknowledged parts hold, of a file of so many."""
        layout = _LAYOUT.search(self.identity)
        if layout is None:
            return 0
        length = int(layout[1])  # of every part but the last
        return sum(min(length, size_bytes - (n - 1) * length) for n in self.sent)

    @property
    def outcome_unknown(self) -> bool:
        """Whether only the server can tell if it is complete, should its run be over."""
        return self.phase is Phase.COMPLETING


@dataclass(slots=True)
class PlannedFile:
    """One upload file of the run's plan, as far as ``ingest status`` needs it."""

    name: str
    size_bytes: int
    num_parts: int


@dataclass(slots=True)
class JournalState:
    """What the journal says, rebuilt.

    Attributes:
        attempts: by attempt id, oldest first.
        digests: SHA-256 by ``digest_key`` of the range that was hashed.
        link_bytes_s: how fast a part went that ran out of time; the slowest of several.
    """

    base_url: str | None = None
    planned: dict[str, PlannedFile] = field(default_factory=dict)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    link_bytes_s: float | None = None

    def attempts_by_name(self) -> dict[str, list[Attempt]]:
        """The attempts on each upload file, oldest first."""
        found: dict[str, list[Attempt]] = {}
        for attempt in self.attempts.values():
            found.setdefault(attempt.name, []).append(attempt)
        return found


def replay(content: bytes, location: str) -> JournalState:
    """The state that a journal's bytes describe.

    Raises:
        ManifestError: a line that is not the last cannot be read: this is not our journal.
    """
    state = JournalState()
    for number, line in enumerate(io.BytesIO(content), start=1):
        if line == b"\n":
            continue
        try:
            event = json.loads(line)
            _apply(state, event)
        except (ValueError, KeyError, TypeError) as error:
            if not line.endswith(b"\n") and _is_torn(line):
                break  # by a crash: its effect never began
            raise ManifestError(
                f"{location}.journal:{number}: is not a journal of ours ({error!r}); move it away"
            ) from None
    return state


def _is_torn(line: bytes) -> bool:
    """Whether a last line is the beginning of one of ours, or a block that was never written."""
    return line.startswith(_LINE_START[: len(line)]) or not line.strip(b"\0")


def _apply(state: JournalState, event: dict[str, Any]) -> None:
    kind = event["event"]
    if kind == "run":
        state.base_url = event["base_url"]
        state.planned = {
            name: PlannedFile(name, size_bytes, num_parts)
            for name, size_bytes, num_parts in event["files"]
        }
    elif kind == "hashed":
        state.digests[event["key"]] = event["sha256"]
    elif kind == "slow_link":
        state.link_bytes_s = min(event["bytes_s"], state.link_bytes_s or event["bytes_s"])
    elif kind == "initiating":
        state.attempts[event["attempt"]] = Attempt(
            event["attempt"],
            event["name"],
            event["identity"],
            event["num_parts"],
            event["base_url"],
        )
    else:
        _apply_to_attempt(state.attempts[event["attempt"]], kind, event)


def _apply_to_attempt(attempt: Attempt, kind: str, event: dict[str, Any]) -> None:
    if kind == "part_sent":
        part = SentPart(event["part"], event["etag"], event["md5"])
        attempt.sent[part.number] = part
        return
    attempt.phase = Phase(kind)
    if attempt.phase is Phase.INITIATED:
        attempt.file_id = event["file_id"]
        attempt.upload_id = event.get("upload_id")
        attempt.urls = tuple(PresignedUrl(url, headers) for url, headers in event["urls"])
    elif attempt.phase is Phase.FAILED:
        attempt.error = event["error"]


_LAZY_S = 1.0


@dataclass(slots=True, eq=False)
class _Line:
    """A line that is to be written.

    Attributes:
        awaited: a thread waits until it is.
        leads: that thread is the one to write it, and all that has been queued.
    """

    text: str
    awaited: bool
    leads: bool = False
    woken: threading.Event = field(default_factory=threading.Event)


class Journal:
    """The writer. ``record`` returns once its line would survive a crash of the machine.

    Threads that record at the same time share one sync: one leads, and writes what the others have
    queued meanwhile, so thousands of small files do not wait for thousands of syncs. The leader
    wakes those whose lines it wrote, and one more to lead next.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._queue: list[_Line] = []
        self._leading = False
        self._written_at = time.monotonic()
        self._failure: BaseException | None = None

    def record(self, event: str, **fields: Any) -> None:
        """Append one event.

        Raises:
            ManifestError: the journal cannot be written; the effect it announces must not happen.
        """
        line = self._enqueue(event, fields, awaited=True)
        if not line.leads:
            line.woken.wait()
        if line.leads:
            self._lead()
        self._check()

    def record_lazily(self, event: str, **fields: Any) -> None:
        """Append an event that announces nothing: it may wait for the next one to go with it.

        At most a second's worth waits; the first after that is written at once, with the others.

        Raises:
            ManifestError: as ``record``.
        """
        if time.monotonic() - self._written_at > _LAZY_S:
            self.record(event, **fields)
        else:
            self._enqueue(event, fields, awaited=False)

    def _enqueue(self, event: str, fields: dict[str, Any], *, awaited: bool) -> _Line:
        text = json.dumps({"event": event, **fields}, separators=(",", ":")) + "\n"
        line = _Line(text, awaited)
        with self._lock:
            self._check()
            self._queue.append(line)
            line.leads = awaited and not self._leading
            self._leading = self._leading or line.leads
        return line

    def _lead(self) -> None:
        with self._lock:
            batch, self._queue = self._queue, []
        try:
            # After a failure nothing more is written: it may have left half a line, which only
            # the end of a journal can have.
            if batch and self._failure is None:
                self._store.append("".join(line.text for line in batch).encode())
        except BaseException as error:  # told to every thread whose line was in the batch
            self._failure = error
            if not isinstance(error, Exception):
                raise
        finally:
            self._written_at = time.monotonic()
            with self._lock:
                following = next((line for line in self._queue if line.awaited), None)
                self._leading = following is not None
            for line in batch:
                line.woken.set()
            if following is not None:
                following.leads = True
                following.woken.set()

    def _check(self) -> None:
        if self._failure is not None:
            raise ManifestError(
                f"the journal of {self._store.location} cannot be written ({self._failure}); "
                "nothing more is sent, since it could not be taken up again"
            ) from self._failure

    def record_run(self, base_url: str, files: Iterable[PlannedFile]) -> None:
        """A run begins: what it is going to send."""
        plan = [[f.name, f.size_bytes, f.num_parts] for f in files]
        self.record("run", schema=_SCHEMA, base_url=base_url, files=plan)

    def record_initiated(
        self,
        attempt: Attempt,
        file_id: str,
        upload_id: str | None = None,
        urls: Iterable[PresignedUrl] = (),
    ) -> None:
        """The server gave ids and, for parts, presigned URLs."""
        attempt.file_id, attempt.upload_id, attempt.urls = file_id, upload_id, tuple(urls)
        attempt.phase = Phase.INITIATED
        self.record(
            "initiated",
            attempt=attempt.attempt_id,
            file_id=file_id,
            upload_id=upload_id,
            urls=[[url.url, url.headers] for url in attempt.urls],
        )

    def record_initiating(self, attempt: Attempt) -> None:
        """The server is about to be asked for an upload."""
        self.record(
            "initiating",
            attempt=attempt.attempt_id,
            name=attempt.name,
            identity=attempt.identity,
            num_parts=attempt.num_parts,
            base_url=attempt.base_url,
        )

    def record_part(self, attempt: Attempt, part: SentPart) -> None:
        """The store acknowledged a part."""
        attempt.sent[part.number] = part
        self.record(
            "part_sent",
            attempt=attempt.attempt_id,
            part=part.number,
            etag=part.etag,
            md5=part.md5,
        )

    def record_phase(self, attempt: Attempt, phase: Phase, error: str | None = None) -> None:
        """The attempt enters a phase that needs no more to be known."""
        attempt.phase, attempt.error = phase, error
        more = {} if error is None else {"error": error}
        self.record(phase.value, attempt=attempt.attempt_id, **more)
