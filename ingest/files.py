"""The nouns of the pipeline: plain frozen values that planning returns and workers receive.

A *source* is a file as it lies on disk or in S3. An *upload file* is a file as the API will hold
it: an ordered list of *segments* of sources. A *slice* is a range of one source that one task
validates. A *part* is a byte range of an upload file that one PUT carries.

Nothing here does I/O, and every value can be pickled: these are what travels to workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FileType = Literal["jsonl", "parquet", "csv"]
Purpose = Literal["fine-tune", "batch-api", "eval", "calibration"]
RuleSet = Literal["strict", "standard", "basic"]

FILE_TYPES: tuple[FileType, ...] = ("jsonl", "parquet", "csv")
PURPOSES: tuple[Purpose, ...] = ("fine-tune", "batch-api", "eval", "calibration")
RULE_SETS: tuple[RuleSet, ...] = ("strict", "standard", "basic")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file on disk or in S3, as it was when it was discovered.

    Attributes:
        uri: an absolute path, or ``s3://bucket/key``.
        name: the path below the input that named it, ``/``-separated (``train/a.jsonl``).
        size_bytes: its length.
        version: mtime and inode of a local file (``"<mtime_ns>-<inode>"``), or an object's ETag.
            Every read checks it: bytes of two versions are never mixed.
        endpoint_url: the S3 endpoint to read it from; None is the default one, or a local file.
    """

    uri: str
    name: str
    size_bytes: int
    version: str
    endpoint_url: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """The bytes ``[offset, offset + length)`` of a source."""

    source: SourceFile
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes ``[offset, offset + length)`` of an upload file; ``number`` counts from 1."""

    number: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class UploadFile:
    """A file as the API will hold it, and how it will be sent.

    Attributes:
        name: unique in the run; becomes ``file_name`` at the API.
        segments: where its bytes come from, in order.
        parts: the byte ranges of a multipart upload; empty when a single request carries all.
        least_part_bytes: the smallest parts that it could be sent in; 0 if it has none.
    """

    name: str
    file_type: FileType
    segments: tuple[Segment, ...]
    parts: tuple[Part, ...] = ()
    least_part_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """The length of the whole file in bytes."""
        return sum(segment.length for segment in self.segments)


@dataclass(frozen=True, slots=True)
class SliceTask:
    """One validation task: the records of ``source`` whose first byte is in ``[start, end)``.

    A record that begins before ``end`` is read to its end, even past ``end``. CSV and Parquet
    files are one slice, ``[0, size)``.

    Attributes:
        max_problems: how many problems the result carries at the most; all are counted.
    """

    source: SourceFile
    file_type: FileType
    purpose: Purpose
    rules: RuleSet
    start: int
    end: int
    max_problems: int = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule.

    Attributes:
        line: from 1, in the source file; None for a problem of the file as a whole.
        record: record number from 1; None likewise.
        path: the place inside the record (``messages[2].role``); None for the whole record.
        code: the rule's code, as ``ingest rules`` lists it.
        message: one sentence: what was expected and what was found.
    """

    line: int | None
    record: int | None
    path: str | None
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Statistics:
    """What was counted on the way, in a slice or in a file.

    Attributes:
        messages: of records that have a dataset format with messages.
        roles: how many messages each known role has; roles that have none are left out.
        images: content items that are images.
        longest_record_bytes: without the line's end; 0 where records are no lines of JSON.
        longest_record_line: the first line as long as that; None without records.
    """

    messages: int = 0
    roles: tuple[tuple[str, int], ...] = ()
    images: int = 0
    longest_record_bytes: int = 0
    longest_record_line: int | None = None


NO_STATISTICS = Statistics()


@dataclass(frozen=True, slots=True)
class FileReport:
    """The verdict on one source file.

    Attributes:
        file_type: None when the name's ending is none of ours.
        dataset_format: ``conversation``, ``instruction``, ``general`` or ``preference``, from the
            first record that fits exactly one; ``tokenized`` for Parquet; None where none applies.
        records: how many records (lines, or rows) the file holds.
        problem_count: all problems found; ``problems`` holds the first of them, in source order.
        warning_count: all oddities found that do not change the verdict; likewise ``warnings``.
        statistics: what was counted besides the records.
        source: the file as it was read; None if it was not.
        file_problems: all problems of a text file as a whole, whether ``problems`` has room for
            them or not.
    """

    uri: str
    size_bytes: int
    file_type: FileType | None
    dataset_format: str | None
    records: int
    problem_count: int
    problems: tuple[Problem, ...]
    warning_count: int = 0
    warnings: tuple[Problem, ...] = ()
    statistics: Statistics = NO_STATISTICS
    source: SourceFile | None = None
    file_problems: tuple[Problem, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether the file may be sent."""
        return self.problem_count == 0
