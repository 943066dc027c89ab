"""A byte range of a stream, as Arrow batches of whole lines.

Called by the readers of text files. A slice owns each line whose first byte is in its range; the
last one is read to its end, even past the range. A line ends with LF, CRLF or a lone CR, also
where a block of the file, or the slice itself, begins or ends between CR and LF.

Batches are views of one buffer that is filled again and again, so a batch is valid only until the
next one is asked for. The buffer grows for a line that is longer than a block, and is given back
after it. Nothing here looks at what a line says.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ingest.errors import SourceChanged

BLOCK_BYTES = 2 * 2**20
"""What is read at once: enough to make each step's own cost small, and near a CPU's cache."""

MAX_LINES_PER_BATCH = 2**15
"""Keeps what a consumer makes of a batch small even if all of its lines are blank."""

_TAIL_BYTES = 64 * 2**10
_LF, _CR = 0x0A, 0x0D
_LINE = pa.schema([pa.field("line", pa.large_binary(), nullable=False)])

_Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LineBatch:
    """Consecutive lines of a source, each with its terminator.

    Attributes:
        lines: a record batch of one column, ``line``: binary values over ``buffer``.
        buffer: the reader's buffer, in which ``borders`` are indexes.
        offset: of the first line's first byte, in the source.
    """

    lines: Any  # pyarrow.RecordBatch
    buffer: bytearray
    offset: int

    def __len__(self) -> int:
        return int(self.lines.num_rows)

    @property
    def is_utf8(self) -> bool:
        """Whether every line is UTF-8. Runs at memory speed: a cast that copies nothing."""
        try:
            self.lines.column(0).cast(pa.large_utf8())
        except pa.ArrowInvalid:
            return False
        return True

    @property
    def borders(self) -> list[int]:
        """Where lines begin in ``buffer``, and where the last one ends: one more than lines."""
        borders: list[int] = np.frombuffer(self.lines.column(0).buffers()[1], np.int64).tolist()
        return borders

    def text(self, begin: int, end: int) -> str:
        """The line between two borders, without its terminator.

        Raises:
            UnicodeDecodeError: it is not UTF-8.
        """
        if end > begin and self.buffer[end - 1] == _LF:
            end -= 1
        if end > begin and self.buffer[end - 1] == _CR:
            end -= 1
        return str(memoryview(self.buffer)[begin:end], "utf-8")


def read_batches(
    stream: io.RawIOBase, start: int, end: int, size_bytes: int, block_bytes: int = BLOCK_BYTES
) -> Iterator[LineBatch]:
    """Yield the lines whose first byte is in ``[start, end)``, in batches.

    Args:
        stream: seekable; it is read from ``start - 1`` at the earliest.
        start: the slice's first byte.
        end: the byte after its last.
        size_bytes: the length of the source.
        block_bytes: how much is read at once, 1 or more; the lines do not depend on it.

    Raises:
        SourceChanged: the stream ended before ``size_bytes``; or whatever its reads raise.
    """
    return _LineReader(stream, start, min(end, size_bytes), size_bytes, block_bytes).batches()


class _LineReader:
    """The buffer between a stream and its lines.

    ``_buffer[_begin:_filled]`` is what has been read of the line that is not complete yet, and
    ``_base`` is the offset of ``_buffer[0]`` in the source.
    """

    def __init__(
        self, stream: io.RawIOBase, start: int, end: int, size_bytes: int, block_bytes: int
    ) -> None:
        self._stream = stream
        self._end = end
        self._size_bytes = size_bytes
        self._block_bytes = block_bytes
        self._tail_bytes = min(_TAIL_BYTES, block_bytes)
        # The byte before the slice tells whether its first byte begins a line.
        self._base = max(0, start - 1)
        self._in_foreign_line = start > 0
        self._after_cr = False
        self._begin = self._filled = 0
        self._allocate(2 * block_bytes)

    def batches(self) -> Iterator[LineBatch]:
        self._stream.seek(self._base)
        while self._base + self._begin < self._end:
            if not self._read_more():
                if self._begin < self._filled and not self._in_foreign_line:
                    yield self._batch(np.array([self._begin, self._filled], np.int64))
                return
            ends = self._find_ends()
            if self._in_foreign_line:
                if not len(ends):
                    self._begin = self._filled
                    continue
                self._begin, ends = int(ends[0]), ends[1:]
                self._in_foreign_line = False
            if not len(ends):
                continue
            borders = np.concatenate((np.array([self._begin], np.int64), ends))
            # A line is ours if it begins before the slice's end.
            ours = int(np.searchsorted(borders[:-1], self._end - self._base, "left"))
            for first in range(0, ours, MAX_LINES_PER_BATCH):
                last = min(ours, first + MAX_LINES_PER_BATCH)
                yield self._batch(borders[first : last + 1])
            self._begin = int(borders[-1])

    def _batch(self, borders: _Offsets) -> LineBatch:
        lines = pa.Array.from_buffers(
            pa.large_binary(),
            len(borders) - 1,
            [None, pa.py_buffer(borders), pa.py_buffer(self._buffer)],
            null_count=0,
        )
        return LineBatch(
            pa.RecordBatch.from_arrays([lines], schema=_LINE),
            self._buffer,
            self._base + int(borders[0]),
        )

    def _read_more(self) -> bool:
        """Read the next piece behind what is there; False at the end of the source."""
        position = self._base + self._filled
        if position >= self._size_bytes:
            return False
        wanted = min(self._next_read_bytes(position), self._size_bytes - position)
        self._make_room(wanted)
        got = self._stream.readinto(self._view[self._filled : self._filled + wanted])
        if not got:
            raise SourceChanged(
                f"the source ended at byte {position:,}, {self._size_bytes:,} were planned; "
                "run again when nothing writes to it"
            )
        self._scan_from = self._filled
        self._filled += got
        if self._after_cr:
            self._after_cr = False
            if self._buffer[self._scan_from] == _LF:
                # The CR before it has ended the line.
                self._scan_from += 1
                self._begin += 1
        return True

    def _next_read_bytes(self, position: int) -> int:
        if position < self._end:
            return min(self._block_bytes, self._end - position)
        # Only the rest of the last line is wanted: begin with little, as most lines are short.
        return min(self._block_bytes, max(self._tail_bytes, position - self._end))

    def _make_room(self, wanted: int) -> None:
        """Move the incomplete line to the front of a buffer that has room behind it."""
        carried = self._filled - self._begin
        needed = carried + wanted
        line = self._view[self._begin : self._filled]
        if needed > len(self._buffer) or len(self._buffer) > max(2 * needed, 4 * self._block_bytes):
            self._allocate(max(2 * self._block_bytes, carried + needed))
            self._view[:carried] = line
        elif self._begin:
            self._view[:carried] = line
        else:
            return
        self._base += self._begin
        self._begin, self._filled = 0, carried

    def _allocate(self, size: int) -> None:
        # Pages of a fresh buffer cost memory only once they are written to.
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)

    def _find_ends(self) -> _Offsets:
        """Where lines end in what was read last: the indexes after their terminators."""
        first = self._scan_from
        block = np.frombuffer(self._buffer, np.uint8, self._filled - first, first)
        ends = np.flatnonzero(block == _LF)
        if self._buffer.find(_CR, first, self._filled) >= 0:
            returns = np.flatnonzero(block == _CR)
            self._after_cr = bool(returns[-1] == len(block) - 1)
            following = block[np.minimum(returns + 1, len(block) - 1)]
            ends = np.sort(np.concatenate((ends, returns[following != _LF])))
        return ends + (first + 1)
