"""Sending one body: the PUT of a byte range of an upload file to a presigned URL.

``put_body`` runs in a worker (a thread of the local engine, an actor of Ray): it takes one
``PutTask``, makes one attempt and returns one ``PutResult``. Whether and when to try again is the
driver's decision (``ingest.upload``). The bytes stream from the source to the socket; they are
never held, and never carry the API key. No error shows the URL.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, TypeAlias
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

import requests
from urllib3.exceptions import HTTPError

from ingest.errors import Permanent, Retryable, TooSlow, UploadError, UrlExpired
from ingest.files import Segment
from ingest.retries import THROTTLES, is_retryable, redacted, retry_after_s
from ingest.secrets import PresignedUrl
from ingest.sources import open_segments
from ingest.watched_http import Watchdog, caused_by, thread_session

STALL_TIMEOUT_S = 60.0
"""A connection that takes or gives no byte for this long is dead."""

# Stays in a core's own cache from the read through the hash to the socket.
_BLOCK_BYTES = 256 << 10
# Under a bandwidth limit a block is what may go in this time, so that bytes flow evenly.
_PACED_BLOCK_S = 0.25
_MIN_BLOCK_BYTES = 16 << 10
_MAX_REDIRECTS = 20
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What S3 answers with status 400 although the request itself was right.
_PASSING_CODES = frozenset({"RequestTimeout", "IncompleteBody", "BadDigest", "SlowDown"})
_EXPIRED_CODES = frozenset({"ExpiredToken", "TokenRefreshRequired"})


@dataclass(frozen=True, slots=True)
class PutTask:
    """One attempt to send the bytes ``[offset, offset + length)`` of ``segments``.

    Attributes:
        label: how messages name it (``"train.jsonl part 3"``).
        timeout_s: wall clock seconds for the whole attempt, its reply included.
        rate_bytes_s: this attempt's share of the bandwidth; None sends as fast as it goes.
        local: the API itself has a private address, so private addresses are fine.
        insecure: plain http is fine: the API is on this machine, or the user said so.
        expected_s: how long it may take; a URL that expires before is not worth starting with.
        with_md5: compute the MD5 of what is sent, to hold the store's ETag against.
    """

    label: str
    segments: tuple[Segment, ...]
    offset: int
    length: int
    url: PresignedUrl
    timeout_s: float
    rate_bytes_s: float | None = None
    local: bool = False
    insecure: bool = False
    expected_s: float = 0.0
    with_md5: bool = True


@dataclass(frozen=True, slots=True)
class PutResult:
    """What the store acknowledged.

    Attributes:
        etag: unquoted; empty when the reply had none.
        md5: of the bytes that were sent, in hex; empty where the task did not ask for it.
        opaque_etag: the reply says that its ETag is not the MD5 (KMS encryption).
    """

    etag: str
    md5: str
    sent_bytes: int
    seconds: float
    opaque_etag: bool


def put_body(task: PutTask, closed: threading.Event | None = None) -> PutResult:
    """Send one body, following redirects of the store.

    Args:
        task: what to send, and where.
        closed: once it is set, nobody waits for the outcome any more: the connection is cut.

    Raises:
        Retryable: a passing fault; nothing, or an unacknowledged part, has arrived.
        UrlExpired: the store no longer honours the URL.
        SourceChanged: the source is not what was planned.
        Permanent: the store refuses, and would again.
    """
    started = time.monotonic()
    deadline = started + task.timeout_s
    url = task.url.url
    _refuse_unusable(url, task)
    # A store in a private network may be right (a VPC endpoint); one at a metadata address never.
    _refuse_addresses(url, task, lambda address: address.is_link_local, "a link-local")
    if task.url.expires_within(task.expected_s):
        raise UrlExpired(f"{task.label}: its presigned URL expires before it could have arrived")
    for _ in range(_MAX_REDIRECTS + 1):
        reply, md5, sent = _put_once(url, task, deadline, closed)
        if reply.status_code in _REDIRECTS and "Location" in reply.headers:
            url = _redirected(url, reply.headers["Location"], task)
            continue
        # Not ``reply.ok``: a 3xx without a Location (S3's answer to a wrong region) is no success.
        if not 200 <= reply.status_code < 300:
            raise _fault(reply, task)
        return PutResult(
            etag=reply.headers.get("ETag", "").strip().removeprefix("W/").strip('"'),
            md5=md5,
            sent_bytes=sent,
            seconds=time.monotonic() - started,
            opaque_etag="kms" in reply.headers.get("x-amz-server-side-encryption", "").lower()
            or "x-amz-server-side-encryption-customer-algorithm" in reply.headers,
        )
    raise Permanent(f"{task.label}: the store redirected more than {_MAX_REDIRECTS} times")


def _put_once(
    url: str, task: PutTask, deadline: float, closed: threading.Event | None
) -> tuple[requests.Response, str, int]:
    """One PUT without following anything; (reply, MD5 in hex, bytes sent)."""
    with open_segments(task.segments, task.offset, task.length) as stream:
        body = _Body(stream.readinto, task, deadline)
        watchdog = Watchdog(deadline, closed)
        try:
            with watchdog:
                reply = thread_session().put(
                    url,
                    data=body,
                    headers=task.url.headers,
                    timeout=(_connect_timeout_s(deadline), STALL_TIMEOUT_S),
                    allow_redirects=False,
                )
        # ValueError: headers or a Location that requests or http.client cannot read. The next two:
        # requests does not wrap each of them, and their texts can quote the URL.
        except (
            requests.RequestException,
            ValueError,
            HTTPError,
            HTTPException,
            _OutOfTime,
        ) as error:
            raise _connection_fault(error, url, task, body, watchdog.fired) from None
    if 200 <= reply.status_code < 300 and body.sent != task.length:
        raise Retryable(f"{task.label}: sent {body.sent} of {task.length} bytes")
    return reply, body.md5.hexdigest() if body.md5 else "", body.sent


def _connection_fault(
    error: Exception, url: str, task: PutTask, body: _Body, out_of_time: bool
) -> UploadError:
    if out_of_time or isinstance(error, _OutOfTime):
        if body.sent in (0, task.length):
            what = "sent, but not answered" if body.sent else "the store was not reached"
            return Retryable(f"{task.label}: {what} within {task.timeout_s:g} s")
        bytes_s = body.sent / task.timeout_s
        return TooSlow(
            f"{task.label}: not sent within {task.timeout_s:g} s ({body.sent} of {task.length} "
            f"bytes, {bytes_s / 1e6:.2f} MB/s); a slow link wants a smaller --part-size",
            bytes_s,
        )
    if task.url.expires_within(0):
        return UrlExpired(f"{task.label}: its presigned URL expired while it was being sent")
    host = urlsplit(url).hostname
    if isinstance(error, ValueError):  # some of requests' own are, too
        return Permanent(
            f"{task.label}: a URL or header given for {host} cannot be used "
            f"({type(error).__name__})"
        )
    if caused_by(error, ssl.SSLCertVerificationError):
        return Permanent(f"{task.label}: the certificate of {host} is not trusted")
    kind = "broke"
    if caused_by(error, TimeoutError, requests.Timeout):
        kind = f"moved no byte for {STALL_TIMEOUT_S:g} s"
    return Retryable(
        f"{task.label}: the connection to {host} {kind} after {body.sent} of "
        f"{task.length} bytes ({type(error).__name__})"
    )


def _connect_timeout_s(deadline: float) -> float:
    return min(STALL_TIMEOUT_S, max(0.001, deadline - time.monotonic()))


def _fault(reply: requests.Response, task: PutTask) -> UploadError:
    """The error that the store's reply stands for."""
    code, text = _s3_error(reply)
    message = f"{task.label}: the store answered {reply.status_code} {code} {text}".rstrip()
    status = reply.status_code
    expired = code in _EXPIRED_CODES or "expired" in text.lower() or task.url.expires_within(0)
    if status in (400, 403) and expired:
        return UrlExpired(message)
    if code in _PASSING_CODES or is_retryable(status, reply.headers):
        throttled = status in THROTTLES or code == "SlowDown"
        return Retryable(message, retry_after_s(reply.headers), throttled)
    return Permanent(message)


