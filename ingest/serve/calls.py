"""One request as this package sees it, and the log of what was asked.

The gate makes a `Call` for each request and passes it to an endpoint. `RequestLog` is what tests
read to assert that something was, or was not, sent. It never holds keys, signatures or bodies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel

Where = Literal[
    "create",
    "put",
    "put-part",
    "preprocess",
    "initiate",
    "complete",
    "abort",
    "list",
    "retrieve",
    "content",
    "delete",
]
ChunkFilter = Callable[[AsyncIterator[bytes], int], AsyncIterator[bytes]]  # chunks, their total


class Seen(BaseModel):
    """A logged request.

    Attributes:
        where: which call of the API, or of storage, it was.
        part: the part number of a part PUT.
        name: the ``file_name`` of the file it was about.
        received_bytes: how much of the request's body arrived.
        status: the status answered; None while it runs, and if the connection was cut.
        fault: the scripted fault that it met.
    """

    where: Where
    method: str
    part: int | None = None
    name: str | None = None
    file_id: str | None = None
    received_bytes: int = 0
    status: int | None = None
    fault: str | None = None


def _same(etag: str) -> str:
    return etag


def _unchanged(chunks: AsyncIterator[bytes], length: int) -> AsyncIterator[bytes]:
    return chunks


@dataclass(slots=True)
class Call:
    """A request on its way through the server.

    Attributes:
        seen: its entry in the log.
        fields: the parsed form or JSON of a POST.
        body_filter: what a fault does to a streamed request body as it arrives.
        reply_filter: what a fault does to a streamed reply as it leaves.
        etag_filter: what a fault makes of the MD5 that storage would give a body as its ETag.
    """

    request: web.Request
    seen: Seen
    fields: dict[str, Any] = field(default_factory=dict)
    body_filter: ChunkFilter = _unchanged
    reply_filter: ChunkFilter = _unchanged
    etag_filter: Callable[[str], str] = _same

    @property
    def origin(self) -> str:
        """Scheme and host as the client wrote them, so that storage URLs lead back here."""
        return f"{self.request.scheme}://{self.request.host}"

    async def body(self) -> AsyncIterator[bytes]:
        """The request's body in pieces, counted in the log."""
        length = self.request.content_length or 0
        async for chunk in self.body_filter(self.request.content.iter_any(), length):
            self.seen.received_bytes += len(chunk)
            yield chunk


Endpoint = Callable[[Call], Awaitable[web.StreamResponse]]


class RequestLog:
    """The latest requests, oldest first."""

    def __init__(self, limit: int = 100_000) -> None:
        self._entries: deque[Seen] = deque(maxlen=limit)

    def add(self, seen: Seen) -> None:
        """Log a request; the entry is filled in while it runs."""
        self._entries.append(seen)

    def entries(self) -> list[Seen]:
        """All logged requests."""
        return list(self._entries)

    def clear(self) -> None:
        """Forget all of them."""
        self._entries.clear()
