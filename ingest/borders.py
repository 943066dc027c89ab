"""Finds where a large JSONL file can be cut into shards: at the ends of records.

Called by the driver for each file that planning says needs cutting, before anything is planned
for it. It reads backward from each cut, a few blocks only, so that a file of 50 GiB costs a few
megabytes. It must never read a file from end to end to place a cut, cut between CR and LF, or
make a shard that is empty or over the limit.
"""

from __future__ import annotations

from ingest.errors import DataInvalid, SourceChanged
from ingest.files import Problem, SourceFile
from ingest.sources import open_source

_FIRST_BLOCK_BYTES = 128 << 10
_LAST_BLOCK_BYTES = 8 << 20  # blocks double up to this: a record with images can be long


class RecordTooLarge(DataInvalid):
    """One record is longer than a shard may be, so the file cannot be cut.

    Attributes:
        uri: the source file.
        offset: where the record begins, in bytes.
        shard_size_bytes: the limit that it breaks.
    """

    def __init__(self, uri: str, offset: int, shard_size_bytes: int) -> None:
        super().__init__(uri, offset, shard_size_bytes)
        self.uri = uri
        self.offset = offset
        self.shard_size_bytes = shard_size_bytes

    def __str__(self) -> str:
        return f"{self.uri}: {self.problem.message}"

    @property
    def problem(self) -> Problem:
        """The same as one problem of the file, for its report."""
        return Problem(
            line=None,
            record=None,
            path=None,
            code="file.too_large",
            message=(
                f"expected records of at most {self.shard_size_bytes:,} bytes, the shard size, "
                f"found a longer one at byte {self.offset:,}; raise the shard size or shorten it"
            ),
        )


def find_borders(source: SourceFile, shard_size_bytes: int) -> tuple[int, ...]:
    """Find the offsets at which to cut a JSONL file, each the start of a record.

    The shards come out about equally long, and none is longer than ``shard_size_bytes``.

    Args:
        source: a JSONL file; its lines end with LF, CRLF or a lone CR.
        shard_size_bytes: the longest shard.

    Returns:
        The offsets in rising order, without 0 and the end; none if the file fits one shard.

    Raises:
        RecordTooLarge: a record is longer than a shard may be.
        SourceChanged, SourceError, Retryable: the file is not the planned one, or cannot be read.
    """
    if shard_size_bytes < 1:
        raise ValueError(f"a shard of {shard_size_bytes} bytes holds nothing")
    borders: list[int] = []
    start = 0
    while (left := source.size_bytes - start) > shard_size_bytes:
        shards = -(-left // shard_size_bytes)
        target = start - (-left // shards)
        border = _last_border(source, start, target)
        if border is None:  # a long record lies across the target: take what fits with it
            border = _last_border(source, target, start + shard_size_bytes)
        if border is None:
            raise RecordTooLarge(source.uri, start, shard_size_bytes)
        borders.append(border)
        start = border
    return tuple(borders)


def _last_border(source: SourceFile, after: int, until: int) -> int | None:
    """The last start of a line in ``(after, until]``; ``until`` is before the file's end."""
    block_bytes = _FIRST_BLOCK_BYTES
    while until > after:
        start = max(after, until - block_bytes)
        # One byte more tells whether a CR at the end of the block belongs to an LF.
        found = _last_line_end(_read(source, start, until + 1), until - start)
        if found is not None:
            return start + found
        until = start
        block_bytes = min(block_bytes * 2, _LAST_BLOCK_BYTES)
    return None


def _last_line_end(block: bytes, length: int) -> int | None:
    """The offset after the last line end within ``block[:length]``; ``block`` is a byte longer."""
    lf = block.rfind(b"\n", 0, length)
    cr = block.rfind(b"\r", lf + 1, length)
    if (
        cr == length - 1 and cr >= 0 and block[length] == 0x0A
    ):  # CR LF, cut in two by the block's end
        cr = block.rfind(b"\r", lf + 1, cr)
    last = max(lf, cr)
    return None if last < 0 else last + 1


def _read(source: SourceFile, start: int, end: int) -> bytes:
    with open_source(source, end=end) as stream:
        stream.seek(start)
        data = stream.read(end - start) or b""
    if len(data) != end - start:
        raise SourceChanged(
            f"{source.uri}: expected {end - start} bytes at offset {start}, found {len(data)}; "
            "run again when nothing writes to it"
        )
    return data
