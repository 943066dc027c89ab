"""Tokenised data as Parquet: lists of integers, of one length within each row.

Called by ``slices.py`` with a whole file. Pages are read through buffers of a fixed size, and
rows in batches of about ``VALUES_PER_BATCH`` values, so memory grows neither with the file nor
with its row groups. Arrow reads foreign bytes here: whatever it raises is a problem of the file,
unless the source itself has failed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest.errors import IngestError
from ingest.files import Problem, RuleSet, SliceTask
from ingest.rules.verdict import cut, key_path, show
from ingest.validation.findings import Findings, SliceResult

VALUES_PER_BATCH = 2**20
_MAX_ROWS_PER_BATCH = 2**14
# A dictionary can make a long string of a few bits; columns of strings are invalid anyway.
_MAX_ROWS_OF_STRINGS = 2**6
_PAGE_BUFFER_BYTES = 2**20

_IDS = "input_ids"
_COLUMNS = (_IDS, "attention_mask", "labels", "position_ids")
_NULL = -1

_Lengths = npt.NDArray[np.int64]


def check_parquet(task: SliceTask, stream: io.RawIOBase) -> SliceResult:
    """Check a Parquet file: that every page reads, its schema, and the lengths in each row.

    Args:
        task: the slice, which is the whole file.
        stream: the open source.
    """
    in_rows = Findings(task.max_problems)
    findings = _check_file(task, stream, in_rows)
    findings.add_from(in_rows)
    return findings.result()


def iter_parquet_problems(task: SliceTask, stream: io.RawIOBase) -> Iterator[Problem]:
    """Yield all problems of a Parquet file, as ``check_parquet`` finds them.

    It is read twice: that a page cannot be read comes before what is wrong with its rows.

    Args:
        task: the slice, which is the whole file.
        stream: the open source.
    """
    yield from _check_file(task, stream, Findings(0)).take_problems()
    stream.seek(0)
    in_rows = Findings(task.max_problems)
    with suppress(_Unreadable):
        for batch in _batches(_open(stream)):
            _check_lengths(batch, in_rows)
            yield from in_rows.take_problems()


def _check_file(task: SliceTask, stream: io.RawIOBase, in_rows: Findings) -> Findings:
    """Check the file as a whole, and its rows into ``in_rows``."""
    findings = Findings(task.max_problems)
    is_readable, schema = True, None
    try:
        file = _open(stream)
        schema = file.schema_arrow
        for batch in _batches(file):
            _check_lengths(batch, in_rows)
    except _Unreadable as error:
        is_readable = False
        _add(findings, "parquet.unreadable", f"expected a Parquet file, found {error}")
    findings.records = in_rows.records
    if schema is not None:
        _check_names(schema.names, task.rules, findings)
        if is_readable and not findings.records:
            # Without rows, writers cannot know the types of columns.
            _add(findings, "file.no_records", "expected at least one row, found none")
        else:
            _check_types(schema, findings)
        if _IDS in schema.names:
            findings.add_format("tokenized", findings.records, [1])
    return findings


class _Unreadable(Exception):
    """Arrow cannot read the file; the message says what it found."""


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except IngestError:
        raise  # the source's own fault, through Arrow and back
    except Exception as error:  # damaged bytes raise whatever the code that meets them raises
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise _Unreadable(cut(lines[0])) from error


def _open(stream: io.RawIOBase) -> Any:
    with _reading():
        file = pq.ParquetFile(
            pa.PythonFile(stream, mode="r"), buffer_size=_PAGE_BUFFER_BYTES, pre_buffer=False
        )
        names = file.schema_arrow.names
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise _Unreadable(f"more than one column {show(repeated)}")
    return file


def _batches(file: Any) -> Iterator[Any]:
    """Yield all rows, so that every page is read."""
    for index in range(file.num_row_groups):
        with _reading():
            batches = file.iter_batches(
                _rows_per_batch(file.metadata.row_group(index)),
                row_groups=[index],
                use_threads=False,
            )
        while True:
            with _reading():
                batch = next(batches, None)
            if batch is None:
                break
            yield batch


def _rows_per_batch(group: Any) -> int:
    """How many rows to decode at once.

    Counted in values, not bytes: runs of one value take almost no space in a file.
    """
    columns = [group.column(index) for index in range(group.num_columns)]
    values = sum(column.num_values for column in columns)
    rows: int = VALUES_PER_BATCH * max(1, group.num_rows) // max(1, values)
    has_strings = any(column.physical_type.endswith("BYTE_ARRAY") for column in columns)
    return max(1, min(rows, _MAX_ROWS_OF_STRINGS if has_strings else _MAX_ROWS_PER_BATCH))


def _check_names(names: list[str], rules: RuleSet, findings: Findings) -> None:
    if _IDS not in names:
        _add(findings, "parquet.missing_input_ids", f"expected a column {_IDS}, found none")
    allowed = _COLUMNS[:3] if rules == "strict" else _COLUMNS
    for name in names:
        if name not in allowed:
            _add(
                findings,
                "parquet.extra_column",
                f"expected no columns but {', '.join(allowed)}, found {show(name)}",
                path=key_path(name),
            )


def _check_types(schema: Any, findings: Findings) -> None:
    for field in schema:
        if field.name in _COLUMNS and not _is_list_of_integers(field.type):
            _add(
                findings,
                "parquet.column_type",
                f"expected lists of integers, found {cut(str(field.type))}",
                path=field.name,
            )


def _is_list(arrow_type: Any) -> bool:
    types = pa.types
    return bool(
        types.is_list(arrow_type)
        or types.is_large_list(arrow_type)
        or types.is_fixed_size_list(arrow_type)
    )


def _is_list_of_integers(arrow_type: Any) -> bool:
    return _is_list(arrow_type) and bool(pa.types.is_integer(arrow_type.value_type))


def _check_lengths(batch: Any, findings: Findings) -> None:
    """Check that the lists in each row are as long as its ``input_ids``."""
    first_record = findings.records + 1
    findings.records += batch.num_rows
    lengths = {
        name: _lengths(batch.column(name))
        for name in _COLUMNS
        if name in batch.schema.names and _is_list(batch.schema.field(name).type)
    }
    if _IDS not in lengths:
        return
    expected = lengths[_IDS]
    wrong = np.column_stack(
        [
            (found == _NULL) | ((found != expected) & (expected != _NULL))
            for found in lengths.values()
        ]
    )
    rows, columns = np.nonzero(wrong)
    names = list(lengths)
    shown = min(len(rows), findings.room)
    for row, column in zip(rows[:shown].tolist(), columns[:shown].tolist(), strict=True):
        found = int(lengths[names[column]][row])
        if names[column] == _IDS:
            message = "expected a list of token ids, found null"
        else:
            wanted = f"{expected[row]:,} values like {_IDS}" if expected[row] != _NULL else "a list"
            message = f"expected {wanted}, found {'null' if found == _NULL else f'{found:,}'}"
        _add(
            findings,
            "parquet.length_mismatch",
            message,
            record=first_record + row,
            path=names[column],
        )
    findings.count_more(len(rows) - shown)


def _lengths(column: Any) -> _Lengths:
    """The length of each list, or ``_NULL``."""
    lengths = pc.fill_null(pc.cast(pc.list_value_length(column), pa.int64()), _NULL)
    found: _Lengths = lengths.to_numpy(zero_copy_only=False)
    return found


def _add(
    findings: Findings, code: str, message: str, record: int | None = None, path: str | None = None
) -> None:
    # Rows have no lines.
    findings.add(code, message, line=None, record=record, path=path)
