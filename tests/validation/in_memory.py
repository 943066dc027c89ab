"""Datasets as bytes: a raw stream over them, and their report for any slicing."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from ingest.files import FileReport, FileType, Purpose, RuleSet, SliceTask, SourceFile
from ingest.validation.csv_rows import check_csv
from ingest.validation.findings import SliceResult
from ingest.validation.jsonl import check_jsonl
from ingest.validation.lines import BLOCK_BYTES
from ingest.validation.merge import merge_slices
from ingest.validation.parquet_rows import check_parquet

if TYPE_CHECKING:
    from typing_extensions import Buffer


class MemoryStream(io.RawIOBase):
    """A raw stream over bytes; ``most`` bytes a read make it as short-winded as a socket."""

    def __init__(self, data: bytes, most: int | None = None) -> None:
        super().__init__()
        self._bytes = io.BytesIO(data)
        self._most = most

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._bytes.seek(offset, whence)

    def tell(self) -> int:
        return self._bytes.tell()

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer)
        return self._bytes.readinto(view if self._most is None else view[: self._most])


def source_of(data: bytes, name: str = "data.jsonl") -> SourceFile:
    return SourceFile(f"/data/{name}", name, len(data), "1-1")


def check_slices(
    data: bytes,
    *,
    rules: RuleSet = "standard",
    purpose: Purpose = "fine-tune",
    slice_bytes: int | None = None,
    block_bytes: int = BLOCK_BYTES,
    max_problems: int = 100,
) -> list[SliceResult]:
    """The results of all slices of JSON Lines data."""
    step = slice_bytes or max(1, len(data))
    return [
        check_jsonl(
            SliceTask(
                source_of(data),
                "jsonl",
                purpose,
                rules,
                start,
                min(start + step, len(data)),
                max_problems,
            ),
            MemoryStream(data),
            block_bytes,
        )
        for start in range(0, len(data), step)
    ]


def report_of(
    data: bytes,
    *,
    rules: RuleSet = "standard",
    purpose: Purpose = "fine-tune",
    slice_bytes: int | None = None,
    block_bytes: int = BLOCK_BYTES,
    max_problems: int = 100,
) -> FileReport:
    """The report on JSON Lines data, however it is cut."""
    results = check_slices(
        data,
        rules=rules,
        purpose=purpose,
        slice_bytes=slice_bytes,
        block_bytes=block_bytes,
        max_problems=max_problems,
    )
    return merge_slices(source_of(data), "jsonl", purpose, rules, max_problems, results)


def report_of_whole(
    data: bytes,
    file_type: FileType,
    *,
    rules: RuleSet = "standard",
    block_bytes: int = BLOCK_BYTES,
    max_problems: int = 100,
) -> FileReport:
    """The report on CSV or Parquet data, which is never cut."""
    purpose: Purpose = "eval" if file_type == "csv" else "fine-tune"
    source = source_of(data, f"data.{file_type}")
    task = SliceTask(source, file_type, purpose, rules, 0, len(data), max_problems)
    stream = MemoryStream(data)
    result = (
        check_csv(task, stream, block_bytes) if file_type == "csv" else check_parquet(task, stream)
    )
    return merge_slices(source, file_type, purpose, rules, max_problems, [result])


def codes(report: FileReport) -> list[str]:
    return [problem.code for problem in report.problems]


def places(report: FileReport) -> list[tuple[int | None, int | None, str]]:
    return [(problem.line, problem.record, problem.code) for problem in report.problems]
