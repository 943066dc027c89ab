"""Storage in an S3 bucket: clients PUT straight to it, by true presigned URLs.

The server only signs, asks what has arrived, and has parts joined; boto3 blocks, so each of these
runs in a thread. It has a client of its own, since these calls want another configuration than
reading a dataset does: signatures of version 4 (whose URLs tell their expiry), and patience while
S3 joins the parts of a large file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ingest.serve.records import StoredPart
from ingest.serve.storage import StorageRefusal

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

_JOIN_TIMEOUT_S = 600.0
_READ_BYTES = 2**20
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})


class S3Storage:
    """See `ingest.serve.storage.Storage`.

    Args:
        location: ``s3://bucket`` or ``s3://bucket/prefix``.
        endpoint_url: the S3 server; None is AWS.
        url_expiry_s: lifetime of presigned URLs.
    """

    def __init__(self, location: str, endpoint_url: str | None, url_expiry_s: int) -> None:
        parts = urlsplit(location)
        self._bucket = parts.netloc
        self._prefix = f"{prefix}/" if (prefix := parts.path.strip("/")) else ""
        self._expiry_s = url_expiry_s
        self._client = _client(endpoint_url)
        self._endpoint_url = endpoint_url

    @property
    def endpoint_url(self) -> str | None:
        """The S3 endpoint that belongs to `uri`."""
        return self._endpoint_url

    async def single_url(self, origin: str, key: str) -> str:
        """A presigned URL that takes the whole object in one PUT."""
        return await asyncio.to_thread(
            self._client.generate_presigned_url,
            "put_object",
            Params={"Bucket": self._bucket, "Key": self._key(key)},
            ExpiresIn=self._expiry_s,
        )

    async def begin_upload(self, key: str) -> str:
        """Open a multipart upload; its id."""
        reply = await asyncio.to_thread(
            self._client.create_multipart_upload, Bucket=self._bucket, Key=self._key(key)
        )
        return reply["UploadId"]

    async def part_urls(self, origin: str, key: str, upload_id: str, num_parts: int) -> list[str]:
        """A presigned URL for each part, from part 1 on."""
        return await asyncio.to_thread(self._sign_parts, key, upload_id, num_parts)

    async def stored_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:
        """The parts of an open upload that have arrived whole."""
        return await asyncio.to_thread(self._list_parts, key, upload_id)

    async def join_parts(self, key: str, upload_id: str, parts: Sequence[StoredPart]) -> None:
        """Make the parts, in this order, one object. Can be called again if it was cut short."""
        await asyncio.to_thread(self._join, key, upload_id, parts)

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Drop an open upload and its parts; nothing happens if there is none."""
        await asyncio.to_thread(self._abort, key, upload_id)

    async def size_bytes(self, key: str) -> int | None:
        """The length of an object; None if there is none."""
        return await asyncio.to_thread(self._size_bytes, key)

    async def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes ``[start, end)`` of an object, in pieces."""
        if start >= end:
            return
        reply = await asyncio.to_thread(
            self._client.get_object,
            Bucket=self._bucket,
            Key=self._key(key),
            Range=f"bytes={start}-{end - 1}",
        )
        body = reply["Body"]
        try:
            while piece := await asyncio.to_thread(body.read, _READ_BYTES):
                yield piece
        finally:
            body.close()

    async def delete(self, key: str) -> None:
        """Drop an object; nothing happens if there is none."""
        await asyncio.to_thread(self._client.delete_object, Bucket=self._bucket, Key=self._key(key))

    def uri(self, key: str) -> str:
        """The object's ``s3://`` URI."""
        return f"s3://{self._bucket}/{self._key(key)}"

    async def close(self) -> None:
        """Close the connections to S3."""
        await asyncio.to_thread(self._client.close)

    def _key(self, key: str) -> str:
        return self._prefix + key

    def _sign_parts(self, key: str, upload_id: str, num_parts: int) -> list[str]:
        return [
            self._client.generate_presigned_url(
                "upload_part",
                Params={
                    "Bucket": self._bucket,
                    "Key": self._key(key),
                    "UploadId": upload_id,
                    "PartNumber": number,
                },
                ExpiresIn=self._expiry_s,
            )
            for number in range(1, num_parts + 1)
        ]

    def _list_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:
        pages = self._client.get_paginator("list_parts").paginate(
            Bucket=self._bucket, Key=self._key(key), UploadId=upload_id
        )
        return {
            part["PartNumber"]: StoredPart(
                number=part["PartNumber"], etag=part["ETag"].strip('"'), size_bytes=part["Size"]
            )
            for page in pages
            for part in page.get("Parts", [])
        }

    def _join(self, key: str, upload_id: str, parts: Sequence[StoredPart]) -> None:
        from botocore.exceptions import ClientError

        listed: list[CompletedPartTypeDef] = [
            {"PartNumber": part.number, "ETag": f'"{part.etag}"'} for part in parts
        ]
        try:
            self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._key(key),
                UploadId=upload_id,
                MultipartUpload={"Parts": listed},
            )
        except ClientError as error:
            # An earlier call may have done it without its reply getting through.
            if self._size_bytes(key) == sum(part.size_bytes for part in parts):
                return
            told = error.response["Error"]
            raise StorageRefusal(400, told["Code"], told["Message"]) from error

    def _abort(self, key: str, upload_id: str) -> None:
        from botocore.exceptions import ClientError

        try:
            self._client.abort_multipart_upload(
                Bucket=self._bucket, Key=self._key(key), UploadId=upload_id
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"NoSuchUpload", *_MISSING}:
                raise

    def _size_bytes(self, key: str) -> int | None:
        from botocore.exceptions import ClientError

        try:
            head = self._client.head_object(Bucket=self._bucket, Key=self._key(key))
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return None
            raise
        return head["ContentLength"]


def _client(endpoint_url: str | None) -> S3Client:
    import boto3
    from botocore.config import Config

    config = Config(
        signature_version="s3v4",
        read_timeout=_JOIN_TIMEOUT_S,
        s3={"addressing_style": "path"} if endpoint_url else None,
    )
    return boto3.Session().client("s3", endpoint_url=endpoint_url, config=config)
