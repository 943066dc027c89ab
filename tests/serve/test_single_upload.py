from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ingest.serve import LocalFilesApi
from tests.serve.wire import Wire, jsonl, put, sha256

DATA = jsonl(100)
FIELDS = {"purpose": "fine-tune", "file_name": "a.jsonl", "file_type": "jsonl"}


@pytest.mark.parametrize("prefix", ["/v1", ""], ids=["with v1", "without v1"])
@pytest.mark.parametrize("checksum", [None, sha256(DATA)], ids=["no checksum", "checksum"])
@pytest.mark.parametrize("form", ["urlencoded", "multipart"])
def test_a_file_is_created_stored_and_preprocessed(
    files_api: LocalFilesApi, prefix: str, checksum: str | None, form: str
) -> None:
    wire = Wire(files_api, prefix)
    fields = FIELDS | ({"checksum": checksum} if checksum else {})
    body: dict[str, Any] = (
        {"data": fields}
        if form == "urlencoded"
        else {"files": {name: (None, value) for name, value in fields.items()}}
    )

    created = wire.call("POST", "/files", **body)
    stored = put(created.headers["Location"], DATA)
    finished = wire.preprocess(created.headers["X-Together-File-Id"])

    assert created.status_code == 302
    assert stored.status_code == 200
    assert finished.status_code == 200
    assert files_api.stored_bytes(finished.json()["id"]) == DATA


def test_an_id_is_file_dash_uuid(wire: Wire) -> None:
    file_id = wire.create().headers["X-Together-File-Id"]

    assert re.fullmatch(r"file-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", file_id)


def test_a_file_object_has_the_fields_of_every_client_generation(
    files_api: LocalFilesApi, wire: Wire
) -> None:
    file_id = wire.uploaded(DATA)
    files_api.wait_processed(file_id)

    body = wire.retrieve(file_id).json()

    assert body.pop("created_at") > 1_700_000_000
    assert body == {
        "id": file_id,
        "object": "file",
        "bytes": len(DATA),
        "filename": "a.jsonl",
        "purpose": "fine-tune",
        "FileType": "jsonl",
        "Processed": True,
        "LineCount": 100,
        "processing_status": "COMPLETED",
        "validation_report": {
            "file_id": file_id,
            "valid": True,
            "nlines": 100,
            "dataset_format": "GENERAL",
        },
    }


def test_a_file_is_invisible_until_it_is_preprocessed(wire: Wire) -> None:
    created = wire.create()
    file_id = created.headers["X-Together-File-Id"]
    put(created.headers["Location"], DATA)

    assert wire.retrieve(file_id).status_code == 404
    assert wire.call("GET", f"/files/{file_id}/content").status_code == 404
    assert wire.call("DELETE", f"/files/{file_id}").status_code == 404
    assert wire.call("GET", "/files").json()["data"] == []

    wire.preprocess(file_id)

    assert wire.retrieve(file_id).status_code == 200
    assert [file["id"] for file in wire.call("GET", "/files").json()["data"]] == [file_id]


def test_preprocess_before_the_bytes_came_is_refused_and_can_be_repeated_after(wire: Wire) -> None:
    created = wire.create()
    file_id = created.headers["X-Together-File-Id"]

    early = wire.preprocess(file_id)
    put(created.headers["Location"], DATA)
    in_time = wire.preprocess(file_id)
    repeated = wire.preprocess(file_id)

    assert (early.status_code, early.json()["error"]["code"]) == (400, "no_content")
    assert in_time.status_code == repeated.status_code == 200
    assert in_time.json()["id"] == repeated.json()["id"] == file_id


def test_an_unfinished_file_can_be_put_again_and_a_finished_one_cannot(
    files_api: LocalFilesApi, wire: Wire
) -> None:
    created = wire.create()
    url, file_id = created.headers["Location"], created.headers["X-Together-File-Id"]
    put(url, b"first try")
    assert put(url, DATA).status_code == 200
    wire.preprocess(file_id)

    late = put(url, b"too late")

    assert late.status_code == 403
    assert files_api.stored_bytes(file_id) == DATA


def test_a_checksum_of_a_finished_file_is_answered_with_its_id_whatever_the_purpose(
    wire: Wire,
) -> None:
    file_id = wire.uploaded(DATA, checksum=sha256(DATA))

    same = wire.create("b.jsonl", checksum=sha256(DATA))
    other_purpose = wire.create("b.jsonl", purpose="eval", checksum=sha256(DATA))
    multipart = wire.initiate(len(DATA), 1, checksum=sha256(DATA))

    for reply in (same, other_purpose, multipart):
        assert (reply.status_code, reply.json()["file_id"]) == (409, file_id)


