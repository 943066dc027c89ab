"""The Files API over a real S3 server: the client's bytes go there, by presigned URLs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from ingest.serve import LocalFilesApi
from tests.fixtures.s3 import S3Bucket
from tests.serve.wire import Wire, jsonl, put, sha256

DATA = jsonl(50)
SMALLEST = 5 * 2**20  # S3's own rule
PARTS = [b"\n" * (SMALLEST - 1) + b" ", b'{"text": "the end"}\n']


@pytest.fixture
def api(s3: S3Bucket, tmp_path: Path) -> Iterator[LocalFilesApi]:
    with LocalFilesApi(
        tmp_path,
        api_key="test-key",
        storage=f"s3://{s3.bucket}/some/prefix",
        s3_endpoint=s3.endpoint_url,
        url_expiry_s=600,
    ) as api:
        yield api


def test_a_single_file_goes_to_the_bucket(api: LocalFilesApi, s3: S3Bucket) -> None:
    wire = Wire(api)
    created = wire.create(checksum=sha256(DATA))
    url = urlsplit(created.headers["Location"])
    file_id = wire.uploaded(DATA, checksum=sha256(DATA))

    assert f"{url.scheme}://{url.netloc}" == s3.endpoint_url
    query = parse_qs(url.query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["600"]
    assert s3.get(f"some/prefix/{file_id}") == api.stored_bytes(file_id) == DATA
    assert api.wait_processed(file_id)["LineCount"] == 50
    assert wire.create(checksum=sha256(DATA)).json()["file_id"] == file_id


def test_a_file_can_be_read_by_range_and_deleted(api: LocalFilesApi, s3: S3Bucket) -> None:
    wire = Wire(api)
    file_id = wire.uploaded(DATA)

    part = wire.call("GET", f"/files/{file_id}/content", headers={"Range": "bytes=3-99"})
    whole = wire.call("GET", f"/files/{file_id}/content")
    wire.call("DELETE", f"/files/{file_id}")

    assert (part.status_code, part.content) == (206, DATA[3:100])
    assert (whole.status_code, whole.content) == (200, DATA)
    assert "Contents" not in s3.client.list_objects_v2(Bucket=s3.bucket)


def test_preprocess_before_the_bytes_came_is_refused(api: LocalFilesApi) -> None:
    wire = Wire(api)

    assert wire.preprocess(wire.create().headers["X-Together-File-Id"]).status_code == 400


def test_parts_go_to_the_bucket_and_are_joined_there(api: LocalFilesApi, s3: S3Bucket) -> None:
    wire = Wire(api)
    upload, etags = wire.initiated(PARTS)

    reply = wire.complete(upload, etags)

    assert reply.status_code == 200, reply.text
    assert s3.get(f"some/prefix/{upload['file_id']}") == b"".join(PARTS)
    assert wire.complete(upload, etags).status_code == 404
    assert api.requests("put-part") == []


@pytest.mark.parametrize(
    ("parts", "etags", "code"),
    [
        ([b"a" * (SMALLEST - 1), b"b"], None, "EntityTooSmall"),
        (PARTS, ["0" * 32, "0" * 32], "InvalidPart"),
    ],
    ids=["too small", "wrong ETags"],
)
def test_parts_are_checked_as_on_disk(
    api: LocalFilesApi, parts: list[bytes], etags: list[str] | None, code: str
) -> None:
    wire = Wire(api)
    upload, true_etags = wire.initiated(parts)

    reply = wire.complete(upload, etags or true_etags)

    assert (reply.status_code, reply.json()["error"]["code"]) == (400, code)


def test_an_aborted_upload_is_aborted_in_the_bucket(api: LocalFilesApi, s3: S3Bucket) -> None:
    wire = Wire(api)
    upload, _ = wire.initiated(PARTS)
    ids = {"upload_id": upload["upload_id"], "file_id": upload["file_id"]}

    assert wire.call("POST", "/files/multipart/abort", json=ids).status_code == 200
    assert "Uploads" not in s3.client.list_multipart_uploads(Bucket=s3.bucket)
    assert put(upload["parts"][0]["URL"], PARTS[0]).status_code == 404
    assert wire.call("POST", "/files/multipart/abort", json=ids).status_code == 404
