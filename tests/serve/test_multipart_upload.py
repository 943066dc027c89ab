from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ingest.serve import LocalFilesApi
from tests.fixtures.files_api import MIN_PART_SIZE_BYTES
from tests.serve.wire import Wire, jsonl, put, sha256

SMALLEST = MIN_PART_SIZE_BYTES
LINE = b'{"text": "exactly 32 bytes, yes"}\n'
PARTS = [LINE * (SMALLEST // len(LINE) + 1) for _ in range(3)]


@pytest.mark.parametrize(
    "sizes",
    [[1], [SMALLEST], [SMALLEST, 1], [SMALLEST, SMALLEST], [SMALLEST + 1, SMALLEST, 17]],
    ids=["one byte", "one part", "tiny last part", "two alike", "three unlike"],
)
def test_parts_become_one_file(files_api: LocalFilesApi, wire: Wire, sizes: list[int]) -> None:
    parts = [bytes([65 + n]) * size for n, size in enumerate(sizes)]
    upload, etags = wire.initiated(parts)

    reply = wire.complete(upload, etags)

    assert reply.status_code == 200, reply.text
    assert reply.json()["id"] == upload["file_id"]
    assert reply.json()["bytes"] == sum(sizes)
    assert files_api.stored_bytes(upload["file_id"]) == b"".join(parts)


def test_parts_may_come_in_any_order_and_again(files_api: LocalFilesApi, wire: Wire) -> None:
    upload = wire.initiate(sum(map(len, PARTS)), 3).json()
    urls = [target["URL"] for target in upload["parts"]]
    for number in (2, 0, 1):
        put(urls[number], b"an earlier version" * 5000)
    for number in (1, 2, 0):
        put(urls[number], PARTS[number])

    etags = [hashlib.md5(part).hexdigest() for part in PARTS]

    assert wire.complete(upload, etags).status_code == 200
    assert files_api.stored_bytes(upload["file_id"]) == b"".join(PARTS)


def test_initiate_names_every_part_once(wire: Wire) -> None:
    upload = wire.initiate(250 * SMALLEST, 250).json()

    assert [target["PartNumber"] for target in upload["parts"]] == list(range(1, 251))
    assert len({target["URL"] for target in upload["parts"]}) == 250


@pytest.mark.parametrize("num_parts", [-1, 0, 251])
def test_a_number_of_parts_out_of_range_is_refused(wire: Wire, num_parts: int) -> None:
    reply = wire.initiate(10**9, num_parts)

    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "num_parts")


def test_an_empty_file_cannot_be_initiated(wire: Wire) -> None:
    assert wire.initiate(0, 1).status_code == 422


def test_an_open_upload_is_invisible_and_cannot_be_preprocessed(wire: Wire) -> None:
    upload, _ = wire.initiated(PARTS)

    assert wire.retrieve(upload["file_id"]).status_code == 404
    assert wire.preprocess(upload["file_id"]).status_code == 400


def _etags_swapped(etags: list[str]) -> list[str]:
    return [etags[0], "0" * 32, etags[2]]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda etags: etags[:2], "InvalidPartOrder"),
        (lambda etags: [*etags, etags[0]], "InvalidPartOrder"),
        (lambda etags: [], "InvalidPartOrder"),
        (_etags_swapped, "InvalidPart"),
    ],
    ids=["too few", "too many", "none", "wrong ETag"],
)
def test_a_list_that_is_not_what_was_stored_is_refused_and_can_be_corrected(
    wire: Wire, change: Any, code: str
) -> None:
    parts = [part + bytes([65 + n]) for n, part in enumerate(PARTS)]
    upload, etags = wire.initiated(parts)

    wrong = wire.complete(upload, change(etags))
    right = wire.complete(upload, etags)

    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, code)
    assert right.status_code == 200


def test_parts_out_of_order_are_refused(wire: Wire) -> None:
    upload, etags = wire.initiated(PARTS)
    listed = [{"part_number": n, "etag": etags[n - 1]} for n in (2, 1, 3)]
    body = {"upload_id": upload["upload_id"], "file_id": upload["file_id"], "parts": listed}

    reply = wire.call("POST", "/files/multipart/complete", json=body)

    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "InvalidPartOrder")


@pytest.mark.parametrize(
    ("sizes", "status"),
    [([SMALLEST, 1], 200), ([SMALLEST - 1, SMALLEST], 400)],
    ids=["at the limit", "one byte less"],
)
def test_every_part_but_the_last_has_the_smallest_size(
    wire: Wire, sizes: list[int], status: int
) -> None:
    upload, etags = wire.initiated([b"x" * size for size in sizes])

    reply = wire.complete(upload, etags)

    assert reply.status_code == status
    assert status == 200 or reply.json()["error"]["code"] == "EntityTooSmall"


