"""HTTP connections whose calls can be cut at a wall clock deadline, and whose replies are whole.

Used by ``ingest.transfer`` and ``ingest.files_api.client``. A socket's own time limit starts anew
with each call, so a server that trickles its reply would never meet it; a ``Watchdog`` shuts the
socket down instead. ``http.client`` takes the end of the stream for the end of the headers, so a
reply that broke off inside an ETag or a Location would pass; here it is a broken connection.
Nothing a connection logs shows a query: that of a presigned URL is a secret.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import logging
import re
import socket
import threading
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from ingest.settings import is_loopback

_LOOK_EVERY_S = 0.25


class Watchdog:
    """Cuts this thread's connections at ``deadline`` (``time.monotonic``), whatever blocks them.

    ``fired`` tells whether it had to.

    Args:
        deadline: when to cut.
        stop: once it is set, the connections are cut ``grace_s`` later.
    """

    def __init__(
        self, deadline: float, stop: threading.Event | None = None, grace_s: float = 0.0
    ) -> None:
        self.fired = False
        self._deadline = deadline
        self._stop = stop
        self._grace_s = grace_s
        self._connections: list[HTTPConnection] = []

    def __enter__(self) -> None:
        _of_thread.watchdog = self
        _patrol.add(self)

    def __exit__(self, *_: object) -> None:
        _patrol.remove(self)
        _of_thread.watchdog = None

    def fire(self) -> None:
        """Cut now, and whatever is connected from now on."""
        self.fired = True
        for connection in self._connections:
            _cut(connection)

    def watch(self, connection: HTTPConnection) -> None:
        """Cut ``connection`` too when the time comes; it may have come while it was made."""
        self._connections.append(connection)
        if self.fired:
            _cut(connection)

    def look(self, now: float) -> float:
        """Fire if it is time to; return how long nothing can change."""
        if self._stop is not None and self._stop.is_set():
            self._deadline = min(self._deadline, now + self._grace_s)
            self._stop = None  # heard
        if now >= self._deadline:
            self.fire()
        return max(0.0, self._deadline - now)


class _Patrol:
    """The one thread that looks after all watchdogs of this process, while there are any."""

    def __init__(self) -> None:
        self.watchdogs: set[Watchdog] = set()
        self._needed = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def add(self, watchdog: Watchdog) -> None:
        with self._lock:
            self.watchdogs.add(watchdog)
            if self._thread is None or not self._thread.is_alive():  # a fork leaves it behind
                self._thread = threading.Thread(target=self._work, name="watchdog", daemon=True)
                self._thread.start()
        self._needed.set()

    def remove(self, watchdog: Watchdog) -> None:
        with self._lock:
            self.watchdogs.discard(watchdog)

    def _work(self) -> None:
        while True:
            if not self.watchdogs:
                self._needed.wait()
                self._needed.clear()
                continue
            now = time.monotonic()
            # Locked: a call that has just ended must not be cut, others use its connection.
            with self._lock:
                quiet_s = [w.look(now) for w in self.watchdogs if not w.fired]
            # One that comes meanwhile is looked at no later than that.
            time.sleep(min([*quiet_s, _LOOK_EVERY_S]))


_patrol = _Patrol()


def _cut(connection: HTTPConnection) -> None:
    sock = connection.sock
    if sock is not None:
        # It may have ended by itself in the same moment. Not ``sock.shutdown``: that of TLS takes
        # the encryption away from under the thread that is using it.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


def caused_by(error: BaseException, *kinds: type[BaseException]) -> bool:
    """Whether an exception of ``kinds`` is at the root of one that requests raised.

    It wraps what urllib3 wrapped: certificate errors, broken TLS and time-outs look alike outside.
    """
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, kinds):
            return True
        if isinstance(each, BaseException) and each not in seen:
            seen.append(each)
            waiting += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
    return False


class _OfThread(threading.local):
    """What belongs to one thread: its session, and the watchdog over its connections."""

    def __init__(self) -> None:
        self.session: requests.Session | None = None
        self.watchdog: Watchdog | None = None

    def watch(self, connection: HTTPConnection) -> None:
        if self.watchdog is not None:
            self.watchdog.watch(connection)


_of_thread = _OfThread()


class _WholeLines:
    """Reads the head of a reply, and tells its end from the end of the stream."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._first = True

    def readline(self, limit: int = -1) -> bytes:
        line = self._stream.readline(limit)
        # No reply at all is http.client's to tell; a line over the limit too.
        if not line.endswith(b"\n") and not (self._first and not line) and len(line) != limit:
            raise http.client.IncompleteRead(b"")
        self._first = False
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _WholeReply(http.client.HTTPResponse):
    def begin(self) -> None:
        stream = self.fp
        self.fp = _WholeLines(stream)  # type: ignore[assignment]
        try:
            super().begin()
        finally:
            if isinstance(self.fp, _WholeLines):
                self.fp = stream


class _WatchedHTTP(HTTPConnection):
    response_class = _WholeReply

    def connect(self) -> None:
        super().connect()
        _of_thread.watch(self)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _of_thread.watch(self)  # now, since connecting takes time, or was done for an earlier one
        super().request(*args, **kwargs)


class _WatchedHTTPS(HTTPSConnection):
    response_class = _WholeReply

    def connect(self) -> None:
        super().connect()
        _of_thread.watch(self)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _of_thread.watch(self)
        super().request(*args, **kwargs)


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _WatchedHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPS


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class WatchedAdapter(HTTPAdapter):
    """Makes connections that a ``Watchdog`` can cut, through a proxy too (but not SOCKS)."""

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """See requests. What is on this machine is not asked for through a proxy elsewhere."""
        if is_loopback(request.url or ""):
            kwargs["proxies"] = None
        return super().send(request, *args, **kwargs)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """See requests."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """See requests."""
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        if not proxy.lower().startswith("socks"):  # there the pools are what speaks to the proxy
            manager.pool_classes_by_scheme = _POOLS
        return manager


class _NoCredentials(requests.auth.AuthBase):
    """Keeps ``~/.netrc`` out: a storage PUT must not carry an Authorization header."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def thread_session() -> requests.Session:
    """This thread's session: a connection is reused from part to part, and never shared."""
    if _of_thread.session is None:
        session = requests.Session()
        session.auth = _NoCredentials()
        for prefix in ("http://", "https://"):
            session.mount(prefix, WatchedAdapter(pool_connections=4, pool_maxsize=1))
        _of_thread.session = session
    return _of_thread.session


_QUERY = re.compile(r"\?[^\s\"']*")


def _hide_query(record: logging.LogRecord) -> bool:
    record.msg, record.args = _QUERY.sub("?...", record.getMessage()), ()
    return True


for _name in ("urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_hide_query)
