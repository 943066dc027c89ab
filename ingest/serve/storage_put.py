"""``PUT`` to a signed URL of the disk storage: what S3 checks, in S3's words.

The one endpoint that no key protects: the signature in the URL does, and a request that brings a
key as well is refused as S3 refuses it.
"""

from __future__ import annotations

from aiohttp import web

from ingest.serve.calls import Call
from ingest.serve.disk import DiskStorage
from ingest.serve.records import Catalog
from ingest.serve.settings import ServeSettings
from ingest.serve.storage import StorageRefusal


class StoragePut:
    """Takes single files and parts into a `DiskStorage`."""

    def __init__(self, settings: ServeSettings, catalog: Catalog, storage: DiskStorage) -> None:
        self._settings = settings
        self._catalog = catalog
        self._storage = storage

    async def put(self, call: Call) -> web.StreamResponse:
        """Store the body; 200 with its quoted MD5 as ``ETag``."""
        length = self._checked_length(call.request)
        key = call.request.match_info["file_id"]
        upload_id = call.request.query.get("uploadId")
        if upload_id is not None and call.seen.part is not None:
            etag = await self._storage.store_part(
                upload_id, call.seen.part, call.body(), length, call.etag_filter
            )
        else:
            etag = await self._storage.store_object(key, call.body(), length, self._require_open)
        return web.Response(headers={"ETag": f'"{etag}"'})

    def _checked_length(self, request: web.Request) -> int:
        if "Authorization" in request.headers:
            message = (
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, "
                "Signature query string parameter or the Authorization header should be specified"
            )
            raise StorageRefusal(400, "InvalidArgument", message)
        self._storage.signer.check(request.method, request.path, request.query)
        if request.content_length is None:
            message = "You must provide the Content-Length HTTP header."
            raise StorageRefusal(411, "MissingContentLength", message)
        if request.content_length > self._settings.max_file_size_bytes:
            message = "Your proposed upload exceeds the maximum allowed size"
            raise StorageRefusal(400, "EntityTooLarge", message)
        return request.content_length

    def _require_open(self, key: str) -> None:
        """A finished file never changes, though its URL may still be valid."""
        record = self._catalog.get(key)
        if record is None or record.finished or record.upload is not None:
            raise StorageRefusal(403, "AccessDenied", "The file is finished, or was deleted")