def test_a_checksum_is_free_again_until_its_file_is_finished_and_after_it_is_deleted(
    wire: Wire,
) -> None:
    assert wire.create(checksum=sha256(DATA)).status_code == 302
    assert wire.create(checksum=sha256(DATA)).status_code == 302
    file_id = wire.uploaded(DATA, checksum=sha256(DATA))
    assert wire.create(checksum=sha256(DATA)).status_code == 409

    deleted = wire.call("DELETE", f"/files/{file_id}")

    assert deleted.json() == {"id": file_id, "object": "file", "deleted": True}
    assert wire.create(checksum=sha256(DATA)).status_code == 302
    assert wire.retrieve(file_id).status_code == 404


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"purpose": "eval-output"}, "purpose"),
        ({"file_type": "json"}, "file_type"),
        ({"file_name": ""}, "file_name"),
        ({"checksum": "A" * 64}, "checksum"),
        ({"checksum": "a" * 63}, "checksum"),
    ],
    ids=["purpose", "file type", "file name", "upper case", "short checksum"],
)
def test_a_wrong_field_is_named(wire: Wire, fields: dict[str, str], param: str) -> None:
    reply = wire.call("POST", "/files", data=FIELDS | fields)

    assert reply.status_code == 422
    assert reply.json()["error"]["param"] == param
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("key", [None, "Bearer wrong", "test-key", "Bearer "])
def test_every_call_of_the_api_needs_the_key(files_api: LocalFilesApi, key: str | None) -> None:
    wire = Wire(files_api)
    headers = {"Authorization": key}
    calls = [
        ("POST", "/files"),
        ("GET", "/files"),
        ("GET", "/files/file-1"),
        ("GET", "/files/file-1/content"),
        ("DELETE", "/files/file-1"),
        ("POST", "/files/file-1/preprocess"),
        ("POST", "/files/multipart/initiate"),
        ("POST", "/files/multipart/complete"),
        ("POST", "/files/multipart/abort"),
    ]

    for method, path in calls:
        reply = wire.call(method, path, headers=headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
    control = Wire(files_api, "").call("GET", "/_local/requests", headers=headers)
    assert control.status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/files/file-unknown", 404),
        ("DELETE", "/files/file-unknown", 404),
        ("POST", "/files/file-unknown/preprocess", 404),
        ("GET", "/models", 404),
        ("PATCH", "/files", 405),
    ],
)
def test_what_is_not_there_is_a_json_error(wire: Wire, method: str, path: str, status: int) -> None:
    reply = wire.call(method, path)

    assert reply.status_code == status
    assert reply.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(wire: Wire, body: bytes) -> None:
    reply = wire.call("POST", "/files/multipart/initiate", data=body)

    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "bad_json")


def test_an_api_body_of_over_a_megabyte_is_refused(wire: Wire) -> None:
    assert wire.create("x" * (2 * 2**20)).status_code == 413


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=5-9", slice(5, 10)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=0-999999", slice(0, None)),
    ],
)
def test_content_can_be_read_by_range(wire: Wire, asked: str, expected: slice) -> None:
    file_id = wire.uploaded(DATA)

    reply = wire.call("GET", f"/files/{file_id}/content", headers={"Range": asked})

    start, end, _ = expected.indices(len(DATA))
    assert reply.status_code == 206
    assert reply.content == DATA[expected]
    assert reply.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(DATA)}"


def test_content_without_a_range_is_whole_and_past_the_end_is_416(wire: Wire) -> None:
    file_id = wire.uploaded(DATA)

    whole = wire.call("GET", f"/files/{file_id}/content")
    past = wire.call("GET", f"/files/{file_id}/content", headers={"Range": f"bytes={len(DATA)}-"})

    assert (whole.status_code, whole.content) == (200, DATA)
    assert past.status_code == 416


def test_a_file_of_many_megabytes_comes_back_as_it_went(
    files_api: LocalFilesApi, wire: Wire, tmp_path: Path
) -> None:
    data = jsonl(200_000, text="x" * 30)
    path = tmp_path / "large.jsonl"
    path.write_bytes(data)
    created = wire.create()
    with path.open("rb") as stream:
        etag = put(created.headers["Location"], stream).headers["ETag"]
    file_id = created.headers["X-Together-File-Id"]
    wire.preprocess(file_id)

    assert re.fullmatch(r'"[0-9a-f]{32}"', etag)
    assert wire.call("GET", f"/files/{file_id}/content").content == data
    assert files_api.wait_processed(file_id)["LineCount"] == 200_000
