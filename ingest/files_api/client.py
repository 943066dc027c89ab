"""The calls of the Files API: each is one method, retried here as far as repeating it is safe.

The driver's threads share one ``FilesApi``. It never follows a redirect, so the key goes to the
base URL's host alone, and never puts a reply's URL into a message.

``create``, ``initiate``, ``abort`` and the reads are repeated when their reply is lost: a second
one does no harm. ``complete`` and ``preprocess`` are not: a lost reply raises ``OutcomeUnknown``,
and the caller looks the file up.
"""

from __future__ import annotations

import hashlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.parse import urljoin

import requests
from pydantic import SecretStr
from urllib3.exceptions import HTTPError

from ingest import __version__
from ingest.errors import (
    Interrupted,
    NotAuthorised,
    OutcomeUnknown,
    Permanent,
    Retryable,
)
from ingest.files import FileType, Purpose
from ingest.files_api.wire import (
    Existing,
    MultipartTicket,
    RemoteFile,
    SingleTicket,
    check_id,
    parse_conflict,
    parse_file,
    parse_file_id,
    parse_file_list,
    parse_initiated,
)
from ingest.retries import (
    ATTEMPTS,
    THROTTLES,
    backoff_s,
    is_retryable,
    redacted,
    retry_after_s,
)
from ingest.secrets import PresignedUrl
from ingest.throttle import Throttle
from ingest.watched_http import Watchdog, WatchedAdapter, caused_by

_T = TypeVar("_T")

_CONNECT_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 60.0
# Completing an upload of 250 parts makes the store put 50 GiB together before it answers.
_COMPLETE_TIMEOUT_S = 300.0
_STOP_GRACE_S = 5.0  # how long a call may go on after its run was stopped
_CONTENT_BLOCK_BYTES = 1 << 20
_CONNECTIONS = 64
# At the first call of a run nothing is lost yet: a wrong URL is told in seconds, not minutes.
_FIRST_CALL_ATTEMPTS = 3
# An id that no server gives out: asking for it tells whether the key is good, and nothing else.
_NO_SUCH_ID = "file-00000000-0000-0000-0000-000000000000"


class _Bearer(requests.auth.AuthBase):
    """Sets the key on a request; being an ``auth``, it also keeps ``~/.netrc`` out."""

    def __init__(self, key: SecretStr) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        return request


