"""A TCP proxy that cuts the log streams of a Ray dashboard, and nothing else."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit


class CuttingProxy(socketserver.ThreadingTCPServer):
    """Passes connections on; one that asks for ``/logs/tail`` is cut after some bytes."""

    daemon_threads = True

    def __init__(self, target: tuple[str, int], after_bytes: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.target = target
        self.after_bytes = after_bytes
        self.cuts = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Connection(socketserver.BaseRequestHandler):
    server: CuttingProxy

    def handle(self) -> None:
        first = self.request.recv(65536)
        is_stream = b"/logs/tail" in first.partition(b"\r\n")[0]
        with socket.create_connection(self.server.target) as upstream:
            upstream.sendall(first)
            up = threading.Thread(target=_pump, args=(self.request, upstream), daemon=True)
            up.start()
            if _pump(upstream, self.request, self.server.after_bytes if is_stream else None):
                self.server.cuts += 1
            with contextlib.suppress(OSError):
                self.request.shutdown(socket.SHUT_RDWR)
            up.join()


def _pump(source: socket.socket, sink: socket.socket, limit: int | None = None) -> bool:
    """Copy until either end closes, or ``limit`` bytes have passed; whether it was the limit."""
    passed = 0
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if limit is not None:
                data = data[: limit - passed]
            sink.sendall(data)
            passed += len(data)
            if passed == limit:
                return True
        sink.shutdown(socket.SHUT_WR)
    return False


@contextlib.contextmanager
def cutting_proxy(url: str, after_bytes: int) -> Iterator[CuttingProxy]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    with CuttingProxy((parts.hostname, parts.port), after_bytes) as proxy:
        serving = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        yield proxy
        proxy.shutdown()
        serving.join()
