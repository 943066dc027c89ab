"""The calls of the Files API, one method each.

The gate has checked the key and parsed the fields before a method runs. Rules about parts are in
`check_parts`; where bytes lie is the storage's matter; what happens to a file once it is in is
`Processing`'s. A file is invisible (404, and not listed) until it is preprocessed or completed.

Decisions where the public reference is silent:

- ``preprocess`` may be repeated and then changes nothing. ``complete`` may not: once it has
  succeeded the upload is unknown, 404, as it is to S3; the file is found by its id.
- While a ``complete`` is running, another one gets 409 without a ``file_id``: try again.
- ``abort`` of an unknown upload is 404.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence

from aiohttp import web

from ingest.serve.calls import Call
from ingest.serve.processing import Processing
from ingest.serve.records import Catalog, FileRecord, OpenUpload, StoredPart
from ingest.serve.settings import MAX_PARTS, ServeSettings
from ingest.serve.storage import Storage, StorageRefusal
from ingest.serve.wire import (
    AbortUpload,
    ApiError,
    ClaimedPart,
    CompleteUpload,
    NewFile,
    NewUpload,
    file_object,
    parse,
)

_log = logging.getLogger(__name__)


class FilesApi:
    """The endpoints, over a catalog of files and a storage for their bytes."""

    def __init__(
        self,
        settings: ServeSettings,
        catalog: Catalog,
        storage: Storage,
        processing: Processing,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._storage = storage
        self._processing = processing
        self._completing: set[str] = set()

    async def create(self, call: Call) -> web.StreamResponse:
        """``POST files``: 302 to a storage URL that takes the whole file."""
        new = parse(NewFile, call.fields)
        self._refuse_duplicate(new)
        record = _record(new)
        url = await self._storage.single_url(call.origin, record.id)
        self._catalog.save(record)
        call.seen.file_id = record.id
        return web.Response(status=302, headers={"Location": url, "X-Together-File-Id": record.id})

    async def preprocess(self, call: Call) -> web.StreamResponse:
        """``POST files/{id}/preprocess``: the bytes are in storage; process them."""
        record = self._known(call.request.match_info["file_id"])
        if record.upload is not None:
            message = f"{record.id} is a multipart upload; complete it instead"
            raise ApiError(400, message, code="multipart_upload")
        size = await self._storage.size_bytes(record.id)
        if size is None:
            message = f"no content was stored for {record.id}; PUT it to the Location first"
            raise ApiError(400, message, code="no_content")
        self._refuse_size(size)
        record = self._known(record.id)  # as it is now: two of these calls may overlap
        if not record.finished:
            record = self._finish(record, size)
        return web.json_response(file_object(record))

    async def initiate(self, call: Call) -> web.StreamResponse:
        """``POST files/multipart/initiate``: an upload and a signed URL for each part."""
        new = parse(NewUpload, call.fields)
        if not 1 <= new.num_parts <= MAX_PARTS:
            message = f"num_parts: expected 1 to {MAX_PARTS}, found {new.num_parts}"
            raise ApiError(400, message, code="invalid_num_parts", param="num_parts")
        self._refuse_size(new.file_size)
        self._refuse_duplicate(new)
        record = _record(new)
        upload_id = await self._storage.begin_upload(record.id)
        urls = await self._storage.part_urls(call.origin, record.id, upload_id, new.num_parts)
        upload = OpenUpload(
            upload_id=upload_id, file_size_bytes=new.file_size, num_parts=new.num_parts
        )
        self._catalog.save(record.model_copy(update={"upload": upload}))
        call.seen.file_id = record.id
        parts = [
            {"PartNumber": number, "URL": url, "Headers": {}}
            for number, url in enumerate(urls, start=1)
        ]
        return web.json_response({"upload_id": upload_id, "file_id": record.id, "parts": parts})

    async def complete(self, call: Call) -> web.StreamResponse:
        """``POST files/multipart/complete``: join the parts; the file object."""
        claim = parse(CompleteUpload, call.fields)
        record, upload = self._open_upload(claim.upload_id, claim.file_id)
        if upload.upload_id in self._completing:
            message = f"upload {upload.upload_id} is being completed; ask for the file"
            raise ApiError(409, message, code="upload_in_progress")
        self._completing.add(upload.upload_id)
        try:
            record = await self._complete(record, upload, claim.parts)
        except StorageRefusal as refusal:
            raise ApiError(400, str(refusal), code=refusal.code) from None
        finally:
            self._completing.discard(upload.upload_id)
        return web.json_response(file_object(record))

    async def abort(self, call: Call) -> web.StreamResponse:
        """``POST files/multipart/abort``: drop an open upload."""
        fields = parse(AbortUpload, call.fields)
        record, upload = self._open_upload(fields.upload_id, fields.file_id)
        if upload.upload_id in self._completing:
            message = f"upload {upload.upload_id} is being completed"
            raise ApiError(409, message, code="upload_in_progress")
        self._catalog.remove(record.id)
        await self._storage.abort_upload(record.id, upload.upload_id)
        return web.json_response({"upload_id": upload.upload_id, "file_id": record.id})

    async def list(self, call: Call) -> web.StreamResponse:
        """``GET files``."""
        files = [file_object(record) for record in self._catalog if record.finished]
        return web.json_response({"object": "list", "data": files})

    async def retrieve(self, call: Call) -> web.StreamResponse:
        """``GET files/{id}``."""
        return web.json_response(file_object(self._visible(call)))

    async def content(self, call: Call) -> web.StreamResponse:
        """``GET files/{id}/content``, whole or one ``Range``."""
        record = self._visible(call)
        start, end = _range(call.request, record.size_bytes)
        response = web.StreamResponse(status=200)
        if "Range" in call.request.headers:
            response.set_status(206)
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{record.size_bytes}"
        response.headers["Accept-Ranges"] = "bytes"
        response.content_type = "application/octet-stream"
        response.content_length = end - start
        await response.prepare(call.request)
        chunks: AsyncIterator[bytes] = self._storage.read(record.id, start, end)
        async for chunk in call.reply_filter(chunks, end - start):
            await response.write(chunk)
        await response.write_eof()
        return response

    async def delete(self, call: Call) -> web.StreamResponse:
        """``DELETE files/{id}``."""
        record = self._visible(call)
        self._catalog.remove(record.id)
        await self._storage.delete(record.id)
        return web.json_response({"id": record.id, "object": "file", "deleted": True})

    async def resume_joins(self) -> None:
        """Finish what a stop of the server cut short: uploads whose join had begun."""
        begun = [
            (record, record.upload)
            for record in self._catalog
            if record.upload is not None and record.upload.joining is not None
        ]
        self._completing.update(upload.upload_id for _, upload in begun)
        for record, upload in begun:
            try:
                await self._join(record, upload)
            except (OSError, StorageRefusal) as error:
                _log.warning("the join of %s could not be finished: %s", record.id, error)
            finally:
                self._completing.discard(upload.upload_id)

    async def _complete(
        self, record: FileRecord, upload: OpenUpload, claimed: Sequence[ClaimedPart]
    ) -> FileRecord:
        if upload.joining is None:
            stored = await self._storage.stored_parts(record.id, upload.upload_id)
            parts = check_parts(claimed, stored, upload, self._settings.min_part_size_bytes)
            upload = upload.model_copy(update={"joining": parts})
            record = record.model_copy(update={"upload": upload})
            self._catalog.save(record)
        return await self._join(record, upload)

    async def _join(self, record: FileRecord, upload: OpenUpload) -> FileRecord:
        try:
            await self._storage.join_parts(record.id, upload.upload_id, upload.joining or ())
        except StorageRefusal:
            still_open = upload.model_copy(update={"joining": None})
            self._catalog.save(record.model_copy(update={"upload": still_open}))
            raise
        return self._finish(record, upload.file_size_bytes)

    def _finish(self, record: FileRecord, size_bytes: int) -> FileRecord:
        """Make a file visible and have it processed."""
        update = {"upload": None, "size_bytes": size_bytes, "status": "PENDING"}
        record = record.model_copy(update=update)
        self._catalog.save(record)
        self._processing.add(record.id)
        return record

    def _known(self, file_id: str) -> FileRecord:
        record = self._catalog.get(file_id)
        if record is None:
            raise ApiError(404, f"no file {file_id}", code="file_not_found", param="id")
        return record

    def _visible(self, call: Call) -> FileRecord:
        record = self._known(call.request.match_info["file_id"])
        if not record.finished:
            raise ApiError(404, f"no file {record.id}", code="file_not_found", param="id")
        return record

    def _open_upload(self, upload_id: str, file_id: str) -> tuple[FileRecord, OpenUpload]:
        record = self._catalog.with_upload(upload_id)
        if record is None or record.upload is None or record.id != file_id:
            message = f"no open upload {upload_id} of {file_id}; it may be completed or aborted"
            raise ApiError(404, message, code="upload_not_found", param="upload_id")
        return record, record.upload

    def _refuse_duplicate(self, new: NewFile) -> None:
        existing = self._catalog.with_checksum(new.checksum)
        if existing is not None:
            message = f"a file with this checksum exists: {existing.id}"
            extra = {"file_id": existing.id}
            raise ApiError(409, message, code="file_exists", param="checksum", extra=extra)

    def _refuse_size(self, size_bytes: int) -> None:
        limit = self._settings.max_file_size_bytes
        if size_bytes > limit:
            message = f"file size: expected at most {limit} bytes, found {size_bytes}"
            raise ApiError(413, message, code="file_too_large", param="file_size")


def check_parts(
    claimed: Sequence[ClaimedPart],
    stored: Mapping[int, StoredPart],
    upload: OpenUpload,
    min_part_size_bytes: int,
) -> tuple[StoredPart, ...]:
    """The stored parts in order, if the client's list and what arrived agree.

    Raises:
        StorageRefusal: with S3's code for the mistake.
    """
    numbers = [part.part_number for part in claimed]
    if numbers != list(range(1, upload.num_parts + 1)):
        message = f"expected parts 1 to {upload.num_parts} in order, found {numbers[:10]}"
        raise StorageRefusal(400, "InvalidPartOrder", message)
    parts = []
    for claim in claimed:
        part = stored.get(claim.part_number)
        if part is None or part.etag != claim.etag.strip('"'):
            found = "nothing" if part is None else f"ETag {part.etag}"
            message = f"part {claim.part_number}: claimed ETag {claim.etag}, stored {found}"
            raise StorageRefusal(400, "InvalidPart", message)
        if part.size_bytes < min_part_size_bytes and part.number < upload.num_parts:
            message = (
                f"part {part.number}: {part.size_bytes} bytes; every part but the last "
                f"needs at least {min_part_size_bytes}"
            )
            raise StorageRefusal(400, "EntityTooSmall", message)
        parts.append(part)
    total = sum(part.size_bytes for part in parts)
    if total != upload.file_size_bytes:
        message = f"the parts hold {total} bytes; file_size was {upload.file_size_bytes}"
        raise StorageRefusal(400, "SizeMismatch", message)
    return tuple(parts)


def _record(new: NewFile) -> FileRecord:
    return FileRecord(
        id=f"file-{uuid.uuid4()}",
        filename=new.file_name,
        purpose=new.purpose,
        file_type=new.file_type,
        created_at=int(time.time()),
        checksum=new.checksum,
    )


def _range(request: web.Request, size_bytes: int) -> tuple[int, int]:
    """The bytes asked for, ``[start, end)``.

    Raises:
        ApiError: 416 if there are none.
    """
    try:
        start, end, _ = request.http_range.indices(size_bytes)
    except ValueError:
        start = end = 0
    if start >= end and "Range" in request.headers:
        message = f"no such range in a file of {size_bytes} bytes"
        raise ApiError(416, message, code="invalid_range", param="Range")
    return start, end
