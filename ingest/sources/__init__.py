"""Where dataset files come from: local disks and S3, found, described and read.

Called by the command line and the driver (discovery), the validating readers and the part
transfer (streams), and by a manifest kept at ``s3://`` (object operations). A source is opened by
the ``SourceFile`` that discovery made, and every read checks that it is still that version.
Importing this package is cheap: boto3 is imported when the first ``s3://`` is met. Nothing here
ever writes to a source.
"""

from ingest.sources.discovery import Discovery, Skipped, discover
from ingest.sources.opening import is_s3, open_source, stat_source
from ingest.sources.s3 import (
    ObjectExists,
    ObjectInfo,
    client_for,
    delete_object,
    list_objects,
    read_object,
    read_object_with_etag,
    write_object,
)
from ingest.sources.segments import SegmentReader, open_segments

__all__ = [
    "Discovery",
    "ObjectExists",
    "ObjectInfo",
    "SegmentReader",
    "Skipped",
    "client_for",
    "delete_object",
    "discover",
    "is_s3",
    "list_objects",
    "open_segments",
    "open_source",
    "read_object",
    "read_object_with_etag",
    "stat_source",
    "write_object",
]
