"""Puts the parts together and runs the server in the foreground.

`run` is what ``ingest serve`` calls. `ingest.serve.in_thread` runs a `Server` for tests and demos.
"""

from __future__ import annotations

import asyncio
import fcntl
import ipaddress
import signal
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from ingest.errors import UsageError
from ingest.serve.calls import Endpoint, RequestLog, Where
from ingest.serve.control import add_control_routes
from ingest.serve.disk import URL_PREFIX, DiskStorage
from ingest.serve.endpoints import FilesApi
from ingest.serve.faults import FaultScript
from ingest.serve.gate import Gate, Handler
from ingest.serve.processing import Processing
from ingest.serve.records import Catalog
from ingest.serve.settings import ServeSettings
from ingest.serve.storage import Storage
from ingest.serve.storage_put import StoragePut
from ingest.serve.wire import ApiError, file_object

_READ_BUFFER_BYTES = 2**20  # how far a connection reads ahead of the disk
_LARGEST_API_BODY_BYTES = 2**20


class Server:
    """One running server. `start` and `stop` belong to one event loop."""

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.base_url = ""
        self._port = settings.port
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusing: asyncio.Task[None] | None = None
        self._exits = AsyncExitStack()

    async def start(self) -> None:
        """Listen; `base_url` is known from here on.

        Raises:
            UsageError: the data directory is in use, or the address cannot be listened on.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Cut stalled connections, stop listening, and end background work where it is."""
        await self._exits.aclose()

    async def _start(self) -> None:
        settings, exits = self.settings, self._exits
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        exits.enter_context(_locked(settings.data_dir))
        self._catalog = Catalog(settings.data_dir / "files")
        self._storage = _storage(settings)
        exits.push_async_callback(self._storage.close)
        self._processing = Processing(self._catalog, self._storage)
        exits.push_async_callback(self._processing.close)
        self._script = FaultScript(self._refuse)
        api = FilesApi(settings, self._catalog, self._storage, self._processing)
        self._runner = web.AppRunner(
            self._app(api),
            access_log=None,  # it would hold signed URLs
            shutdown_timeout=1.0,
            read_bufsize=_READ_BUFFER_BYTES,
        )
        await self._runner.setup()
        exits.push_async_callback(self._runner.cleanup)
        exits.callback(self._end_tasks)
        exits.callback(self._script.clear)
        await self._listen()
        self._processing.start()
        self._spawn(api.resume_joins())

    async def file_objects(self) -> list[dict[str, Any]]:
        """The file objects that clients can see."""
        return [file_object(record) for record in self._catalog if record.finished]

    async def open_uploads(self) -> list[str]:
        """The ids of the files whose multipart upload is open, oldest first."""
        return [record.id for record in self._catalog if record.upload is not None]

    async def clear_faults(self) -> None:
        """Forget the script, cut what it stalls, and listen again if it made that end."""
        self._script.clear()
        if self._refusing is not None:
            await self._refusing

    async def stored_bytes(self, file_id: str) -> bytes:
        """A file's bytes, for tests; raises KeyError if storage has none."""
        size = await self._storage.size_bytes(file_id)
        if size is None:
            raise KeyError(file_id)
        return b"".join([piece async for piece in self._storage.read(file_id, 0, size)])

    async def processed(self, file_id: str) -> dict[str, Any]:
        """The file object once its processing has ended; raises KeyError if there is no file."""
        return file_object(await self._processing.ended(file_id))

    def _app(self, api: FilesApi) -> web.Application:
        app = web.Application(
            middlewares=[_routing_errors], client_max_size=_LARGEST_API_BODY_BYTES
        )
        log = RequestLog()
        key = self.settings.api_key.get_secret_value()
        gate = Gate(key, self._catalog, self._script, log)
        calls: list[tuple[str, str, Where, Endpoint]] = [
            ("POST", "/files", "create", api.create),
            ("GET", "/files", "list", api.list),
            ("POST", "/files/multipart/initiate", "initiate", api.initiate),
            ("POST", "/files/multipart/complete", "complete", api.complete),
            ("POST", "/files/multipart/abort", "abort", api.abort),
            ("POST", "/files/{file_id}/preprocess", "preprocess", api.preprocess),
            ("GET", "/files/{file_id}/content", "content", api.content),
            ("GET", "/files/{file_id}", "retrieve", api.retrieve),
            ("DELETE", "/files/{file_id}", "delete", api.delete),
        ]
        for method, path, where, endpoint in calls:
            for prefix in ("/v1", ""):
                app.router.add_route(method, prefix + path, gate.handler(where, endpoint))
        if isinstance(self._storage, DiskStorage):
            storage_put = StoragePut(self.settings, self._catalog, self._storage)
            path = URL_PREFIX + "{file_id}"
            app.router.add_route("PUT", path, gate.handler("put", storage_put.put))
        add_control_routes(app, gate, self._script, log)
        return app

    async def _listen(self) -> None:
        host = self.settings.host
        self._site = web.TCPSite(self._runner, host, self._port)
        try:
            await self._site.start()
        except OSError as error:
            message = f"cannot listen on {host}:{self._port}: {error.strerror}"
            raise UsageError(message) from error
        self._port = self._runner.addresses[0][1]
        self.base_url = f"http://{_reachable(host)}:{self._port}/v1"

    async def _refuse(self, seconds: float | None, but: asyncio.BaseTransport | None) -> None:
        """Close the listening socket and all connections but one, and listen again later."""
        assert self._runner.server is not None
        await self._site.stop()
        for connection in self._runner.server.connections:
            if connection.transport is not but:
                connection.force_close()
        self._refusing = self._spawn(self._listen_after(seconds))

    async def _listen_after(self, seconds: float | None) -> None:
        await self._script.hold(seconds)
        await self._listen()

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()


def run(settings: ServeSettings) -> None:
    """Serve until SIGINT or SIGTERM.

    Prints the base URL as the first line on stdout once connections are accepted.

    Raises:
        UsageError: the data directory is in use, or the address cannot be listened on.
    """
    asyncio.run(_serve(settings))


async def _serve(settings: ServeSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = Server(settings)
    await server.start()
    print(server.base_url, flush=True)
    await stop.wait()
    await server.stop()


def _reachable(host: str) -> str:
    """A host for a URL that leads to a listening address; of "all addresses", the loopback one."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return str(address) if address.version == 4 else f"[{address}]"


@contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """Hold the data directory: two servers on one would undo each other's work."""
    with (data_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"{data_dir} is in use by another server") from None
        yield


def _storage(settings: ServeSettings) -> Storage:
    if settings.storage is None:
        return DiskStorage(settings.data_dir, settings.url_expiry_s)
    from ingest.serve.s3 import S3Storage  # boto3 takes a while to import

    return S3Storage(settings.storage, settings.s3_endpoint, settings.url_expiry_s)


@web.middleware
async def _routing_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """No such path, or not by this method: the API's JSON there too."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        message = f"{request.method} {request.path}: {error.reason}"
        return ApiError(error.status, message, code="not_found").response()
