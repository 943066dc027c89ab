"""Storage in the data directory: the default, which needs nothing but a disk.

    content/<key>                        whole objects
    uploads/<upload id>/00001-<md5>      parts of open multipart uploads
    incoming/<random>                    bodies on their way in; emptied at start

A body is written under ``incoming`` and renamed into place once all of it is there, so a body
that was cut short leaves nothing. Hashing and writing happen in threads, a batch at a time,
while the next batch arrives: no body is ever held in memory, and the event loop stays free.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from ingest.serve.joining import join_files
from ingest.serve.records import StoredPart
from ingest.serve.signing import UrlSigner, load_secret
from ingest.serve.storage import StorageRefusal

if TYPE_CHECKING:
    from hashlib import _Hash

_P = ParamSpec("_P")
_R = TypeVar("_R")

URL_PREFIX = "/storage/"
_BATCH_BYTES = 2**20
_READ_BYTES = 2**20
_LAST_PART_NUMBER = 10_000  # S3's


class DiskStorage:
    """See `ingest.serve.storage.Storage`."""

    endpoint_url: str | None = None

    def __init__(self, data_dir: Path, url_expiry_s: int) -> None:
        self.signer = UrlSigner(load_secret(data_dir / "secret"), url_expiry_s)
        self._content = data_dir / "content"
        self._uploads = data_dir / "uploads"
        self._incoming = data_dir / "incoming"
        shutil.rmtree(self._incoming, ignore_errors=True)
        for directory in (self._content, self._uploads, self._incoming):
            directory.mkdir(parents=True, exist_ok=True)
        self._parts = {path.name: _scan_parts(path) for path in self._uploads.iterdir()}
        self._joining: set[str] = set()
        self._stop = threading.Event()
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="storage")

    async def single_url(self, origin: str, key: str) -> str:
        """A signed URL that takes the whole object in one PUT."""
        return origin + self.signer.sign("PUT", URL_PREFIX + key, {})

    async def begin_upload(self, key: str) -> str:
        """Open a multipart upload; its id."""
        upload_id = uuid.uuid4().hex
        (self._uploads / upload_id).mkdir()
        self._parts[upload_id] = {}
        return upload_id

    async def part_urls(self, origin: str, key: str, upload_id: str, num_parts: int) -> list[str]:
        """A signed URL for each part, from part 1 on."""
        queries = (
            {"partNumber": str(number), "uploadId": upload_id} for number in range(1, num_parts + 1)
        )
        return [origin + self.signer.sign("PUT", URL_PREFIX + key, query) for query in queries]

    async def stored_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:
        """The parts of an open upload that have arrived whole."""
        return dict(self._parts.get(upload_id, {}))

    async def store_object(
        self,
        key: str,
        chunks: AsyncIterator[bytes],
        length: int,
        require_open: Callable[[str], None],
    ) -> str:
        """Take in a whole object and return its ETag.

        Raises:
            StorageRefusal: the body is not ``length`` bytes long, or ``require_open`` refused the
                key before the body or, since that takes its time, after it.
        """
        require_open(key)
        with self._temporary() as temporary:
            etag = await self._receive(temporary, chunks, length)
            require_open(key)
            temporary.replace(self._content / key)
        return etag

    async def store_part(
        self,
        upload_id: str,
        number: int,
        chunks: AsyncIterator[bytes],
        length: int,
        etag_of_md5: Callable[[str], str],
    ) -> str:
        """Take in one part, in place of an earlier one of this number, and return its ETag.

        Raises:
            StorageRefusal: there is no such upload (any more), or the body is cut short.
        """
        if not 1 <= number <= _LAST_PART_NUMBER:
            message = f"Part number must be an integer between 1 and {_LAST_PART_NUMBER}, inclusive"
            raise StorageRefusal(400, "InvalidArgument", message)
        self._require_open(upload_id)
        with self._temporary() as temporary:
            etag = etag_of_md5(await self._receive(temporary, chunks, length))
            self._require_open(upload_id)  # it may have been completed or aborted meanwhile
            part = StoredPart(number=number, etag=etag, size_bytes=length)
            before = self._parts[upload_id].get(number)
            temporary.replace(self._part_path(upload_id, part))
            self._parts[upload_id][number] = part
            if before is not None and before.etag != etag:
                self._part_path(upload_id, before).unlink(missing_ok=True)
        return etag

    async def join_parts(self, key: str, upload_id: str, parts: Sequence[StoredPart]) -> None:
        """Make the parts, in this order, one object. Can be called again if it was cut short."""
        self._joining.add(upload_id)
        paths = [(self._part_path(upload_id, part), part.size_bytes) for part in parts]
        await self._in_thread(join_files, paths, self._content / key, self._stop)
        await self.abort_upload(key, upload_id)

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Drop an open upload and its parts; nothing happens if there is none."""
        if self._parts.pop(upload_id, None) is not None:
            await self._in_thread(shutil.rmtree, self._uploads / upload_id)
        self._joining.discard(upload_id)

    async def size_bytes(self, key: str) -> int | None:
        """The length of an object; None if there is none."""
        try:
            return (self._content / key).stat().st_size
        except FileNotFoundError:
            return None

    async def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes ``[start, end)`` of an object, in pieces."""
        with (self._content / key).open("rb", buffering=0) as file:
            file.seek(start)
            while start < end:
                piece = await self._in_thread(file.read, min(_READ_BYTES, end - start))
                if not piece:
                    return
                start += len(piece)
                yield piece

    async def delete(self, key: str) -> None:
        """Drop an object; nothing happens if there is none."""
        (self._content / key).unlink(missing_ok=True)

    def uri(self, key: str) -> str:
        """The object's absolute path."""
        return str((self._content / key).resolve())

    async def close(self) -> None:
        """Stop joins where they are (the next start goes on with them) and end the threads."""
        self._stop.set()
        self._threads.shutdown(cancel_futures=True)

    async def _receive(self, path: Path, chunks: AsyncIterator[bytes], length: int) -> str:
        """Write a body to ``path``: one batch is hashed and written while the next arrives."""
        digest = hashlib.md5(usedforsecurity=False)
        received = 0
        batch: list[bytes] = []
        batched = 0
        busy: list[asyncio.Future[None]] = []
        with path.open("wb") as file:
            try:
                async for chunk in chunks:
                    batch.append(chunk)
                    batched += len(chunk)
                    if batched >= _BATCH_BYTES:
                        await _all(busy)
                        busy = [
                            self._in_thread(_hash, batch, digest),
                            self._in_thread(file.writelines, batch),
                        ]
                        received += batched
                        batch, batched = [], 0
            finally:
                await _all(busy)  # the file must not be closed under the thread
            _hash(batch, digest)
            file.writelines(batch)
        received += batched
        if received != length:
            message = f"You did not provide the number of bytes specified: {received} of {length}"
            raise StorageRefusal(400, "IncompleteBody", message)
        return digest.hexdigest()

    def _require_open(self, upload_id: str) -> None:
        if upload_id not in self._parts or upload_id in self._joining:
            message = "The specified multipart upload does not exist. It may have been completed"
            raise StorageRefusal(404, "NoSuchUpload", message)

    def _part_path(self, upload_id: str, part: StoredPart) -> Path:
        return self._uploads / upload_id / f"{part.number:05d}-{part.etag}"

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        path = self._incoming / uuid.uuid4().hex
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _in_thread(
        self, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> asyncio.Future[_R]:
        call = partial(work, *args, **kwargs)
        return asyncio.get_running_loop().run_in_executor(self._threads, call)


def _hash(batch: Sequence[bytes], digest: _Hash) -> None:
    for chunk in batch:
        digest.update(chunk)


async def _all(futures: Sequence[asyncio.Future[None]]) -> None:
    """Wait for all of them, even if the first fails; raise the first failure."""
    for outcome in await asyncio.gather(*futures, return_exceptions=True):
        if outcome is not None:
            raise outcome


def _scan_parts(directory: Path) -> dict[int, StoredPart]:
    """The parts in an upload's directory; of two with one number, the later is the part."""
    parts = {}
    for path in sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        number, _, etag = path.name.partition("-")
        part = StoredPart(number=int(number), etag=etag, size_bytes=path.stat().st_size)
        parts[part.number] = part
    return parts
