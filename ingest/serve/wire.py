"""The API's JSON: what requests hold, the file object of every client generation, and errors.

Used by the endpoints. Knows nothing of storage or of HTTP beyond status codes and bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, Field, StringConstraints, ValidationError

from ingest.files import FileType, Purpose
from ingest.serve.records import FileRecord

Sha256Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024)]

Model = TypeVar("Model", bound=BaseModel)


class NewFile(BaseModel):
    """``POST files``; clients of the 1.x generation send no checksum."""

    purpose: Purpose = "fine-tune"
    file_name: Text
    file_type: FileType
    checksum: Sha256Hex | None = None


class NewUpload(NewFile):
    """``POST files/multipart/initiate``."""

    file_size: int = Field(ge=1)
    num_parts: int


class ClaimedPart(BaseModel):
    """A part as the client reports it at the end; the ETag comes without its quotes."""

    part_number: int
    etag: str


class CompleteUpload(BaseModel):
    """``POST files/multipart/complete``."""

    upload_id: str
    file_id: str
    parts: list[ClaimedPart]


class AbortUpload(BaseModel):
    """``POST files/multipart/abort``."""

    upload_id: str
    file_id: str


class ApiError(Exception):
    """A refusal by the Files API: an HTTP status and the API's JSON error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.extra = dict(extra or {})

    def response(self) -> web.Response:
        """The error as a client receives it."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return web.json_response({**self.extra, "error": error}, status=self.status)


def parse(model: type[Model], fields: Mapping[str, Any]) -> Model:
    """Check the fields of a request.

    Raises:
        ApiError: 422, naming the first field that is wrong.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        param = ".".join(str(place) for place in first["loc"])
        message = f"{param}: {first['msg']}"
        raise ApiError(422, message, code="invalid_field", param=param) from None


def file_object(record: FileRecord) -> dict[str, Any]:
    """The file object, with the fields of every client generation.

    ``LineCount`` is 0 until processing has counted the lines, as the vendor's examples show it.
    """
    body: dict[str, Any] = {
        "id": record.id,
        "object": "file",
        "bytes": record.size_bytes,
        "created_at": record.created_at,
        "filename": record.filename,
        "purpose": record.purpose,
        "FileType": record.file_type,
        "Processed": record.status == "COMPLETED",
        "LineCount": (record.report and record.report.nlines) or 0,
        "processing_status": record.status,
    }
    if record.report is not None:
        report = record.report.model_dump(exclude_none=True)
        body["validation_report"] = {"file_id": record.id, **report}
    return body
