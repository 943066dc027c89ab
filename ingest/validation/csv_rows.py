"""Evaluation data as CSV: every row has as many fields as the header.

Called by ``slices.py`` with a whole file, since only from its beginning can one tell whether a
line begins a row or continues a quoted field. Python's ``csv`` reads the rows, as it does for the
vendor's clients. It must never be given much of one row: an open quote can make the rest of any
file one field, so what is long or inside of quotes is shortened before the reader sees it.
"""

from __future__ import annotations

import csv
import io
import re
import struct
from collections.abc import Iterator
from itertools import pairwise

from ingest.files import Problem, SliceTask
from ingest.validation.findings import Findings, SliceResult
from ingest.validation.lines import BLOCK_BYTES, LineBatch, read_batches

_LONGEST_FIELD = 2 ** (8 * struct.calcsize("l") - 1) - 1  # a C long

_LONG_LINE = 2**16

# Only quotes, commas and line ends have a meaning; of other characters it only counts whether
# there are any.
_PLAIN_RUN = re.compile(r'[^",\r\n]+')


def check_csv(task: SliceTask, stream: io.RawIOBase, block_bytes: int = BLOCK_BYTES) -> SliceResult:
    """Check a CSV file row by row.

    Args:
        task: the slice, which is the whole file.
        stream: the open source.
        block_bytes: how much is read at once; the result does not depend on it.
    """
    findings = Findings(task.max_problems)
    lines = _Lines(task, stream, findings, block_bytes)
    for _ in _check_rows(lines, findings):
        pass
    findings.lines = lines.read
    return findings.result()


def iter_csv_problems(task: SliceTask, stream: io.RawIOBase) -> Iterator[Problem]:
    """Yield the problems of all rows, as ``check_csv`` finds them.

    Args:
        task: the slice, which is the whole file.
        stream: the open source.
    """
    findings = Findings(task.max_problems)
    for _ in _check_rows(_Lines(task, stream, findings, BLOCK_BYTES), findings):
        yield from findings.take_problems()


def _check_rows(lines: _Lines, findings: Findings) -> Iterator[None]:
    """Check row by row, with a stop at each problem."""
    # The limit belongs to the whole process, so it is never put back: another thread may be
    # reading. A field is only ever as long as the file's longest line.
    csv.field_size_limit(_LONGEST_FIELD)
    rows = csv.reader(lines)
    width = len(next(rows, []))
    if not width:
        findings.add(
            "csv.no_header",
            "expected a first line that names the columns, found a blank one",
            line=1,
            record=None,
            path=None,
        )
        yield
        return
    lines.end_row()
    for row in rows:
        if row:
            findings.records += 1
            if len(row) != width:
                findings.add(
                    "csv.row_width",
                    f"expected {_fields(width)} as in the header, found {_fields(len(row))}",
                    line=lines.row_line,
                    record=findings.records,
                    path=None,
                )
                yield
        lines.end_row()


class _Lines:
    """Feeds a CSV reader, and knows on which line the row being read began."""

    def __init__(
        self, task: SliceTask, stream: io.RawIOBase, findings: Findings, block_bytes: int
    ) -> None:
        self.read = 0
        self.row_line = 1
        self._in_row = False
        self._findings = findings
        self._lines = self._texts(stream, task.start, task.end, task.source.size_bytes, block_bytes)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next line that the reader has to see."""
        for line in self._lines:
            self.read += 1
            if not self._in_row:
                self._in_row = True
                self.row_line = self.read
                return line
            # A row goes on past a line's end only inside of quotes, where nothing but a quote
            # has a meaning.
            if '"' in line:
                return _PLAIN_RUN.sub("x", line)
        raise StopIteration

    def end_row(self) -> None:
        """The reader has returned the row: the next line begins another."""
        self._in_row = False

    def _texts(
        self, stream: io.RawIOBase, start: int, end: int, size_bytes: int, block_bytes: int
    ) -> Iterator[str]:
        for batch in read_batches(stream, start, end, size_bytes, block_bytes):
            if not batch.is_utf8:
                self._find_faults(batch)
            for begin, line_end in pairwise(batch.borders):
                # One character a byte: what has a meaning is ASCII, and nothing else is looked at.
                text = str(memoryview(batch.buffer)[begin:line_end], "latin-1")
                # Python 3.10 refuses null characters; here they are data like any other.
                text = text.replace("\0", "x")
                # The reader needs many times the memory of a field.
                yield text if len(text) <= _LONG_LINE else _PLAIN_RUN.sub("x", text)

    def _find_faults(self, batch: LineBatch) -> None:
        borders = batch.borders
        for begin, end in pairwise(borders):
            try:
                batch.text(begin, end)
            except UnicodeDecodeError as error:
                self._findings.add_not_utf8(batch.offset + begin - borders[0], error)


def _fields(number: int) -> str:
    return f"{number:,} field" if number == 1 else f"{number:,} fields"
