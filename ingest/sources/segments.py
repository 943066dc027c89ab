"""A byte range of an upload file, as one stream: what the body of a PUT is read from.

The part transfer opens one for each PUT. An upload file is a list of segments of sources, and a
part may begin in one segment and end in another; this stream hides the seams. It must never hold
more than a single read asks for, nor give the last byte of a segment before the source is known
to be unchanged: a request that lacks its last byte is not accepted by any store.
"""

from __future__ import annotations

import bisect
import contextlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingest.errors import SourceChanged
from ingest.files import Segment, SourceFile
from ingest.sources.opening import open_source

if TYPE_CHECKING:
    from typing_extensions import Buffer


def open_segments(segments: Sequence[Segment], offset: int, length: int) -> SegmentReader:
    """Open the bytes ``[offset, offset + length)`` of the concatenation of ``segments``.

    Sources are opened when they are reached, one at a time.

    Raises:
        ValueError: the range reaches past the last segment.
        SourceChanged: from reads: a source is not the planned version, or gives fewer bytes.
        SourceError, Retryable: from reads, as ``open_source`` and its streams raise them.
    """
    return SegmentReader(segments, offset, length)


@dataclass(frozen=True, slots=True)
class _Piece:
    """The range's bytes ``[start, end)``, which lie in a source from ``offset`` on."""

    source: SourceFile
    offset: int
    start: int
    end: int


def _cut(segments: Sequence[Segment], offset: int, length: int) -> tuple[_Piece, ...]:
    """The pieces of ``segments`` that make up the range; none of them is empty."""
    pieces = []
    done = 0
    for segment in segments:
        skipped = min(offset, segment.length)
        offset -= skipped
        taken = min(segment.length - skipped, length - done)
        if taken > 0:
            pieces.append(_Piece(segment.source, segment.offset + skipped, done, done + taken))
            done += taken
    if done != length:
        raise ValueError(f"the range reaches {length - done} bytes past the last segment")
    return tuple(pieces)


class SegmentReader(io.RawIOBase):
    """A raw, seekable stream over a range of segments; ``len()`` is its length in bytes.

    ``requests`` takes the Content-Length from ``len()`` and rewinds by ``seek``.
    """

    def __init__(self, segments: Sequence[Segment], offset: int, length: int) -> None:
        super().__init__()
        self._pieces = _cut(segments, offset, length)
        self._starts = [piece.start for piece in self._pieces]
        self._length = length
        self._position = 0
        self._stream: io.RawIOBase | None = None
        self._stream_piece = -1
        self._stream_position = 0  # within the range, like _position

    def __len__(self) -> int:
        return self._length

    def __bool__(self) -> bool:
        # An empty range is still a body.
        return True

    def readable(self) -> bool:
        """Always True."""
        return True

    def seekable(self) -> bool:
        """Always True."""
        return True

    def tell(self) -> int:
        """The position within the range, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move within the range; ``seek(0)`` makes the body ready to be sent again."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}
        self._position = max(0, origin[whence] + offset)
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill ``buffer`` from the current position; less only at the end of the range."""
        if self.closed:
            raise ValueError("I/O operation on a closed stream")
        view = memoryview(buffer).cast("B")
        planned = min(len(view), max(0, self._length - self._position))
        filled = 0
        while filled < planned:
            filled += self._read_piece(view[filled:planned])
        return filled

    def close(self) -> None:
        """Close the source that is open, if any."""
        self._drop_stream()
        super().close()

    def _read_piece(self, view: memoryview) -> int:
        """Fill ``view`` from the piece at the current position, as far as that piece goes."""
        number = bisect.bisect_right(self._starts, self._position) - 1
        piece = self._pieces[number]
        stream = self._open_piece(number)
        wanted = min(len(view), piece.end - self._position)
        count = stream.readinto(view[:wanted])
        if count != wanted:
            raise SourceChanged(
                f"{piece.source.uri}: expected {wanted} bytes at offset "
                f"{piece.offset + self._position - piece.start}, found {count}; "
                "run again when nothing writes to it"
            )
        self._position += wanted
        self._stream_position = self._position
        if self._position == piece.end:
            self._stream = None
            stream.close()  # raises SourceChanged before the last bytes are handed out
        return wanted

    def _open_piece(self, number: int) -> io.RawIOBase:
        if self._stream is not None and self._stream_piece == number:
            if self._stream_position != self._position:
                self._seek_in(self._stream, self._pieces[number])
            return self._stream
        self._drop_stream()
        piece = self._pieces[number]
        end = piece.offset + piece.end - piece.start
        self._stream = open_source(piece.source, end=end)
        self._stream_piece = number
        self._seek_in(self._stream, piece)
        return self._stream

    def _seek_in(self, stream: io.RawIOBase, piece: _Piece) -> None:
        stream.seek(piece.offset + self._position - piece.start)
        self._stream_position = self._position

    def _drop_stream(self) -> None:
        """Close without a check: bytes that were not wanted to their end prove nothing."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(SourceChanged):
                stream.close()