def _s3_error(reply: requests.Response) -> tuple[str, str]:
    """``<Code>`` and ``<Message>`` of an S3 error; empty where the body is something else."""
    try:
        root = ElementTree.fromstring(reply.content)  # noqa: S314 - expat bounds entity expansion
    except (ElementTree.ParseError, LookupError, ValueError):  # the latter two: its encoding
        return "", ""
    fields = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in root}
    return redacted(fields.get("Code", "")), redacted(fields.get("Message", ""))


def _refuse_unusable(url: str, task: PutTask) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise Permanent(f"{task.label}: the store's URL is not one of http or https")
    if parts.scheme != "https" and not task.insecure:
        raise Permanent(f"{task.label}: the store's URL is not https; --insecure allows it")


def _redirected(url: str, location: str, task: PutTask) -> str:
    """Where a reply sends us: to another public host perhaps, never into the network we run in."""
    try:
        url = urljoin(url, location)
    except ValueError:
        raise Permanent(f"{task.label}: the store redirected to what is no URL") from None
    _refuse_unusable(url, task)
    if task.local:
        _refuse_addresses(url, task, lambda address: address.is_link_local, "a link-local")
        return url
    if not _refuse_addresses(url, task, lambda address: not address.is_global, "a private"):
        host = urlsplit(url).hostname
        raise Retryable(f"{task.label}: redirected to {host}, which cannot be resolved")
    return url


_Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"


def _refuse_addresses(
    url: str, task: PutTask, refused: Callable[[_Address], bool], kind: str
) -> bool:
    """Refuse a host with such an address; False when it cannot be resolved."""
    host = urlsplit(url).hostname or ""
    found = _addresses(host)
    if any(map(refused, found)):
        raise Permanent(f"{task.label}: the store is at {kind} address ({host}), which is refused")
    return bool(found)


def has_private_address(host: str) -> bool:
    """Whether ``host`` is in a private network, or this machine, by all of its addresses."""
    found = _addresses(host)
    return bool(found) and not any(address.is_global for address in found)


def _addresses(host: str) -> list[_Address]:
    """What a name or a literal stands for; empty when it cannot be resolved."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # UnicodeError: a label that is too long, or empty
        return []
    addresses = [ipaddress.ip_address(str(address[0]).partition("%")[0]) for *_, address in found]
    # An IPv4 address in the clothes of IPv6 is judged as what it is.
    return [getattr(address, "ipv4_mapped", None) or address for address in addresses]


class _OutOfTime(Exception):
    """The attempt's deadline passed while its body was being read."""


class _Body:
    """What requests sends: counts, hashes and paces the bytes as they are read."""

    def __init__(
        self, read_into: Callable[[memoryview], int], task: PutTask, deadline: float
    ) -> None:
        self.sent = 0
        self.md5 = hashlib.md5(usedforsecurity=False) if task.with_md5 else None
        self._read_into = read_into
        self._length = task.length
        self._deadline = deadline
        self._rate_bytes_s = task.rate_bytes_s
        block_bytes = _BLOCK_BYTES
        if task.rate_bytes_s:
            paced = int(task.rate_bytes_s * _PACED_BLOCK_S)
            block_bytes = min(_BLOCK_BYTES, max(_MIN_BLOCK_BYTES, paced))
        # One for all blocks: each is sent before the next is asked for.
        self._block = memoryview(bytearray(block_bytes))
        self._started = time.monotonic()

    def __len__(self) -> int:
        return self._length

    def read(self, _size: int = -1) -> Any:  # a memoryview; requests' types know bytes alone
        """The next block; urllib3 asks for 16 KiB, and a larger one costs less CPU a byte."""
        self._pace()
        if time.monotonic() > self._deadline:
            raise _OutOfTime
        block = self._block[: self._length - self.sent]
        block = block[: self._read_into(block)]
        if self.md5:
            self.md5.update(block)
        self.sent += len(block)
        return block

    def _pace(self) -> None:
        if self._rate_bytes_s:
            due = self._started + self.sent / self._rate_bytes_s
            time.sleep(max(0.0, min(due, self._deadline) - time.monotonic()))
