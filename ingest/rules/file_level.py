"""What a file's name and size tell before a byte of it is read.

Called once a file, by the readers and by planning.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from ingest.files import FILE_TYPES, FileType, Problem, Purpose
from ingest.rules.batch import MAX_BATCH_FILE_BYTES
from ingest.rules.verdict import cut

DEFAULT_MAX_FILE_SIZE_BYTES = int(50.1 * 2**30)
"""The largest file the vendor's clients send; their guide says 100 GB."""

FILE_TYPES_FOR_PURPOSE: dict[Purpose, tuple[FileType, ...]] = {
    "fine-tune": ("jsonl", "parquet"),
    "calibration": ("jsonl", "parquet"),
    "eval": ("jsonl", "csv"),
    "batch-api": ("jsonl",),
}


def file_type_of(name: str) -> FileType | None:
    """The file type that a name's ending stands for; None if it is none of ours.

    Endings count in lower case only, and a name that is nothing but an ending (``.jsonl``) has
    none.
    """
    suffix = PurePosixPath(name).suffix
    for file_type in FILE_TYPES:
        if suffix == f".{file_type}":
            return file_type
    return None


def check_file_facts(
    name: str,
    size_bytes: int,
    purpose: Purpose,
    max_file_size_bytes: int = DEFAULT_MAX_FILE_SIZE_BYTES,
    will_be_split: bool = False,
) -> tuple[Problem, ...]:
    """Check a file's name and size.

    Args:
        name: the file's name or path; only its ending matters.
        size_bytes: its length.
        purpose: what it will be uploaded for.
        max_file_size_bytes: the largest file to send in one piece.
        will_be_split: whether it will be sent as several files, each below the limit.

    Returns:
        The problems, all of the file as a whole (without a line).
    """
    problems: list[Problem] = []

    def add(code: str, message: str) -> None:
        problems.append(Problem(line=None, record=None, path=None, code=code, message=message))

    if size_bytes == 0:
        add("file.empty", "expected at least one record, found a file of 0 bytes")
    if size_bytes > max_file_size_bytes and not will_be_split:
        add(
            "file.too_large",
            f"expected at most {max_file_size_bytes:,} bytes, found {size_bytes:,}",
        )
    file_type = file_type_of(name)
    accepted = FILE_TYPES_FOR_PURPOSE[purpose]
    if file_type is None:
        found = cut(PurePosixPath(name).name)
        add(
            "file.unknown_type",
            f"expected a name that ends in {_endings(FILE_TYPES)}, found {found}",
        )
    elif file_type not in accepted:
        add(
            "file.wrong_type_for_purpose",
            f"expected {_endings(accepted)} for the purpose {purpose}, found .{file_type}",
        )
    if purpose == "batch-api" and size_bytes > MAX_BATCH_FILE_BYTES:
        add(
            "batch.too_large",
            f"expected at most {MAX_BATCH_FILE_BYTES:,} bytes in a batch-api file, "
            f"found {size_bytes:,}",
        )
    return tuple(problems)


def _endings(file_types: tuple[FileType, ...]) -> str:
    *others, last = [f".{file_type}" for file_type in file_types]
    return f"{', '.join(others)} or {last}" if others else last
