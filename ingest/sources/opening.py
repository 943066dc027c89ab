"""Opens and describes a source, whichever store it is in.

Called by everything that reads a source. It only chooses: the reading is done in ``local`` and
``s3``, and boto3 is imported when the first ``s3://`` is met, since checking three small local
files should not wait for it.
"""

from __future__ import annotations

import io

from ingest.files import SourceFile
from ingest.sources.local import open_local, stat_local


def is_s3(uri: str) -> bool:
    """Whether a URI names an object in S3 rather than a local path."""
    return uri.startswith("s3://")


def open_source(source: SourceFile, *, end: int | None = None) -> io.RawIOBase:
    """Open one version of a source as a raw, seekable, readable stream.

    ``readinto`` and ``read(n)`` give all the bytes asked for unless the planned end is reached.

    Args:
        source: the source as it was discovered.
        end: nothing at or past this offset will be read. Only a hint: an S3 request then asks for
            no more than that, and its connection can be used again.

    Raises:
        SourceChanged: here or from any later call: it is not the planned version any more.
        SourceError: it cannot be read; the message says what to do.
        Retryable: from reads of S3: the store stayed faulty over several attempts.
    """
    if is_s3(source.uri):
        from ingest.sources.s3 import S3Stream

        return S3Stream(source, end=end)
    return open_local(source)


def stat_source(uri: str, name: str, endpoint_url: str | None = None) -> SourceFile:
    """Describe the file or object at ``uri`` as it is now.

    Args:
        uri: a local path or ``s3://bucket/key``.
        name: the source's name in reports, ``/``-separated.
        endpoint_url: the S3 endpoint; None is boto3's own default.

    Raises:
        SourceError: it is missing, no regular file, or cannot be read.
    """
    if is_s3(uri):
        from ingest.sources.s3 import stat_object

        return stat_object(uri, name, endpoint_url)
    return stat_local(uri, name)
