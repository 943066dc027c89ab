"""What the server remembers about each file: one small JSON document a file, and an index.

`Catalog` is the only writer of these documents. Each one is replaced atomically, so a server that
is killed at any moment starts again with what it had acknowledged. Nothing is synced to the
platter: this protects from a crash of the process, not of the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ingest.files import FileType, Purpose

ProcessingStatus = Literal["PENDING", "QUEUED", "RUNNING", "COMPLETED", "FAILED", "INVALID_FORMAT"]
FINAL_STATES: frozenset[ProcessingStatus] = frozenset({"COMPLETED", "FAILED", "INVALID_FORMAT"})


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)  # changed by `model_copy`, so the index sees old and new


class StoredPart(_Frozen):
    """A part as storage holds it; ``etag`` is without quotes."""

    number: int
    etag: str
    size_bytes: int


class OpenUpload(_Frozen):
    """A multipart upload between initiate and complete.

    ``joining`` is written before the parts are joined and holds what is being joined, so that a
    join cut short by a crash can be finished.
    """

    upload_id: str
    file_size_bytes: int
    num_parts: int
    joining: tuple[StoredPart, ...] | None = None


class ValidationReport(_Frozen):
    """The outcome of processing, in the names of the wire."""

    valid: bool
    error: str | None = None
    error_type: str | None = None
    nlines: int | None = None
    dataset_format: str | None = None


class FileRecord(_Frozen):
    """One file. ``status`` is None until it is preprocessed or completed; then it is visible."""

    id: str
    filename: str
    purpose: Purpose
    file_type: FileType
    created_at: int
    checksum: str | None = None
    upload: OpenUpload | None = None
    size_bytes: int = 0
    status: ProcessingStatus | None = None
    report: ValidationReport | None = None

    @property
    def finished(self) -> bool:
        """Whether all its bytes are in, which is when clients can see it."""
        return self.status is not None


class Catalog:
    """All records, in memory and in ``directory``; every lookup but the list is by key."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._records: dict[str, FileRecord] = {}
        self._by_upload: dict[str, str] = {}
        self._by_checksum: dict[str, list[str]] = {}
        loaded = [
            FileRecord.model_validate_json(path.read_bytes()) for path in directory.glob("*.json")
        ]
        for record in sorted(loaded, key=lambda record: (record.created_at, record.id)):
            self._index(record)

    def __iter__(self) -> Iterator[FileRecord]:
        return iter(list(self._records.values()))

    def get(self, file_id: str) -> FileRecord | None:
        """The record of an id, visible to clients or not."""
        return self._records.get(file_id)

    def with_checksum(self, checksum: str | None) -> FileRecord | None:
        """The first finished file whose content has this SHA-256."""
        ids = self._by_checksum.get(checksum or "")
        return self._records[ids[0]] if ids else None

    def with_upload(self, upload_id: str) -> FileRecord | None:
        """The file that an open multipart upload belongs to."""
        return self._records.get(self._by_upload.get(upload_id, ""))

    def save(self, record: FileRecord) -> None:
        """Write a record and index it anew."""
        path = self._path(record.id)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(record.model_dump_json())
        temporary.replace(path)
        self.note(record)

    def note(self, record: FileRecord) -> None:
        """Index a record whose change is not worth keeping over a restart."""
        self._unindex(record.id)
        self._index(record)

    def remove(self, file_id: str) -> None:
        """Forget a file."""
        self._unindex(file_id)
        self._records.pop(file_id, None)
        self._path(file_id).unlink(missing_ok=True)

    def _path(self, file_id: str) -> Path:
        return self._directory / f"{file_id}.json"

    def _index(self, record: FileRecord) -> None:
        self._records[record.id] = record
        if record.upload is not None:
            self._by_upload[record.upload.upload_id] = record.id
        if record.finished and record.checksum is not None:
            self._by_checksum.setdefault(record.checksum, []).append(record.id)

    def _unindex(self, file_id: str) -> None:
        known = self._records.get(file_id)
        if known is None:
            return
        if known.upload is not None:
            self._by_upload.pop(known.upload.upload_id, None)
        same = self._by_checksum.get(known.checksum or "", [])
        if file_id in same:
            same.remove(file_id)
