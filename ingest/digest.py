"""SHA-256 of an upload file, read once from end to end: what the API calls its checksum.

Runs in a worker, beside the validation of the same file.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from ingest.errors import Interrupted
from ingest.files import Segment
from ingest.sources import open_segments

_BLOCK_BYTES = 4 << 20


def digest_segments(segments: tuple[Segment, ...], stop: threading.Event | None = None) -> str:
    """The SHA-256 of the segments' bytes, in lowercase hex.

    Args:
        segments: what to read, in order.
        stop: set it to end the reading; a large file takes minutes.

    Raises:
        Interrupted: ``stop`` was set.
        SourceChanged: a source is not the planned version.
        SourceError, Retryable: it cannot be read.
    """
    digest = hashlib.sha256()
    length = sum(s.length for s in segments)
    # Of thousands of small files each would clear megabytes that it has no use for.
    block, following = (memoryview(bytearray(min(length, _BLOCK_BYTES))) for _ in range(2))
    with (
        open_segments(segments, 0, length) as stream,
        ThreadPoolExecutor(1, "read-ahead") as reader,
    ):
        # While one block is hashed the next is read: from S3 that takes as long.
        reading = reader.submit(stream.readinto, block)
        while count := reading.result():
            reading = reader.submit(stream.readinto, following)
            digest.update(block[:count])
            block, following = following, block
            if stop is not None and stop.is_set():
                raise Interrupted("stopped while hashing")
    return digest.hexdigest()


def digest_key(segments: tuple[Segment, ...]) -> str:
    """What a digest is kept under: it stays true while no source has another version."""
    return range_key((s.source.uri, s.source.version, s.offset, s.length) for s in segments)


def range_key(ranges: Iterable[tuple[str, str, int, int]]) -> str:
    """The same from ``(uri, version, offset, length)``, as a manifest keeps them."""
    return "+".join(
        f"{uri}@{version}[{offset}:{offset + length}]" for uri, version, offset, length in ranges
    )
