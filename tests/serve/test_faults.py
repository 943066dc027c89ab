from __future__ import annotations

import hashlib
import socket
import time
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest
import requests

from ingest.serve import Fault, LocalFilesApi
from ingest.serve.calls import Where
from ingest.serve.faults import What
from ingest.serve.strikes import ACTIONS
from tests.fixtures.files_api import MIN_PART_SIZE_BYTES
from tests.serve.wire import Wire, jsonl, put

DATA = jsonl(100)
LARGE = b"x" * (8 * 2**20)  # more than socket buffers hold
CUT = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)


@pytest.fixture
def url(wire: Wire) -> str:
    return wire.create().headers["Location"]


def test_every_fault_has_an_action() -> None:
    assert set(ACTIONS) == set(get_args(What)) - {"latency"}


@pytest.mark.parametrize("where", get_args(Where))
def test_a_status_can_strike_every_call(files_api: LocalFilesApi, wire: Wire, where: Where) -> None:
    file_id = wire.uploaded(DATA)
    upload, etags = wire.initiated([DATA])
    location = wire.create().headers["Location"]
    ids = {"upload_id": upload["upload_id"], "file_id": upload["file_id"]}
    calls: dict[Where, Any] = {
        "create": wire.create,
        "put": lambda: put(location, DATA),
        "put-part": lambda: put(upload["parts"][0]["URL"], DATA),
        "preprocess": lambda: wire.preprocess(file_id),
        "initiate": lambda: wire.initiate(1, 1),
        "complete": lambda: wire.complete(upload, etags),
        "abort": lambda: wire.call("POST", "/files/multipart/abort", json=ids),
        "list": lambda: wire.call("GET", "/files"),
        "retrieve": lambda: wire.retrieve(file_id),
        "content": lambda: wire.call("GET", f"/files/{file_id}/content"),
        "delete": lambda: wire.call("DELETE", f"/files/{file_id}"),
    }
    files_api.script(Fault(where=where, what="status", status=503, retry_after="7"))
    files_api.clear_requests()

    struck, honest = calls[where](), calls[where]()

    assert (struck.status_code, struck.headers["Retry-After"]) == (503, "7")
    assert honest.status_code < 400
    log = files_api.requests()
    assert [(seen.where, seen.fault) for seen in log] == [(where, "status"), (where, None)]
    assert [seen.status for seen in log] == [503, honest.status_code]


def test_a_fault_is_for_its_part_and_its_file_skips_and_counts(
    files_api: LocalFilesApi, wire: Wire
) -> None:
    files_api.script(
        Fault(where="put-part", what="status", part=2, name="b.jsonl", after=1, times=2)
    )
    uploads = {name: wire.initiate(30, 3, file_name=name).json() for name in ("a.jsonl", "b.jsonl")}

    def statuses(name: str, part: int) -> list[int]:
        target = uploads[name]["parts"][part - 1]["URL"]
        return [put(target, b"0123456789").status_code for _ in range(4)]

    assert statuses("a.jsonl", 2) == [200, 200, 200, 200]
    assert statuses("b.jsonl", 1) == [200, 200, 200, 200]
    assert statuses("b.jsonl", 2) == [200, 500, 500, 200]


def test_a_fault_without_a_count_strikes_until_it_is_cleared(
    files_api: LocalFilesApi, wire: Wire
) -> None:
    files_api.script(Fault(where="any", what="status", times=None))
    assert {wire.call("GET", "/files").status_code for _ in range(5)} == {500}

    files_api.clear_faults()

    assert wire.call("GET", "/files").status_code == 200