@pytest.mark.parametrize("difference", [-1, 1])
def test_the_parts_must_add_up_to_the_announced_size(wire: Wire, difference: int) -> None:
    upload = wire.initiate(len(PARTS[0]) + difference, 1).json()
    etag = put(upload["parts"][0]["URL"], PARTS[0]).headers["ETag"]

    reply = wire.complete(upload, [etag])

    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "SizeMismatch")


def test_a_missing_part_is_named(wire: Wire) -> None:
    upload = wire.initiate(2 * SMALLEST, 2).json()
    etag = put(upload["parts"][0]["URL"], PARTS[0]).headers["ETag"]

    reply = wire.complete(upload, [etag, etag])

    assert reply.status_code == 400
    assert "part 2" in reply.json()["error"]["message"]


def test_a_completed_upload_is_unknown_but_its_file_is_there(wire: Wire) -> None:
    upload, etags = wire.initiated(PARTS)
    wire.complete(upload, etags)

    again = wire.complete(upload, etags)
    late_part = put(upload["parts"][0]["URL"], PARTS[0])

    assert (again.status_code, again.json()["error"]["code"]) == (404, "upload_not_found")
    assert late_part.status_code == 404
    assert "NoSuchUpload" in late_part.text
    assert wire.retrieve(upload["file_id"]).status_code == 200


def test_an_aborted_upload_is_gone_with_its_parts(files_api: LocalFilesApi, wire: Wire) -> None:
    upload, etags = wire.initiated(PARTS)
    ids = {"upload_id": upload["upload_id"], "file_id": upload["file_id"]}

    aborted = wire.call("POST", "/files/multipart/abort", json=ids)

    assert aborted.status_code == 200
    assert wire.call("POST", "/files/multipart/abort", json=ids).status_code == 404
    assert wire.complete(upload, etags).status_code == 404
    assert put(upload["parts"][0]["URL"], PARTS[0]).status_code == 404
    assert files_api.data_dir is not None
    assert list((files_api.data_dir / "uploads").iterdir()) == []


def test_an_upload_belongs_to_its_file(wire: Wire) -> None:
    upload, etags = wire.initiated(PARTS)

    reply = wire.complete(upload | {"file_id": "file-other"}, etags)

    assert reply.status_code == 404


def test_nothing_but_the_file_is_left_after_complete(files_api: LocalFilesApi, wire: Wire) -> None:
    upload, etags = wire.initiated(PARTS)
    wire.complete(upload, etags)

    assert files_api.data_dir is not None
    left = {
        path.name: list(path.iterdir()) for path in files_api.data_dir.iterdir() if path.is_dir()
    }

    assert left["uploads"] == left["incoming"] == []
    assert [path.name for path in left["content"]] == [upload["file_id"]]


def test_a_multipart_file_is_known_by_its_checksum(wire: Wire) -> None:
    checksum = sha256(b"".join(PARTS))
    upload, etags = wire.initiated(PARTS, checksum=checksum)
    assert wire.create(checksum=checksum).status_code == 302
    wire.complete(upload, etags)

    assert wire.create(checksum=checksum).json()["file_id"] == upload["file_id"]


def test_a_part_number_of_zero_is_refused_by_storage(files_api: LocalFilesApi, wire: Wire) -> None:
    upload = wire.initiate(len(jsonl(1)), 1).json()
    signer = files_api._server._storage.signer  # type: ignore[attr-defined]
    query = {"partNumber": "0", "uploadId": upload["upload_id"]}

    reply = put(files_api.origin + signer.sign("PUT", f"/storage/{upload['file_id']}", query), b"x")

    assert (reply.status_code, "InvalidArgument" in reply.text) == (400, True)


def test_of_two_completes_at_once_one_succeeds(files_api: LocalFilesApi, wire: Wire) -> None:
    upload, etags = wire.initiated(PARTS)

    with ThreadPoolExecutor() as threads:
        replies = list(threads.map(lambda _: wire.complete(upload, etags), range(2)))

    statuses = sorted(reply.status_code for reply in replies)
    assert statuses in ([200, 404], [200, 409])
    assert all("file_id" not in reply.json() for reply in replies if reply.status_code == 409)
    assert files_api.stored_bytes(upload["file_id"]) == b"".join(PARTS)
