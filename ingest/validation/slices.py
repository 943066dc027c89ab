"""``validate_slice``: one validation task, from opening the source to its result.

Runs in a worker, called by a process pool or a Ray task; it keeps nothing from call to call. A
driver has to import it to name it, but does not need the readers: Arrow and NumPy alone take it
longer to import than all the rest. So each reader is imported when a file of its type is met.
"""

from __future__ import annotations

from ingest.files import SliceTask
from ingest.sources import open_source
from ingest.validation.findings import SliceResult


def validate_slice(task: SliceTask) -> SliceResult:
    """Validate one slice of a dataset file.

    Args:
        task: the slice. CSV and Parquet files are one slice each.

    Returns:
        What was found, in numbers relative to the slice. Invalid data is a result.

    Raises:
        SourceChanged: the source is not what it was when it was planned.
        SourceError: it cannot be read.
        Retryable: its store has a passing fault.
    """
    with open_source(task.source) as stream:
        if not task.source.size_bytes:
            return SliceResult()  # the merge says that the file is empty
        if task.file_type == "parquet":
            from ingest.validation.parquet_rows import check_parquet

            return check_parquet(task, stream)
        if task.file_type == "csv":
            from ingest.validation.csv_rows import check_csv

            return check_csv(task, stream)
        from ingest.validation.jsonl import check_jsonl

        return check_jsonl(task, stream)
