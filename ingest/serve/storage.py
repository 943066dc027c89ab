"""What the Files API asks of the place that holds the bytes; `disk` and `s3` provide it.

Clients send bytes to storage by signed URLs, never through the API, so this interface hands out
URLs, tells what has arrived, and joins parts. It knows object keys (a file's id), not files.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol
from xml.sax.saxutils import escape

from aiohttp import web

from ingest.serve.records import StoredPart


class StorageRefusal(Exception):
    """A refusal by storage, which speaks XML as S3 does."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def response(self) -> web.Response:
        """The error as a client receives it."""
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{self.code}</Code><Message>{escape(str(self))}</Message></Error>"
        )
        return web.Response(status=self.status, text=text, content_type="application/xml")


class Storage(Protocol):
    """Objects by key. ``origin`` is the scheme and host that the client reached the server by."""

    async def single_url(self, origin: str, key: str) -> str:
        """A signed URL that takes the whole object in one PUT."""

    async def begin_upload(self, key: str) -> str:
        """Open a multipart upload; its id."""

    async def part_urls(self, origin: str, key: str, upload_id: str, num_parts: int) -> list[str]:
        """A signed URL for each part, from part 1 on."""

    async def stored_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:
        """The parts of an open upload that have arrived whole."""

    async def join_parts(self, key: str, upload_id: str, parts: Sequence[StoredPart]) -> None:
        """Make the parts, in this order, one object. Can be called again if it was cut short.

        Raises:
            StorageRefusal: the parts cannot be joined; the upload is as it was.
        """

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Drop an open upload and its parts; nothing happens if there is none."""

    async def size_bytes(self, key: str) -> int | None:
        """The length of an object; None if there is none."""

    def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes ``[start, end)`` of an object, in pieces."""

    async def delete(self, key: str) -> None:
        """Drop an object; nothing happens if there is none."""

    def uri(self, key: str) -> str:
        """Where a reader of datasets finds the object: a path, or an ``s3://`` URI."""

    @property
    def endpoint_url(self) -> str | None:
        """The S3 endpoint that belongs to `uri`."""

    async def close(self) -> None:
        """Let go of threads and connections."""