def test_latency_comes_on_top_of_another_fault(files_api: LocalFilesApi, wire: Wire) -> None:
    files_api.script(
        Fault(where="any", what="latency", seconds=0.2, times=None),
        Fault(where="list", what="status", status=429),
    )
    began = time.monotonic()

    assert wire.call("GET", "/files").status_code == 429
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(
    ("at", "received"),
    [("first", 0), ("middle", len(LARGE) // 2), ("last", len(LARGE) - 1)],
)
def test_a_connection_can_be_reset_at_any_byte_of_a_body(
    files_api: LocalFilesApi, wire: Wire, at: Any, received: int
) -> None:
    created = wire.create()
    files_api.script(Fault(where="put", what="reset", at=at))

    with pytest.raises(CUT):
        put(created.headers["Location"], LARGE)

    (seen,) = files_api.requests("put")
    assert (seen.received_bytes, seen.status, seen.fault) == (received, None, "reset")
    assert wire.preprocess(created.headers["X-Together-File-Id"]).status_code == 400
    assert put(created.headers["Location"], LARGE).status_code == 200


@pytest.mark.parametrize("at", ["first", "middle", "last"])
def test_a_body_can_stall_until_the_script_is_cleared(
    files_api: LocalFilesApi, url: str, at: Any
) -> None:
    files_api.script(Fault(where="put", what="stall", at=at))

    with pytest.raises(requests.Timeout):
        requests.put(url, data=DATA, timeout=0.3)

    files_api.clear_faults()
    assert put(url, DATA).status_code == 200


def test_a_stall_can_end_by_itself(files_api: LocalFilesApi, wire: Wire) -> None:
    files_api.script(Fault(where="create", what="stall", seconds=0.1))

    with pytest.raises(CUT):
        wire.create()


def test_a_body_can_be_taken_slowly(files_api: LocalFilesApi, url: str) -> None:
    files_api.script(Fault(where="put", what="trickle", bytes_per_s=10 * len(DATA)))
    began = time.monotonic()

    assert put(url, DATA).status_code == 200
    assert time.monotonic() - began >= 0.1


@pytest.mark.parametrize("what", ["lost_reply", "reset_reply", "truncated_reply"])
def test_a_reply_is_lost_after_the_work_was_done(
    files_api: LocalFilesApi, wire: Wire, what: Any
) -> None:
    upload, etags = wire.initiated([DATA])
    files_api.script(Fault(where="complete", what=what))

    with pytest.raises(CUT):
        assert wire.complete(upload, etags).json()["id"] == "cut short"

    assert files_api.stored_bytes(upload["file_id"]) == DATA
    assert wire.complete(upload, etags).status_code == 404


def test_a_reply_can_stall_after_the_work_was_done(files_api: LocalFilesApi, wire: Wire) -> None:
    upload, etags = wire.initiated([DATA])
    files_api.script(Fault(where="complete", what="stall_reply"))
    body = {
        "upload_id": upload["upload_id"],
        "file_id": upload["file_id"],
        "parts": [{"part_number": 1, "etag": etags[0]}],
    }
    headers = {"Authorization": "Bearer test-key"}

    target = f"{files_api.base_url}/files/multipart/complete"

    with pytest.raises(requests.Timeout):
        requests.post(target, json=body, headers=headers, timeout=0.3)

    assert wire.retrieve(upload["file_id"]).status_code == 200


def test_a_server_error_can_follow_the_work(files_api: LocalFilesApi, wire: Wire) -> None:
    upload, etags = wire.initiated([DATA])
    files_api.script(Fault(where="complete", what="status_after_work", status=502))

    assert wire.complete(upload, etags).status_code == 502
    assert wire.retrieve(upload["file_id"]).status_code == 200


def test_a_reply_can_come_slowly_and_is_whole(files_api: LocalFilesApi, wire: Wire) -> None:
    file_id = wire.uploaded(DATA)
    files_api.script(
        Fault(where="retrieve", what="trickle_reply", bytes_per_s=4000),
        Fault(where="content", what="trickle_reply", bytes_per_s=10 * len(DATA)),
    )
    began = time.monotonic()

    assert wire.retrieve(file_id).json()["id"] == file_id
    assert wire.call("GET", f"/files/{file_id}/content").content == DATA
    assert time.monotonic() - began >= 0.1


@pytest.mark.parametrize("what", ["truncated_reply", "reset_reply"])
def test_content_can_end_half_way(files_api: LocalFilesApi, wire: Wire, what: Any) -> None:
    file_id = wire.uploaded(DATA)
    files_api.script(Fault(where="content", what=what))

    with pytest.raises(CUT):
        wire.call("GET", f"/files/{file_id}/content")


def test_storage_can_redirect_to_the_same_place_or_another(
    files_api: LocalFilesApi, url: str
) -> None:
    files_api.script(
        Fault(where="put", what="redirect"),
        Fault(where="put", what="redirect", status=303, location="http://192.0.2.1/x"),
    )

    same, other = put(url, DATA), put(url, DATA)

    assert same.status_code == 307
    assert put(files_api.origin + same.headers["Location"], DATA).status_code == 200
    assert (other.status_code, other.headers["Location"]) == (303, "http://192.0.2.1/x")


def test_a_url_can_be_called_expired(files_api: LocalFilesApi, url: str) -> None:
    files_api.script(Fault(where="put", what="expired"))

    reply = put(url, DATA)

    assert reply.status_code == 403
    assert "<Message>Request has expired</Message>" in reply.text


def test_an_etag_can_be_missing_wrong_or_any(files_api: LocalFilesApi, url: str) -> None:
    files_api.script(
        Fault(where="put", what="no_etag"),
        Fault(where="put", what="wrong_etag"),
        Fault(where="put", what="reply_headers", headers={"ETag": '"kms"', "x-amz-id": "1"}),
    )

    missing, wrong, other = (put(url, DATA) for _ in range(3))

    assert "ETag" not in missing.headers
    assert wrong.headers["ETag"] == f'"{"0" * 32}"'
    assert (other.headers["ETag"], other.headers["x-amz-id"]) == ('"kms"', "1")


def test_a_reply_can_be_no_json(files_api: LocalFilesApi, wire: Wire) -> None:
    files_api.script(Fault(where="initiate", what="not_json"))

    reply = wire.initiate(10, 1)

    assert reply.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        reply.json()


def test_an_id_can_have_another_shape(files_api: LocalFilesApi, wire: Wire) -> None:
    file_id = wire.uploaded(DATA)
    files_api.script(
        *(
            Fault(where=where, what="other_id", value="9~x")
            for where in ("create", "initiate", "retrieve")
        )
    )

    assert wire.create().headers["X-Together-File-Id"] == "9~x"
    assert wire.initiate(10, 1).json()["file_id"] == "9~x"
    assert wire.retrieve(file_id).json()["id"] == "9~x"


@pytest.mark.parametrize(
    ("what", "numbers"),
    [
        ("few_parts", [1, 2]),
        ("many_parts", [1, 2, 3, 4]),
        ("duplicate_parts", [1, 2, 1]),
    ],
)
def test_the_list_of_parts_can_be_wrong(
    files_api: LocalFilesApi, wire: Wire, what: Any, numbers: list[int]
) -> None:
    files_api.script(Fault(where="initiate", what=what))

    parts = wire.initiate(3 * MIN_PART_SIZE_BYTES, 3).json()["parts"]

    assert [part["PartNumber"] for part in parts] == numbers


def test_storage_urls_can_lead_to_where_nobody_listens(
    files_api: LocalFilesApi, wire: Wire
) -> None:
    files_api.script(Fault(where="any", what="dead_urls", times=2))
    urls = [wire.create().headers["Location"], wire.initiate(10, 1).json()["parts"][0]["URL"]]

    for target in urls:
        with pytest.raises(requests.ConnectionError, match="refused"):
            put(target, DATA)


def test_connections_can_be_refused_for_a_while(files_api: LocalFilesApi, wire: Wire) -> None:
    address = urlsplit(files_api.origin)
    files_api.script(Fault(where="list", what="refuse", seconds=0.5))
    with pytest.raises(CUT):
        wire.call("GET", "/files")

    refused = 0
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection((address.hostname or "", address.port or 0), 1).close()
            break
        except ConnectionRefusedError:
            refused += 1
            time.sleep(0.02)

    assert refused
    assert wire.call("GET", "/files").status_code == 200


def test_connections_can_be_refused_from_the_next_one_on(
    files_api: LocalFilesApi, wire: Wire
) -> None:
    files_api.script(Fault(where="list", what="refuse_next"))

    with requests.Session() as session:
        headers = {"Authorization": f"Bearer {files_api.api_key}"}
        reply = session.get(f"{files_api.base_url}/files", headers=headers, timeout=10)
        assert reply.json()["data"] == []
        with pytest.raises(requests.ConnectionError, match="refused"):
            session.get(f"{files_api.base_url}/files", headers=headers, timeout=10)

    files_api.clear_faults()
    assert wire.call("GET", "/files").status_code == 200


def test_a_reply_that_refuses_can_be_spoilt_too(files_api: LocalFilesApi, wire: Wire) -> None:
    files_api.script(Fault(where="retrieve", what="lost_reply"))

    with pytest.raises(CUT):
        wire.retrieve("file-1")
    assert wire.retrieve("file-1").status_code == 404


def test_a_redirect_can_lead_to_the_same_place_elsewhere(
    files_api: LocalFilesApi, wire: Wire, url: str
) -> None:
    files_api.script(Fault(where="put", what="redirect", location="http://other:80"))

    place = urlsplit(put(url, DATA).headers["Location"])

    assert place.netloc == "other:80"
    assert (place.path, place.query) == urlsplit(url)[2:4]


def test_a_download_can_stall_in_its_middle(files_api: LocalFilesApi, wire: Wire) -> None:
    file_id = wire.uploaded(DATA)
    files_api.script(Fault(where="content", what="stall_reply"))
    headers = {"Authorization": f"Bearer {files_api.api_key}"}
    address = f"{files_api.base_url}/files/{file_id}/content"

    with requests.get(address, headers=headers, stream=True, timeout=0.3) as reply:
        assert reply.raw.read(len(DATA) // 2) == DATA[: len(DATA) // 2]
        with pytest.raises(requests.ConnectionError, match="timed out"):
            next(reply.iter_content(1))


def test_a_store_can_give_etags_that_are_no_md5s_and_mean_them(
    files_api: LocalFilesApi, wire: Wire
) -> None:
    files_api.script(Fault(where="put-part", what="opaque_etag"))

    upload, etags = wire.initiated([DATA])

    assert etags[0] != hashlib.md5(DATA).hexdigest()
    assert wire.complete(upload, etags).status_code == 200


def test_open_uploads_are_told_without_a_request(files_api: LocalFilesApi, wire: Wire) -> None:
    upload, etags = wire.initiated([DATA])
    assert files_api.open_uploads() == [upload["file_id"]]

    wire.complete(upload, etags)

    assert files_api.open_uploads() == []


def test_a_fault_that_makes_no_sense_is_refused(files_api: LocalFilesApi, wire: Wire) -> None:
    reply = Wire(files_api, "").call("POST", "/_local/faults", json=[{"where": "moon"}])

    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "invalid_fault")


def test_the_log_tells_what_was_sent_and_nothing_secret(
    files_api: LocalFilesApi, wire: Wire
) -> None:
    upload, etags = wire.initiated([DATA])
    wire.complete(upload, etags)

    log = files_api.requests()
    raw = Wire(files_api, "").call("GET", "/_local/requests").text

    assert [(seen.where, seen.part, seen.name, seen.received_bytes > 0) for seen in log] == [
        ("initiate", None, "a.jsonl", True),
        ("put-part", 1, "a.jsonl", True),
        ("complete", None, "a.jsonl", True),
    ]
    assert files_api.requests("put-part")[0].received_bytes == len(DATA)
    assert "Signature" not in raw
    assert "test-key" not in raw
    files_api.clear_requests()
    assert files_api.requests() == []
