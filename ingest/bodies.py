"""The bodies of an upload: which is sent when, how often, and what counts as arrived.

Used by ``ingest.upload``, in the thread that brings the file. Each attempt is a ``PutTask`` for
some worker; here is decided whether one that failed is worth another, and each part that arrived
is journalled. It must never count a part whose ETag says that other bytes were stored.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from ingest.errors import Interrupted, Permanent, Retryable, TooSlow
from ingest.files import Part, Purpose, UploadFile
from ingest.journal import Attempt, Journal, SentPart
from ingest.retries import ATTEMPTS, backoff_s
from ingest.secrets import PresignedUrl
from ingest.transfer import PutResult, PutTask

_MD5_HEX = re.compile(r"[0-9a-fA-F]{32}")
_INTERRUPT_GRACE_S = 5.0
# The next part is thought to take this much longer than the longest so far.
_EXPIRY_CAUTION = 1.5
# One part out of time may be a hiccup of the link, a second one tells how fast it is.
_SLOW_TRIES = 2


@dataclass(frozen=True, slots=True)
class UploadOptions:
    """What holds for every file of a run.

    Attributes:
        parts_in_flight: parts of one file at a time.
        part_timeout_s: wall clock seconds for one attempt of a part.
        part_size_bytes: of which ``part_timeout_s`` speaks; a larger single request has as many
            times longer.
        local: the API itself has a private address; see ``PutTask``.
        insecure: plain http is fine; see ``PutTask``.
        strict_etag: refuse a store whose ETags are not MD5s.
        attempts: how often a body is tried.
    """

    purpose: Purpose
    base_url: str
    parts_in_flight: int = 4
    part_timeout_s: float = 300.0
    part_size_bytes: int = 250 * 2**20
    local: bool = False
    insecure: bool = False
    strict_etag: bool = False
    attempts: int = ATTEMPTS


class PartsTooLarge(TooSlow):
    """The link cannot carry the parts of an upload in time, and they could be smaller."""


@dataclass(slots=True)
class _Body:
    """One PUT that is still owed: a part, or the whole file (part 0)."""

    part: Part
    url: PresignedUrl
    tries: int = 0
    mismatches: int = 0
    too_slow: int = 0
    not_before: float = 0.0


@dataclass
class Bodies:
    """Sends the bodies of uploads, one call of ``send_all`` each, from several threads.

    Attributes:
        send: queues a ``PutTask`` for a worker; the future holds its result or its error.
        stop: set on Ctrl-C: no new body is sent, those in flight get a few seconds.
        on_sent: called with the file's name, the bytes and parts that were acknowledged, and
            whether an earlier run had sent them; with negative numbers when these no longer
            count, since the upload has to start anew.
        note: called with a line a person should read.
    """

    journal: Journal
    send: Callable[[PutTask], Future[PutResult]]
    options: UploadOptions
    stop: threading.Event
    on_sent: Callable[[str, int, int, bool], None]
    note: Callable[[str], None]
    _opaque_etags: threading.Event = field(default_factory=threading.Event)

    def check_stop(self, file: UploadFile) -> None:
        """Raise ``Interrupted`` if the run is being stopped."""
        if self.stop.is_set():
            raise Interrupted(f"{file.name}: stopped; run again to go on")

    def send_all(self, file: UploadFile, attempt: Attempt, urls: tuple[PresignedUrl, ...]) -> None:
        """Send every body that is not acknowledged yet, a few at a time.

        Raises:
            UrlExpired: a URL is past its time, or would be before its part has arrived.
            PartsTooLarge: the link is too slow for them.
            UploadError: a fault that is lasting, or outlasted its attempts.
            Interrupted: ``stop`` was set.
        """
        parts = file.parts or (Part(0, 0, file.size_bytes),)
        waiting = [
            _Body(part, url)
            for part, url in zip(parts, urls, strict=True)
            if part.number not in attempt.sent
        ]
        in_flight: dict[Future[PutResult], _Body] = {}
        longest_s = 0.0
        try:
            while waiting or in_flight:
                self.check_stop(file)
                for body in self._due(waiting, len(in_flight)):
                    task = self._task(file, body, _EXPIRY_CAUTION * longest_s)
                    in_flight[self.send(task)] = body
                pause_s = min((b.not_before for b in waiting), default=0.0) - time.monotonic()
                if not in_flight:
                    self.stop.wait(max(0.0, pause_s))
                    continue
                # Woken now and then to see whether the run is being stopped.
                finished, _ = wait(in_flight, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in finished:
                    body = in_flight.pop(future)
                    result = self._acknowledge(file, attempt, body, future)
                    if result is None:
                        # Before new ones: whether a store's ETags are MD5s shows at a second try.
                        waiting.insert(0, body)
                    else:
                        longest_s = max(longest_s, result.seconds)
        finally:
            self._settle(file, attempt, in_flight)

    def _due(self, waiting: list[_Body], in_flight: int) -> Iterator[_Body]:
        """Take from ``waiting`` what may be sent now, in order of parts."""
        now = time.monotonic()
        room = self.options.parts_in_flight - in_flight
        for body in [b for b in waiting if b.not_before <= now][: max(0, room)]:
            waiting.remove(body)
            body.tries += 1
            yield body

    def _task(self, file: UploadFile, body: _Body, expected_s: float) -> PutTask:
        number = body.part.number
        times = 1.0 if number else body.part.length / self.options.part_size_bytes
        return PutTask(
            label=f"{file.name} part {number}/{len(file.parts)}" if number else file.name,
            segments=file.segments,
            offset=body.part.offset,
            length=body.part.length,
            url=body.url,
            timeout_s=self.options.part_timeout_s * max(1.0, times),
            local=self.options.local,
            insecure=self.options.insecure,
            expected_s=expected_s,
            # The ETag of a single request is not held against it: the API checks the SHA-256.
            with_md5=bool(number),
        )

    def _acknowledge(
        self, file: UploadFile, attempt: Attempt, body: _Body, future: Future[PutResult]
    ) -> PutResult | None:
        """Journal a body that has arrived; None when it is to be sent again."""
        try:
            result = future.result()
            self._check_etag(file, body, result)
        except Retryable as fault:
            self._count_slowness(file, body, fault)
            if body.tries >= self.options.attempts:
                raise
            body.not_before = time.monotonic() + backoff_s(body.tries, fault.retry_after_s)
            return None
        if body.part.number:
            self.journal.record_part(attempt, SentPart(body.part.number, result.etag, result.md5))
        self.on_sent(file.name, body.part.length, int(body.part.number > 0), False)
        return result

    def _count_slowness(self, file: UploadFile, body: _Body, fault: Retryable) -> None:
        """Whether a body ran out of time once more, and smaller ones could do better.

        Raises:
            PartsTooLarge: they could.
        """
        if not isinstance(fault, TooSlow):
            return
        body.too_slow += 1
        if body.too_slow >= _SLOW_TRIES and body.part.length > file.least_part_bytes > 0:
            raise PartsTooLarge(str(fault), fault.bytes_s) from None

    def _check_etag(self, file: UploadFile, body: _Body, result: PutResult) -> None:
        """Hold a part's ETag against its MD5, where the store's ETags are MD5s.

        Raises:
            Retryable: it is missing, or differs for the first time.
            Permanent: it differs again, and ``strict_etag`` is set.
        """
        if not body.part.number:
            return  # the server has the SHA-256 of a whole file
        where = f"{file.name} part {body.part.number}"
        if not result.etag:
            raise Retryable(f"{where}: the store acknowledged it without an ETag")
        if result.etag.lower() == result.md5:
            return
        looks_like_md5 = _MD5_HEX.fullmatch(result.etag) and not result.opaque_etag
        if looks_like_md5 and not self._opaque_etags.is_set():
            body.mismatches += 1
            if body.mismatches == 1:
                raise Retryable(f"{where}: ETag {result.etag} is not its MD5 {result.md5}")
        if self.options.strict_etag:
            raise Permanent(f"{where}: ETag {result.etag} is not its MD5 {result.md5}")
        if not self._opaque_etags.is_set():
            self._opaque_etags.set()
            self.note("the store's ETags are not MD5s: relying on byte counts and SHA-256")

    def _settle(
        self, file: UploadFile, attempt: Attempt, in_flight: dict[Future[PutResult], _Body]
    ) -> None:
        """After a failure or Ctrl-C: what is still in flight may arrive, and then counts."""
        # A cancelled future counts as running to ``wait`` until a worker has come across it.
        running = [future for future in in_flight if not future.cancel()]
        arrived, _ = wait(running, timeout=_INTERRUPT_GRACE_S)
        for future in arrived:
            body = in_flight[future]
            if body.part.number and future.exception() is None:
                result = future.result()
                if result.etag.lower() == result.md5:
                    self._acknowledge(file, attempt, body, future)
