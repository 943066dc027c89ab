"""The one module that talks to S3: clients, reading, listing, small objects, and what went wrong.

Called through ``ingest.sources``: streams and listings by whatever reads datasets, the object
operations by a manifest or journal kept at ``s3://``. Errors leave here as this package's own,
with what to do about them. boto3 is imported by the first call, not by the import of this module.
It must never retry without a bound, and never read two versions of an object as one.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ingest.errors import IngestError, Retryable, SourceChanged, SourceError
from ingest.files import SourceFile
from ingest.sources.s3_errors import (
    CONDITION_FAILED,
    MISSING,
    NOT_SHOWN,
    OUT_OF_RANGE,
    error_code,
    explained,
    explanation,
    is_passing,
    one_line,
)

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import PutObjectRequestTypeDef
    from typing_extensions import Buffer

# An endpoint that cannot be reached is reported within about 10 s: 3 attempts of 2.5 s, and
# botocore's own pauses between them.
_CONNECT_TIMEOUT_S = 2.5
_READ_TIMEOUT_S = 20.0
_ATTEMPTS = 3
_MAX_CONNECTIONS = 32

_READ_ATTEMPTS = 6  # in a row without one byte; with the pauses below about 6 s of outage
_READ_PAUSE_S = 0.2
_COPY_BYTES = 1 << 20

# How much one request asks for: little after a jump (a Parquet footer, a record border), ever
# more while reads go straight on, so that a dropped body wastes little and a long read is one.
_FIRST_WINDOW_BYTES = 1 << 20
_WINDOW_GROWTH = 8


class ObjectExists(IngestError):
    """A conditional write was refused: the object is there already, or is not the expected one."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a listing; ``etag`` is without its quotes."""

    uri: str
    size_bytes: int
    etag: str
    modified: datetime


# --- clients ------------------------------------------------------------------------------------

_clients: dict[tuple[int, str | None], S3Client] = {}
_clients_lock = threading.Lock()


def client_for(endpoint_url: str | None) -> S3Client:
    """The S3 client of this process for an endpoint; None leaves the choice to boto3.

    Clients are shared by threads, never by processes: a fork must not use its parent's sockets.

    Raises:
        SourceError: the endpoint or the AWS settings make no sense.
    """
    key = (os.getpid(), endpoint_url)
    with _clients_lock:
        if key not in _clients:
            import boto3
            from botocore.config import Config

            config = Config(
                connect_timeout=_CONNECT_TIMEOUT_S,
                read_timeout=_READ_TIMEOUT_S,
                retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
                max_pool_connections=_MAX_CONNECTIONS,
                tcp_keepalive=True,
            )
            try:
                with explained(endpoint_url or "S3"):
                    session = boto3.Session()
                    _clients[key] = session.client("s3", endpoint_url=endpoint_url, config=config)
            except ValueError as error:
                raise SourceError(f"{error}; expected an S3 endpoint like https://host") from error
        return _clients[key]


def forget_clients() -> None:
    """Close all clients: the credentials or endpoints in the environment have changed."""
    with _clients_lock:
        for client in _clients.values():
            client.close()
        _clients.clear()