class FilesApi:
    """A client of one API under one key; safe to share between threads.

    Args:
        base_url: with ``/v1`` at its end, as ``settings.normalise_base_url`` leaves it.
        stop: set by the driver on Ctrl-C; waits between attempts end at once.
        throttle: holds calls back while the servers of the run ask for fewer requests.
    """

    def __init__(
        self,
        base_url: str,
        key: SecretStr,
        stop: threading.Event | None = None,
        attempts: int = ATTEMPTS,
        throttle: Throttle | None = None,
    ) -> None:
        self.base_url = base_url
        self._stop = stop or threading.Event()
        self._attempts = attempts
        self._throttle = throttle or Throttle(1)
        self._session = requests.Session()
        self._key = key
        self._session.auth = _Bearer(key)
        self._session.headers["User-Agent"] = f"together-bulk-ingest/{__version__}"
        adapter = WatchedAdapter(pool_connections=1, pool_maxsize=_CONNECTIONS)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def __repr__(self) -> str:
        return f"FilesApi({self.base_url!r})"

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def check_key(self) -> None:
        """Ask for nothing, to learn before any work whether the API answers and takes the key.

        Raises:
            NotAuthorised: it does not take the key.
            Retryable: it does not answer.
        """
        self._find(_NO_SUCH_ID, min(_FIRST_CALL_ATTEMPTS, self._attempts))

    def create(
        self, name: str, file_type: FileType, purpose: Purpose, checksum: str
    ) -> SingleTicket | Existing:
        """Announce a file that one PUT will carry."""
        fields = {
            "purpose": purpose,
            "file_name": name,
            "file_type": file_type,
            "checksum": checksum,
        }
        form = {field: (None, value) for field, value in fields.items()}

        def read(reply: requests.Response) -> SingleTicket | Existing:
            if reply.status_code == 409:
                return _conflict(reply)
            if reply.status_code != 302:
                raise _Garbled(f"({reply.status_code}) is not the 302 that says where to send it")
            location = reply.headers.get("Location")
            if not location:
                raise Permanent("POST /files: expected a 302 with the Location to send the file to")
            file_id = parse_file_id(reply.headers.get("X-Together-File-Id"))
            return SingleTicket(file_id, PresignedUrl(urljoin(reply.url, location)))

        return self._call("POST", "/files", read, accept=(302, 409), files=form)

    def initiate(
        self,
        name: str,
        file_type: FileType,
        purpose: Purpose,
        checksum: str,
        size_bytes: int,
        num_parts: int,
        on_lost: Callable[[], None] = lambda: None,
    ) -> MultipartTicket | Existing:
        """Open a multipart upload; call it just before its first part is sent.

        ``on_lost`` is called each time that the server may have opened one whose id did not come
        back, before it is asked anew.
        """
        body = {
            "file_name": name,
            "file_size": size_bytes,
            "num_parts": num_parts,
            "purpose": purpose,
            "file_type": file_type,
            "checksum": checksum,
        }

        def read(reply: requests.Response) -> MultipartTicket | Existing:
            if reply.status_code == 409:
                return _conflict(reply)
            return parse_initiated(_json(reply), num_parts)

        path = "/files/multipart/initiate"
        return self._call("POST", path, read, accept=(409,), on_unanswered=on_lost, json=body)

    def complete(self, upload_id: str, file_id: str, etags: list[str]) -> RemoteFile:
        """Put the parts together; ``etags[n - 1]`` is that of part ``n``, unquoted.

        Raises:
            OutcomeUnknown: the reply was lost; ``look_up`` tells.
        """
        parts = [{"part_number": n, "etag": etag} for n, etag in enumerate(etags, start=1)]
        return self._call(
            "POST",
            "/files/multipart/complete",
            _read_file,
            once=True,
            timeout_s=_COMPLETE_TIMEOUT_S,
            json={"upload_id": upload_id, "file_id": file_id, "parts": parts},
        )

    def abort(self, upload_id: str, file_id: str) -> None:
        """Close an upload that will not be finished; one that is gone already is fine."""
        body = {"upload_id": upload_id, "file_id": file_id}
        self._call("POST", "/files/multipart/abort", bool, accept=(404,), json=body)

    def preprocess(self, file_id: str) -> RemoteFile:
        """Tell the server that the body of a single upload is there.

        Raises:
            OutcomeUnknown: the reply was lost; ``look_up`` tells.
        """
        return self._call("POST", f"{_path_of(file_id)}/preprocess", _read_file, once=True)

    def find(self, file_id: str) -> RemoteFile | None:
        """The file of this id; None when the server has none, or its last step did not happen."""
        return self._find(file_id, self._attempts)

    def _find(self, file_id: str, attempts: int) -> RemoteFile | None:
        def read(reply: requests.Response) -> RemoteFile | None:
            return None if reply.status_code == 404 else _read_file(reply)

        return self._call("GET", _path_of(file_id), read, accept=(404,), attempts=attempts)

    def look_up(self, file_id: str) -> RemoteFile | None:
        """As ``find``, but a file that is not found by its id is also looked for in the list.

        For a step whose reply was lost: None is what allows to repeat it.
        """
        found = self.find(file_id)
        if found is None:
            found = next((file for file in self.list_files() if file.id == file_id), None)
        return found

    def list_files(self) -> list[RemoteFile]:
        """All files under this key."""
        return self._call("GET", "/files", lambda reply: parse_file_list(_json(reply)))

    def content(self, file_id: str) -> Iterator[bytes]:
        """The bytes of a file, in blocks of up to 1 MiB; one try.

        Raises:
            Retryable: the connection broke before the end.
        """
        path = f"{_path_of(file_id)}/content"
        with self._request("GET", path, _READ_TIMEOUT_S, stream=True) as reply:
            if not 200 <= reply.status_code < 300:
                raise self._fault(reply, f"GET {path}")
            try:
                yield from reply.iter_content(_CONTENT_BLOCK_BYTES)
            except requests.RequestException as error:
                kind = type(error).__name__
                raise Retryable(f"GET {path}: the reply broke off ({kind})") from None

    def content_sha256(self, file_id: str) -> str:
        """SHA-256 in hex of a file's bytes; after a passing fault all of them are read again."""

        def read_all() -> str:
            digest = hashlib.sha256()
            for block in self.content(file_id):
                digest.update(block)
            return digest.hexdigest()

        return self._repeated(read_all, f"GET /files/{file_id}/content", self._attempts)

    def _call(
        self,
        method: str,
        path: str,
        read: Callable[[requests.Response], _T],
        *,
        accept: tuple[int, ...] = (),
        once: bool = False,
        attempts: int | None = None,
        timeout_s: float | None = None,
        on_unanswered: Callable[[], None] = lambda: None,
        **request: Any,
    ) -> _T:
        """One call, tried again while its fault is a passing one.

        ``read`` turns a reply of 2xx, or of a status in ``accept``, into the result. ``once`` says
        that the call must not be repeated unless it surely had no effect. ``on_unanswered`` hears
        of each try that is repeated though it may have had its effect.
        """
        what = f"{method} {path}"

        def ask() -> _T:
            limit_s = timeout_s or _READ_TIMEOUT_S
            reply = self._request(method, path, limit_s, once=once, **request)
            if not (200 <= reply.status_code < 300 or reply.status_code in accept):
                raise self._fault(reply, what, once=once)
            try:
                return read(reply)
            except _Garbled as fault:
                message = f"{what}: the reply {fault}"
                raise OutcomeUnknown(message) if once else _Unanswered(message) from None

        return self._repeated(ask, what, attempts or self._attempts, on_unanswered)

    def _repeated(
        self,
        ask: Callable[[], _T],
        what: str,
        attempts: int,
        on_unanswered: Callable[[], None] = lambda: None,
    ) -> _T:
        """What ``ask`` returns, once its fault has passed."""
        for attempt in range(1, attempts + 1):
            try:
                return ask()
            except Retryable as fault:
                if attempt == attempts:
                    raise Retryable(str(fault), fault.retry_after_s) from None
                if isinstance(fault, _Unanswered):
                    on_unanswered()
                if self._stop.wait(backoff_s(attempt, fault.retry_after_s)):
                    raise Interrupted(f"{what}: stopped while waiting to try again") from None
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _request(
        self, method: str, path: str, timeout_s: float, *, once: bool = False, **request: Any
    ) -> requests.Response:
        self._throttle.wait(self._stop)
        started = self._throttle.clock()
        # The time limit of a socket starts anew with each byte; this one holds for the whole call.
        deadline = time.monotonic() + _CONNECT_TIMEOUT_S + timeout_s
        try:
            with Watchdog(deadline, self._stop, _STOP_GRACE_S):
                reply = self._session.request(
                    method,
                    self.base_url + path,
                    timeout=(_CONNECT_TIMEOUT_S, timeout_s),
                    allow_redirects=False,
                    **request,
                )
        except (requests.RequestException, ValueError, HTTPError, HTTPException) as error:
            message = f"{method} {path} at {self.base_url}: {_connection_fault(error)}"
            if isinstance(error, ValueError) or caused_by(error, ssl.SSLCertVerificationError):
                raise Permanent(message) from None
            if _never_sent(error):
                raise Retryable(message) from None
            raise OutcomeUnknown(message) if once else _Unanswered(message) from None
        if reply.status_code in THROTTLES:
            self._throttle.slow_down(started, retry_after_s(reply.headers))
        elif reply.status_code < 500:
            self._throttle.recover(started)
        return reply

    def _fault(self, reply: requests.Response, what: str, *, once: bool = False) -> Exception:
        """The error that a reply's status stands for."""
        status = reply.status_code
        # Some servers quote the key that they refuse.
        said = _server_message(reply).replace(self._key.get_secret_value(), "[the key]")
        message = f"{what}: the API answered {status} {redacted(said)}".rstrip()
        if status in (401, 403):
            return NotAuthorised(
                f"{message}; check TOGETHER_API_KEY and that the key belongs to {self.base_url}"
            )
        wish_s = retry_after_s(reply.headers)
        if once and status >= 500:
            return OutcomeUnknown(message, wish_s)
        if is_retryable(status, reply.headers):
            kind = _Unanswered if status >= 500 else Retryable
            return kind(message, wish_s)
        return Permanent(message)


