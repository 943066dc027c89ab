"""Our verdict on a file, through the public interface of the readers alone."""

from __future__ import annotations

from pathlib import Path

from ingest.files import FileReport, Purpose, RuleSet, SliceTask
from ingest.rules.file_level import (
    DEFAULT_MAX_FILE_SIZE_BYTES,
    FILE_TYPES_FOR_PURPOSE,
    check_file_facts,
    file_type_of,
)
from ingest.sources import stat_source
from ingest.validation import merge_slices, validate_slice

MAX_PROBLEMS = 100_000
"""More than any generated file has: all problems are compared."""


def check(path: Path, rules: RuleSet, purpose: Purpose, slices: int = 1) -> FileReport:
    """Validate a file, cut into at most ``slices`` slices if it is JSON Lines."""
    source = stat_source(str(path), path.name)
    size = source.size_bytes
    facts = check_file_facts(
        source.name, size, purpose, DEFAULT_MAX_FILE_SIZE_BYTES, will_be_split=False
    )
    file_type = file_type_of(source.name)
    if file_type not in FILE_TYPES_FOR_PURPOSE[purpose]:
        return FileReport(source.uri, size, file_type, None, 0, len(facts), facts)
    slice_bytes = size if file_type != "jsonl" else -(-size // slices)
    results = [
        validate_slice(
            SliceTask(
                source=source,
                file_type=file_type,
                purpose=purpose,
                rules=rules,
                start=start,
                end=min(start + slice_bytes, size),
                max_problems=MAX_PROBLEMS,
            )
        )
        for start in range(0, size, slice_bytes or 1)
    ]
    return merge_slices(source, file_type, purpose, rules, MAX_PROBLEMS, results, facts)