def split_uri(uri: str) -> tuple[str, str]:
    """Split ``s3://bucket/key`` into bucket and key; the key may be empty.

    Raises:
        SourceError: there is no bucket in it.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise SourceError(f"{uri}: expected s3://bucket/key")
    return bucket, key


# --- reading ------------------------------------------------------------------------------------


def stat_object(uri: str, name: str, endpoint_url: str | None) -> SourceFile:
    """Describe an object as it is now.

    Raises:
        SourceError: it is missing, or cannot be reached or read.
    """
    bucket, key = split_uri(uri)
    with explained(uri):
        head = client_for(endpoint_url).head_object(Bucket=bucket, Key=key)
    return SourceFile(uri, name, head["ContentLength"], head["ETag"].strip('"'), endpoint_url)


def find_object(uri: str, name: str, endpoint_url: str | None) -> SourceFile | None:
    """Describe an object; None if the store does not show one with exactly this key.

    A refusal is None too: a policy may allow listing below ``key/`` and not this question, and
    the listing that follows gets an error with a reason, which this request never does.

    Raises:
        SourceError: the store cannot be reached.
    """
    try:
        return stat_object(uri, name, endpoint_url)
    except SourceError as error:
        if isinstance(error.__cause__, Exception) and error_code(error.__cause__) in NOT_SHOWN:
            return None
        raise


class S3Stream(io.RawIOBase):
    """A raw stream over one version of an object.

    Each request names the ETag, so the bytes of two versions are never mixed. A broken read goes
    on at the same offset, a bounded number of times. ``readinto`` fills its buffer unless the
    object, or ``end``, is reached.

    Raises:
        SourceChanged: from reads: the object is gone, or is not the planned version.
        Retryable: from reads: the store stayed faulty over several attempts.
        SourceError: from reads: the store refuses for good, e.g. the credentials.
    """

    def __init__(self, source: SourceFile, *, end: int | None = None) -> None:
        super().__init__()
        self._source = source
        self._bucket, self._key = split_uri(source.uri)
        self._end = source.size_bytes if end is None else min(end, source.size_bytes)
        self._position = 0
        self._body: StreamingBody | None = None
        self._body_position = 0  # the offset of the next byte that the body gives
        self._body_end = 0
        self._window_bytes = _FIRST_WINDOW_BYTES

    def readable(self) -> bool:
        """Always True."""
        return True

    def seekable(self) -> bool:
        """Always True."""
        return True

    def tell(self) -> int:
        """The current position in bytes."""
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move without any request; the next read asks for what it needs."""
        self._check_open()
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._source.size_bytes}
        if origin[whence] + offset < 0:
            raise ValueError(f"negative seek position {origin[whence] + offset}")
        self._position = origin[whence] + offset
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill ``buffer`` from the current position; less only at the planned end."""
        self._check_open()
        view = memoryview(buffer).cast("B")
        planned = min(len(view), max(0, self._end - self._position))
        filled = failures = 0
        while filled < planned:
            data, fault = self._read_some(planned - filled)
            if data:
                view[filled : filled + len(data)] = data
                filled += len(data)
                failures = 0
                continue
            failures += 1
            if failures == _READ_ATTEMPTS:
                raise Retryable(
                    f"{self._source.uri}: reading at byte {self._position} failed "
                    f"{failures} times: {fault}; run again when the store is well"
                )
            time.sleep(_READ_PAUSE_S * 2 ** (failures - 1) * random.uniform(0.5, 1.0))
        return filled

    def close(self) -> None:
        """Drop the connection."""
        self._drop_body()
        super().close()

    def _read_some(self, wanted: int) -> tuple[bytes, str]:
        """Up to ``wanted`` bytes, or none and what passing fault was met."""
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        try:
            body = self._body_here(wanted)
            data = body.read(min(wanted, self._body_end - self._position, _COPY_BYTES))
        except (BotoCoreError, ClientError, HTTPError) as error:
            self._drop_body()
            code = error_code(error)
            if code in MISSING:
                raise SourceChanged(
                    f"{self._source.uri}: vanished after it was planned; run again"
                ) from error
            if code in CONDITION_FAILED or code in OUT_OF_RANGE:
                raise self._changed(f"the store answered {code}") from error
            if not is_passing(error):
                raise SourceError(explanation(error, self._source.uri)) from error
            return b"", one_line(error)
        self._position += len(data)
        self._body_position = self._position
        if not data:
            self._drop_body()
        return data, "the connection ended early"

    def _body_here(self, wanted: int) -> StreamingBody:
        """The open body if it stands at the current position, else that of a new request."""
        straight_on = self._body_position == self._position
        if self._body is not None and straight_on and self._position < self._body_end:
            return self._body
        self._drop_body()
        if not straight_on or self._position == 0:
            self._window_bytes = _FIRST_WINDOW_BYTES
        end = min(self._end, self._position + max(wanted, self._window_bytes))
        self._window_bytes *= _WINDOW_GROWTH
        response = client_for(self._source.endpoint_url).get_object(
            Bucket=self._bucket,
            Key=self._key,
            Range=f"bytes={self._position}-{end - 1}",
            IfMatch=f'"{self._source.version}"',
        )
        # Not every store that calls itself S3 honours both headers.
        found = response.get("ContentRange", "a whole object")
        expected = f"bytes {self._position}-{end - 1}/{self._source.size_bytes}"
        etag = response["ETag"].strip('"')
        if found != expected or etag != self._source.version:
            response["Body"].close()
            raise self._changed(
                f"expected {expected} of {self._source.version}, got {found} of {etag}"
            )
        self._body, self._body_position, self._body_end = response["Body"], self._position, end
        return self._body

    def _changed(self, what: str) -> SourceChanged:
        return SourceChanged(
            f"{self._source.uri}: changed after it was planned: {what}; "
            "run again when nothing writes to it"
        )

    def _drop_body(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a closed stream")


# --- listing and small objects --------------------------------------------------------------------


def list_objects(
    prefix_uri: str, endpoint_url: str | None, *, page_size: int = 1000
) -> Iterator[ObjectInfo]:
    """All objects whose URI starts with ``prefix_uri``, sorted by key as the store sorts.

    Raises:
        SourceError: the bucket is missing, or cannot be reached or listed.
    """
    bucket, prefix = split_uri(prefix_uri)
    with explained(prefix_uri):
        paginator = client_for(endpoint_url).get_paginator("list_objects_v2")
        for page in paginator.paginate(
            Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": page_size}
        ):
            for item in page.get("Contents", ()):
                yield ObjectInfo(
                    uri=f"s3://{bucket}/{item['Key']}",
                    size_bytes=item["Size"],
                    etag=item["ETag"].strip('"'),
                    modified=item["LastModified"],
                )


def read_object(uri: str, endpoint_url: str | None) -> bytes | None:
    """The content of a small object; None if there is none.

    Raises:
        SourceError: it cannot be reached, or its bucket does not exist.
    """
    found = read_object_with_etag(uri, endpoint_url)
    return None if found is None else found[0]


def read_object_with_etag(uri: str, endpoint_url: str | None) -> tuple[bytes, str] | None:
    """The content and ETag of a small object, of one version; None if there is none.

    Raises:
        SourceError: it cannot be reached, or its bucket does not exist.
    """
    from botocore.exceptions import ClientError

    bucket, key = split_uri(uri)
    with explained(uri):
        try:
            response = client_for(endpoint_url).get_object(Bucket=bucket, Key=key)
            with contextlib.closing(response["Body"]) as body:
                return body.read(), response["ETag"].strip('"')
        except ClientError as error:
            if error_code(error) in MISSING:
                return None
            raise


def write_object(
    uri: str,
    data: bytes,
    endpoint_url: str | None,
    *,
    if_none_match: bool = False,
    if_match: str | None = None,
) -> str:
    """Write a small object, and return its new ETag.

    Args:
        uri: where to.
        data: all of its content.
        endpoint_url: the S3 endpoint; None is boto3's own default.
        if_none_match: write only if there is no such object.
        if_match: write only if the object has this ETag.

    Raises:
        ObjectExists: the condition does not hold.
        SourceError: it cannot be reached, or its bucket does not exist.
    """
    from botocore.exceptions import ClientError

    bucket, key = split_uri(uri)
    request: PutObjectRequestTypeDef = {"Bucket": bucket, "Key": key, "Body": data}
    if if_none_match:
        request["IfNoneMatch"] = "*"
    if if_match is not None:
        request["IfMatch"] = f'"{if_match}"'
    with explained(uri):
        try:
            return client_for(endpoint_url).put_object(**request)["ETag"].strip('"')
        except ClientError as error:
            missing = if_match is not None and error_code(error) in MISSING
            if error_code(error) not in CONDITION_FAILED and not missing:
                raise
            # boto3 repeats a write whose reply was lost, and then meets its own object.
            if error.response["ResponseMetadata"].get("RetryAttempts"):
                found = read_object_with_etag(uri, endpoint_url)
                if found is not None and found[0] == data:
                    return found[1]
            expected = "none" if if_match is None else f"ETag {if_match}"
            raise ObjectExists(f"{uri}: expected {expected}, found another object") from error


def delete_object(uri: str, endpoint_url: str | None) -> None:
    """Delete an object; one that is not there is no error.

    Raises:
        SourceError: it cannot be reached, or its bucket does not exist.
    """
    bucket, key = split_uri(uri)
    with explained(uri):
        client_for(endpoint_url).delete_object(Bucket=bucket, Key=key)