class _Unanswered(Retryable):
    """The call may be repeated, and may have had its effect already; within this module alone."""


def _path_of(file_id: str) -> str:
    """Where a file is at the API; an id may come from a manifest, which anybody can edit.

    Raises:
        Permanent: it could not be an id, and would lead elsewhere.
    """
    try:
        return f"/files/{check_id(file_id)}"
    except ValueError as error:
        raise Permanent(f"a file id that was recorded cannot be one: {error}") from None


class _Garbled(Exception):
    """A status that should carry a readable body, and does not."""


def _json(reply: requests.Response) -> Any:
    try:
        return reply.json()
    except (requests.exceptions.JSONDecodeError, RecursionError):
        raise _Garbled(f"({reply.status_code}) is not JSON, or was cut short") from None


def _read_file(reply: requests.Response) -> RemoteFile:
    return parse_file(_json(reply))


def _conflict(reply: requests.Response) -> Existing:
    existing = parse_conflict(_json(reply))
    if existing is None:
        raise _Garbled("(409) names no file that is there already")
    return existing


def _server_message(reply: requests.Response) -> str:
    try:
        error = reply.json()["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (requests.exceptions.JSONDecodeError, KeyError, TypeError, RecursionError):
        return ""


def _never_sent(error: Exception) -> bool:
    """Whether the connection was never made, so that the request cannot have had an effect."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", None)
    return type(reason).__name__ in ("NewConnectionError", "NameResolutionError")


def _connection_fault(error: Exception) -> str:
    # Never the exception's own text: it quotes the URL.
    if isinstance(error, ValueError):  # requests looks at a Location even if it is not to follow
        return f"a URL or header cannot be used ({type(error).__name__})"
    if caused_by(error, ssl.SSLCertVerificationError):
        return "its certificate is not trusted; REQUESTS_CA_BUNDLE can name the one to trust"
    if _never_sent(error):
        return "cannot connect; is the URL right and the network up?"
    if caused_by(error, TimeoutError, requests.Timeout):
        return "no answer in time"
    return f"the connection broke ({type(error).__name__})"
