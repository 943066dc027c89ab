"""The manifest: which file id holds which bytes. JSON Lines, one object an upload file, by name.

Read by users, by CI and by the next run; written whole by the driver alone. It holds no secret,
so it can be committed. Identity is name + SHA-256 + purpose + base URL: a source's version (its
mtime, say) only decides whether to hash it again.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ingest.errors import ManifestError
from ingest.files import FileType, Segment
from ingest.statistics import ContentStatistics

Status = Literal["uploaded", "duplicate", "processed", "invalid", "failed"]

AT_SERVER: frozenset[Status] = frozenset({"uploaded", "duplicate", "processed"})
"""The states of a file whose bytes the API holds and that a job can use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRange:
    """Where a run of an upload file's bytes came from."""

    uri: str
    offset: int
    length: int
    version: str

    @classmethod
    def of(cls, segment: Segment) -> SourceRange:
        """The range that ``segment`` reads."""
        return cls(
            uri=segment.source.uri,
            offset=segment.offset,
            length=segment.length,
            version=segment.source.version,
        )


# A run holds one for each of its files, of which there may be many thousands: a model would take
# four times the memory.
@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(populate_by_name=True))
class ManifestEntry:
    """One upload file, as one line of the manifest.

    Attributes:
        file_id: None until the API has all of its bytes.
        status: ``uploaded``; ``duplicate`` (the API had these bytes already); ``processed`` (the
            server validated it); ``invalid`` (refused by the rules, here or there); ``failed``.
        records: lines or rows; None when nothing counted them (``--no-check``).
        parts: how many PUTs carried it; 0 when none was needed.
        uploaded_at: UTC, ISO 8601.
        superseded: ids of earlier content under this name, oldest first.
        statistics: what was counted while it was validated; None when nothing was.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    name: str
    file_id: str | None = None
    status: Status
    purpose: str
    file_type: FileType
    dataset_format: str | None = None
    bytes: int
    records: int | None = None
    sha256: str | None = None
    parts: int = 0
    base_url: str
    uploaded_at: str | None = None
    sources: tuple[SourceRange, ...]
    superseded: tuple[str, ...] = ()
    statistics: ContentStatistics | None = None

    @property
    def lines(self) -> int | None:
        """``records`` where a server's count of lines must be the same.

        None of CSV: the API does not say whether a header or a quoted line end is a line.
        """
        return None if self.file_type == "csv" else self.records

    def to_json(self) -> str:
        """One line, without its end."""
        return _adapter.dump_json(self, by_alias=True).decode()


_adapter = TypeAdapter(ManifestEntry)


class Manifest(BaseModel):
    """All entries by name; what ``jobs.publish.publish`` returns."""

    entries: dict[str, ManifestEntry] = {}

    @property
    def file_ids(self) -> list[str]:
        """The ids a job can use, in order of name."""
        return [entry.file_id for entry in self.sorted() if entry.file_id and usable(entry)]

    @property
    def all_ids(self) -> set[str]:
        """Every id that an entry has, or had before it was superseded."""
        return {
            file_id
            for entry in self.entries.values()
            for file_id in (entry.file_id, *entry.superseded)
            if file_id is not None
        }

    def sorted(self) -> list[ManifestEntry]:
        """The entries by name."""
        return [self.entries[name] for name in sorted(self.entries)]

    def to_bytes(self) -> bytes:
        """The manifest file."""
        content = io.BytesIO()
        for entry in self.sorted():
            content.write(entry.to_json().encode() + b"\n")
        return content.getvalue()


def usable(entry: ManifestEntry) -> bool:
    """Whether the API holds the bytes of ``entry``."""
    return entry.file_id is not None and entry.status in AT_SERVER


def parse_manifest(content: bytes, location: str) -> Manifest:
    """The manifest in ``content``; ``location`` is named in errors.

    Raises:
        ManifestError: some line is not an entry of ours; nothing of such a file is touched.
    """
    entries: dict[str, ManifestEntry] = {}
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = _adapter.validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(step) for step in first["loc"])
            raise ManifestError(
                f"{location}:{number}: is not a manifest of ours ({place} {first['msg']}); "
                "name another file with --manifest"
            ) from None
        # A merge in git can leave two lines of a name: the later one counts, no id is lost.
        entries[entry.name] = merge_superseded(entry, entries.get(entry.name))
    return Manifest(entries=entries)


def merge_superseded(entry: ManifestEntry, previous: ManifestEntry | None) -> ManifestEntry:
    """``entry``, remembering the ids that earlier content of the same name had.

    An id is never lost: a failed entry keeps the ids it could not replace.
    """
    if previous is None:
        return entry
    ids = [*previous.superseded, *filter(None, [previous.file_id]), *entry.superseded]
    kept = tuple(dict.fromkeys(i for i in ids if i != entry.file_id))
    return replace(entry, superseded=kept)
