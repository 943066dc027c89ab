"""HTTP sessions whose calls can be cut at a wall clock deadline.

Used by ``ingest.transfer`` only. A socket's own time limit starts anew with each call, so a store
that trickles its reply would never meet it; a ``Watchdog`` shuts the socket down instead.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class Watchdog:
    """Cuts this thread's connections at ``deadline`` (``time.monotonic``), whatever blocks them.

    ``fired`` tells whether it had to.
    """

    def __init__(self, deadline: float) -> None:
        self.fired = False
        self._connections: list[HTTPConnection] = []
        self._timer = threading.Timer(max(0.0, deadline - time.monotonic()), self.fire)
        self._timer.daemon = True

    def __enter__(self) -> None:
        _of_thread.connections = self._connections
        _live.add(self)
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        _live.discard(self)
        _of_thread.connections = []

    def fire(self) -> None:
        """Cut now."""
        self.fired = True
        for connection in self._connections:
            sock = connection.sock
            if sock is not None:
                # It may have ended by itself in the same moment.
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


_live: set[Watchdog] = set()


def cut_all() -> None:
    """Cut every watched connection of this process: the run is over."""
    for watchdog in list(_live):
        watchdog.fire()


class _OfThread(threading.local):
    """What belongs to one thread: its session, and the connections its watchdog may cut."""

    def __init__(self) -> None:
        self.session: requests.Session | None = None
        self.connections: list[HTTPConnection] = []


_of_thread = _OfThread()


class _WatchedHTTP(HTTPConnection):
    def request(self, *args: object, **kwargs: object) -> None:
        _of_thread.connections.append(self)
        super().request(*args, **kwargs)  # type: ignore[arg-type]


class _WatchedHTTPS(HTTPSConnection):
    def request(self, *args: object, **kwargs: object) -> None:
        _of_thread.connections.append(self)
        super().request(*args, **kwargs)  # type: ignore[arg-type]


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _WatchedHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPS


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
            adapter = HTTPAdapter(pool_connections=4, pool_maxsize=1)
            adapter.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
            session.mount(prefix, adapter)
        _of_thread.session = session
    return _of_thread.session
