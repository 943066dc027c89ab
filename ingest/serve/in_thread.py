"""The local Files API in a thread of this process, for tests, demos and notebooks."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

import requests
from pydantic import SecretStr

from ingest.serve.calls import Seen, Where
from ingest.serve.faults import Fault
from ingest.serve.server import Server
from ingest.serve.settings import DEFAULT_KEY, ServeSettings

_R = TypeVar("_R")
_Started: TypeAlias = tuple[Server, asyncio.AbstractEventLoop, asyncio.Event]


class LocalFilesApi:
    """A running local Files API, for the length of a ``with`` block.

    Args:
        data_dir: where it keeps files; None is a temporary directory, removed at the end.
        api_key: the key clients must send.
        port: 0 takes a free one.
        settings: other fields of `ServeSettings`.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        api_key: str = DEFAULT_KEY,
        port: int = 0,
        **settings: Any,
    ) -> None:
        self.api_key = api_key
        self.data_dir = data_dir
        self._settings = {"port": port, "api_key": SecretStr(api_key), **settings}
        self._exits = ExitStack()

    def __enter__(self) -> LocalFilesApi:
        with self._exits:
            if self.data_dir is None:
                temporary = tempfile.TemporaryDirectory(prefix="files-api-")
                self.data_dir = Path(self._exits.enter_context(temporary))
            settings = ServeSettings(data_dir=self.data_dir, **self._settings)
            started: Future[_Started] = Future()
            thread = threading.Thread(
                target=lambda: asyncio.run(_serve(settings, started)), name="local-files-api"
            )
            thread.start()
            self._exits.callback(thread.join)
            self._server, self._loop, stop = started.result()
            self._exits.callback(self._loop.call_soon_threadsafe, stop.set)
            self._http = self._exits.enter_context(requests.Session())
            self._http.headers["Authorization"] = f"Bearer {self.api_key}"
            self._exits = self._exits.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exits.close()

    @property
    def base_url(self) -> str:
        """The base URL to give to a client, with ``/v1``."""
        return self._server.base_url

    @property
    def origin(self) -> str:
        """The base URL without ``/v1``, as the 3.x client wants it."""
        return self.base_url.removesuffix("/v1")

    def script(self, *faults: Fault) -> None:
        """Add faults to the script."""
        body = [fault.model_dump() for fault in faults]
        self._control("POST", "faults", json=body)

    def clear_faults(self) -> None:
        """Forget all faults, and cut the connections they stall.

        Not by a request: there may be nobody who listens.
        """
        self._in_loop(self._server.clear_faults())

    def requests(self, where: Where | None = None, name: str | None = None) -> list[Seen]:
        """The requests seen, oldest first; only those of one kind, or about one file."""
        log = self._control("GET", "requests")["data"]
        seen = [Seen.model_validate(entry) for entry in log]
        return [
            entry for entry in seen if where in (None, entry.where) and name in (None, entry.name)
        ]

    def clear_requests(self) -> None:
        """Forget the requests seen so far."""
        self._control("DELETE", "requests")

    def files(self) -> list[dict[str, Any]]:
        """The file objects that clients can see. Not logged; meets no faults."""
        return self._in_loop(self._server.file_objects())

    def open_uploads(self) -> list[str]:
        """The ids of files whose multipart upload is open. Not logged; meets no faults."""
        return self._in_loop(self._server.open_uploads())

    def stored_bytes(self, file_id: str) -> bytes:
        """The bytes of a file as storage holds them. Not logged; meets no faults.

        Raises:
            KeyError: storage has no such file.
        """
        return self._in_loop(self._server.stored_bytes(file_id))

    def wait_processed(self, file_id: str, timeout_s: float = 30.0) -> dict[str, Any]:
        """The file object once processing has come to its end.

        Raises:
            KeyError: there is no such file.
            asyncio.TimeoutError: it has not come to its end in time.
        """
        return self._in_loop(asyncio.wait_for(self._server.processed(file_id), timeout_s))

    def _control(self, method: str, what: str, **kwargs: Any) -> dict[str, Any]:
        response = self._http.request(method, f"{self.origin}/_local/{what}", **kwargs)
        response.raise_for_status()
        body: dict[str, Any] = response.json()
        return body

    def _in_loop(self, work: Coroutine[Any, Any, _R]) -> _R:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _serve(
    settings: ServeSettings,
    started: Future[_Started],
) -> None:
    stop = asyncio.Event()
    server = Server(settings)
    try:
        await server.start()
    except BaseException as error:
        started.set_exception(error)
        return
    started.set_result((server, asyncio.get_running_loop(), stop))
    await stop.wait()
    await server.stop()
