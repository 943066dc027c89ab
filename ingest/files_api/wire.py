"""What the Files API answers, read strictly: every generation's form in, one form out.

Used by the client only. A reply that does not fit is refused here, before anything acts on it:
the vendor's own clients send whatever part list they get, and corrupt the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from ingest.errors import Permanent
from ingest.secrets import PresignedUrl

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_id(value: str) -> str:
    """``value``, if it can be a file's id.

    Raises:
        ValueError: it cannot. Ids become parts of URLs and of file names: nothing that could climb
            out of either.
    """
    if not _ID.fullmatch(value) or len(value) > 256:
        raise ValueError("expected an id of letters, digits, '.', '_' and '-'")
    return value


FileId = Annotated[str, AfterValidator(check_id)]


class ValidationReport(BaseModel):
    """The server's verdict on a file's content (3.x)."""

    model_config = ConfigDict(extra="ignore")

    valid: bool | None = None
    error: str | None = None
    nlines: int | None = None


class RemoteFile(BaseModel):
    """The file object, bare or wrapped, of any generation."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    id: FileId
    bytes: int | None = None
    filename: str | None = None
    purpose: str | None = None
    processed: bool | None = Field(default=None, alias="Processed")
    line_count: int | None = Field(default=None, alias="LineCount")
    processing_status: str | None = None
    validation_report: ValidationReport | None = None

    @property
    def state(self) -> str:
        """``COMPLETED``, ``FAILED``, ``INVALID_FORMAT``, or what is still going on."""
        if self.processing_status:
            return self.processing_status.upper()
        return "COMPLETED" if self.processed else "PENDING"

    @property
    def lines(self) -> int | None:
        """How many records the server counted; None before it has."""
        if self.validation_report and self.validation_report.nlines is not None:
            return self.validation_report.nlines
        # 1.x servers answer 0 until they have counted, and no valid file has 0 lines.
        return self.line_count or None

    def differs(self, size_bytes: int, records: int | None) -> str | None:
        """What a server that is done with a file counted otherwise; None when nothing.

        Args:
            size_bytes: what was sent.
            records: what was counted here; None when nothing did, or not what a server counts.
        """
        if self.state != "COMPLETED":
            return None
        if self.bytes is not None and self.bytes != size_bytes:
            return f"has {self.bytes} bytes, expected {size_bytes}"
        if None not in (self.lines, records) and self.lines != records:
            return f"has {self.lines} records by the server's count, expected {records}"
        return None

    @property
    def error(self) -> str | None:
        """What the server found wrong, in its own words."""
        return self.validation_report.error if self.validation_report else None


@dataclass(frozen=True, slots=True)
class Existing:
    """409: the API has a file with this checksum; nothing is to be sent."""

    file_id: str


@dataclass(frozen=True, slots=True)
class SingleTicket:
    """302: where to PUT the whole body."""

    file_id: str
    url: PresignedUrl


@dataclass(frozen=True, slots=True)
class MultipartTicket:
    """An open multipart upload; ``urls[n - 1]`` takes part ``n``."""

    upload_id: str
    file_id: str
    urls: tuple[PresignedUrl, ...]


class _PartTarget(BaseModel):
    number: int = Field(validation_alias=AliasChoices("PartNumber", "part_number"))
    url: str = Field(repr=False, validation_alias=AliasChoices("URL", "UploadURL", "url"))
    headers: dict[str, str] | None = Field(
        default=None, repr=False, validation_alias=AliasChoices("Headers", "headers")
    )


class _Ids(BaseModel):
    upload_id: str = Field(min_length=1, max_length=4096)
    file_id: FileId


class _Initiated(_Ids):
    parts: list[_PartTarget]


class _Conflict(BaseModel):
    file_id: FileId


class _FileList(BaseModel):
    data: list[RemoteFile]


_FILE_ID: TypeAdapter[str] = TypeAdapter(FileId)


def _why(error: ValidationError) -> str:
    """The first thing wrong, without the input: that may hold a presigned URL."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(str(step) for step in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])


def parse_file(body: Any) -> RemoteFile:
    """A file object, bare or as ``{"file": {...}}``.

    Raises:
        Permanent: the body is not a file object.
    """
    if isinstance(body, dict) and isinstance(body.get("file"), dict):
        body = body["file"]
    try:
        return RemoteFile.model_validate(body)
    except ValidationError as error:
        raise Permanent(f"the API's file object is not one we know ({_why(error)})") from None


def parse_file_list(body: Any) -> list[RemoteFile]:
    """The files of ``GET files``.

    Raises:
        Permanent: the body is not a list of file objects.
    """
    try:
        return _FileList.model_validate(body).data
    except ValidationError as error:
        raise Permanent(f"the API's file list is not one we know ({_why(error)})") from None


def parse_conflict(body: Any) -> Existing | None:
    """The file that a 409 names; None when it names none, which is a passing fault."""
    try:
        return Existing(_Conflict.model_validate(body).file_id)
    except ValidationError:
        return None


def parse_file_id(value: str | None) -> str:
    """The id in an ``X-Together-File-Id`` header.

    Raises:
        Permanent: it is missing or could not be an id.
    """
    try:
        return _FILE_ID.validate_python(value)
    except ValidationError as error:
        raise Permanent(f"X-Together-File-Id is not a file id ({_why(error)})") from None


def parse_initiated(body: Any, num_parts: int) -> MultipartTicket:
    """An open upload with one URL for each of the parts 1 to ``num_parts``.

    Raises:
        Permanent: the reply does not fit, or its parts are not exactly those. Where ids can be
            read from it, they are the error's ``ticket``, so that the upload can be aborted.
    """
    try:
        initiated = _Initiated.model_validate(body)
    except ValidationError as error:
        message = f"the reply to initiate is not one we know ({_why(error)})"
        try:
            ids = _Ids.model_validate(body)
        except ValidationError:
            raise Permanent(message) from None
        raise RefusedTicket(message, MultipartTicket(ids.upload_id, ids.file_id, ())) from None
    targets = {part.number: part for part in initiated.parts}
    if len(initiated.parts) != num_parts or set(targets) != set(range(1, num_parts + 1)):
        raise RefusedTicket(
            f"asked for {num_parts} part URLs and got {len(initiated.parts)}, numbered "
            f"{_numbers(initiated.parts)}: sending them would corrupt the file",
            MultipartTicket(initiated.upload_id, initiated.file_id, ()),
        )
    urls = tuple(
        PresignedUrl(targets[number].url, targets[number].headers or {})
        for number in range(1, num_parts + 1)
    )
    return MultipartTicket(initiated.upload_id, initiated.file_id, urls)


class RefusedTicket(Permanent):
    """An upload was opened at the server with a part list that cannot be right; abort it."""

    def __init__(self, message: str, ticket: MultipartTicket) -> None:
        super().__init__(message, ticket)
        self.ticket = ticket

    def __str__(self) -> str:
        return str(self.args[0])


def _numbers(parts: list[_PartTarget]) -> str:
    numbers = [str(part.number) for part in parts]
    return ", ".join(numbers if len(numbers) <= 8 else [*numbers[:4], "...", *numbers[-2:]]) or "-"
