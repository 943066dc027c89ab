"""A Files API that throws every body away, so that a benchmark measures the client alone.

    python -m benchmarks.sink            # prints its base URL, runs until it is stopped

It gives ids and URLs, counts bytes, and computes nothing: its ETags are not MD5s, and it checks no
key. `ingest serve` is the faithful one; this is not for tests.
"""

from __future__ import annotations

import itertools
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep

_numbers = itertools.count(1)
_sizes: dict[str, int] = {}
_LATENCY_S = float(sys.argv[1]) / 1000 if len(sys.argv) > 1 else 0.0


class Sink(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_PUT(self) -> None:
        """Read a body and forget it."""
        self._discard()
        self._reply(200, b"", {"ETag": f'"sink-{next(_numbers)}"'})

    def do_GET(self) -> None:
        """Show a file as finished; one that was never made is not there."""
        sleep(_LATENCY_S)
        file_id = self.path.rsplit("/", 1)[-1]
        if file_id not in _sizes:
            self._reply(404, b'{"error": {"message": "no such file"}}')
        else:
            self._json(self._file(file_id))

    def do_POST(self) -> None:
        """Answer the calls of both kinds of upload."""
        sleep(_LATENCY_S)
        body = self._discard()
        if self.path.endswith("/initiate"):
            asked = json.loads(body)
            file_id = self._new(asked["file_size"])
            parts = [
                {"PartNumber": n, "URL": f"{self._origin()}/put/{file_id}/{n}", "Headers": {}}
                for n in range(1, asked["num_parts"] + 1)
            ]
            self._json({"upload_id": file_id, "file_id": file_id, "parts": parts})
        elif self.path.endswith("/complete"):
            self._json(self._file(json.loads(body)["file_id"]))
        elif self.path.endswith("/preprocess"):
            self._json(self._file(self.path.split("/")[-2]))
        else:
            file_id = self._new(0)
            location = f"{self._origin()}/put/{file_id}/0"
            self._reply(302, b"", {"Location": location, "X-Together-File-Id": file_id})

    def _new(self, size_bytes: int) -> str:
        file_id = f"file-{next(_numbers)}"
        _sizes[file_id] = size_bytes
        return file_id

    def _file(self, file_id: str) -> dict[str, object]:
        return {
            "id": file_id,
            "object": "file",
            "bytes": _sizes[file_id],
            "created_at": 0,
            "filename": "sink.jsonl",
            "purpose": "fine-tune",
            "FileType": "jsonl",
            "Processed": False,
            "LineCount": 0,
        }

    def _origin(self) -> str:
        return f"http://{self.headers['Host']}"

    def _discard(self) -> bytes:
        left = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Expect") == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        if left <= 1 << 16:
            return self.rfile.read(left)
        buffer = memoryview(bytearray(1 << 20))
        while left:
            count = self.rfile.readinto(buffer[: min(left, len(buffer))])
            if not count:
                break
            left -= count
        return b""

    def _json(self, document: object) -> None:
        self._reply(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response_only(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve on a free port."""
    ThreadingHTTPServer.request_queue_size = 128
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    print(f"http://127.0.0.1:{server.server_address[1]}/v1", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
