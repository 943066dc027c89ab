"""A byte range of a stream, as Arrow batches of whole lines.

Called by the readers of text files. A slice owns each line whose first byte is in its range; the
last one is read to its end, even past the range. A line ends with LF, CRLF or a lone CR, also
where a block of the file, or the slice itself, begins or ends between CR and LF.

Batches are views of one buffer that is filled again and again, so a batch is valid only until the
next one is asked for. The buffer grows for a line that is longer than a block, and is given back
after it. Nothing here looks at what a line says.
"""

from __future__ import annotations

import codecs
import io
import re
from bisect import bisect_left
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

_PIECE_BYTES = 2**20
_WIDE_SPACE = re.compile("[\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_TAIL_BYTES = 64 * 2**10
_LF, _CR = 0x0A, 0x0D
_LINE = pa.schema([pa.field("line", pa.large_binary(), nullable=False)])


@dataclass(frozen=True, slots=True)
class LineBatch:
    """Consecutive lines of a source, each with its terminator.

    Attributes:
        lines: a record batch of one column, ``line``: binary values over ``buffer``.
        buffer: the reader's own.
        borders: where lines begin in ``buffer``, and where the last one ends: one more than lines.
        offsets: the borders once more, as the values' own offsets.
        offset: of the first line's first byte, in the source.
    """

    lines: Any  # pyarrow.RecordBatch
    buffer: bytearray
    borders: list[int]
    offsets: npt.NDArray[np.int64]
    offset: int

    def __len__(self) -> int:
        return len(self.borders) - 1

    @property
    def is_utf8(self) -> bool:
        """Whether every line is UTF-8. Runs at memory speed: a cast that copies nothing."""
        try:
            self.lines.column(0).cast(pa.large_utf8())
        except pa.ArrowInvalid:
            return False
        return True

    @property
    def longest_bytes(self) -> int:
        """The length of the longest line, with its terminator."""
        return int((self.offsets[1:] - self.offsets[:-1]).max())

    def lengths(self) -> npt.NDArray[np.int64]:
        """How many bytes each line has without its terminator."""
        offsets, data = self.offsets, np.frombuffer(self.buffer, np.uint8)
        lengths = np.diff(offsets)
        last = data[offsets[1:] - 1]
        has_lf = last == _LF
        # Before an empty line is another line's end.
        before = data[offsets[1:] - 2] == _CR
        lengths -= has_lf | (last == _CR)
        lengths -= has_lf & before & (lengths > 0)
        return lengths

    def text(self, begin: int, end: int) -> str:
        """The line between two borders, without its terminator.

        Raises:
            UnicodeDecodeError: it is not UTF-8.
        """
        return str(self._content(begin, end), "utf-8")

    def narrow_text(self, begin: int, end: int) -> str:
        """The line between two borders in one byte a character, whatever it holds.

        For very long lines, of which one wide character would make a string four times as large.
        Characters beyond Latin-1 become question marks, or no-break spaces if they are white
        space; so to JSON, and to all that only looks at keys, lengths and ASCII, nothing changes.

        Raises:
            UnicodeDecodeError: it is not UTF-8.
        """
        content = self._content(begin, end)
        decoder = codecs.getincrementaldecoder("utf-8")()
        pieces = []
        try:
            for first in range(0, len(content), _PIECE_BYTES):
                piece = decoder.decode(content[first : first + _PIECE_BYTES])
                pieces.append(_narrowed(piece))
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return str(content, "utf-8")  # raises with the place in the line, not in the piece
        return "".join(pieces)

    def _content(self, begin: int, end: int) -> memoryview:
        if end > begin and self.buffer[end - 1] == _LF:
            end -= 1
        if end > begin and self.buffer[end - 1] == _CR:
            end -= 1
        return memoryview(self.buffer)[begin:end]


def _narrowed(text: str) -> str:
    if text.isascii():
        return text
    return _WIDE_SPACE.sub("\xa0", text).encode("latin-1", "replace").decode("latin-1")


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
                    yield self._batch([self._begin, self._filled])
                return
            for ends in self._find_ends():
                if self._in_foreign_line:
                    self._in_foreign_line = False
                    self._begin = ends.pop(0)
                borders = [self._begin, *ends]
                # A line is ours if it begins before the slice's end.
                ours = bisect_left(borders, self._end - self._base, hi=len(ends))
                if ours:
                    yield self._batch(borders[: ours + 1])
                self._begin = borders[-1]
                if ours < len(ends):
                    return
            if self._in_foreign_line:
                self._begin = self._filled

    def _batch(self, borders: list[int]) -> LineBatch:
        offsets = np.array(borders, np.int64)
        lines = pa.Array.from_buffers(
            pa.large_binary(),
            len(borders) - 1,
            [None, pa.py_buffer(offsets), pa.py_buffer(self._buffer)],
            null_count=0,
        )
        return LineBatch(
            pa.RecordBatch.from_arrays([lines], schema=_LINE),
            self._buffer,
            borders,
            offsets,
            self._base + borders[0],
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

    def _find_ends(self) -> Iterator[list[int]]:
        """Yield where lines end in what was read last: the indexes after their terminators."""
        if self._buffer.find(_CR, self._scan_from, self._filled) >= 0:
            ends = self._find_ends_with_cr()
            for first in range(0, len(ends), MAX_LINES_PER_BATCH):
                yield ends[first : first + MAX_LINES_PER_BATCH].tolist()
            return
        # Twice as fast as comparing every byte, unless lines are very short.
        find, filled = self._buffer.find, self._filled
        found: list[int] = []
        end = self._scan_from
        while end := find(_LF, end, filled) + 1:
            found.append(end)
            if len(found) == MAX_LINES_PER_BATCH:
                yield found
                found = []
        if found:
            yield found

    def _find_ends_with_cr(self) -> npt.NDArray[np.int64]:
        first = self._scan_from
        block = np.frombuffer(self._buffer, np.uint8, self._filled - first, first)
        returns = np.flatnonzero(block == _CR)
        self._after_cr = bool(returns[-1] == len(block) - 1)
        following = block[np.minimum(returns + 1, len(block) - 1)]
        ends = np.flatnonzero(block == _LF)
        lone = returns[following != _LF]
        if len(lone):
            ends = np.sort(np.concatenate((ends, lone)))
        return ends + (first + 1)
