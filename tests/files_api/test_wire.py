from __future__ import annotations

import pickle
import traceback
from typing import Any

import pytest

from ingest.errors import Permanent
from ingest.files_api.wire import (
    RefusedTicket,
    parse_conflict,
    parse_file,
    parse_file_id,
    parse_file_list,
    parse_initiated,
)

SECRET = "https://store.example/1?X-Amz-Signature=5ec7e7"
FILE = {"id": "file-1", "bytes": 10, "purpose": "fine-tune", "filename": "a.jsonl"}
BAD_IDS = [
    "../file-1",
    "file-1/../../x",
    "/etc/passwd",
    "..",
    ".hidden",
    "-flag",
    "",
    " file-1",
    "file-1\n",
    "file 1",
    "file-1?x=1",
    "file-1#x",
    "file%2f1",
    "file\\1",
    "datei-ä",
    "x" * 257,
    None,
    7,
    ["file-1"],
]


def initiated(*numbers: Any, **fields: Any) -> dict[str, Any]:
    parts = [{"PartNumber": number, "URL": SECRET, "Headers": {}} for number in numbers]
    return {"upload_id": "u", "file_id": "file-1", "parts": parts, **fields}


@pytest.mark.parametrize("body", [FILE, {"file": FILE}, {**FILE, "object": "file", "new": 1}])
def test_a_file_object_is_read_bare_or_wrapped(body: Any) -> None:
    file = parse_file(body)

    assert (file.id, file.bytes, file.purpose) == ("file-1", 10, "fine-tune")


@pytest.mark.parametrize(
    ("fields", "state", "lines"),
    [
        pytest.param({}, "PENDING", None, id="nothing told"),
        pytest.param({"Processed": False, "LineCount": 0}, "PENDING", None, id="1.x before"),
        pytest.param({"Processed": True, "LineCount": 5}, "COMPLETED", 5, id="1.x after"),
        pytest.param({"processing_status": "RUNNING"}, "RUNNING", None, id="3.x before"),
        pytest.param(
            {"processing_status": "completed", "validation_report": {"valid": True, "nlines": 5}},
            "COMPLETED",
            5,
            id="3.x after",
        ),
        pytest.param(
            {"processing_status": "INVALID_FORMAT", "Processed": True},
            "INVALID_FORMAT",
            None,
            id="the newer field counts",
        ),
        pytest.param({"validation_report": None, "LineCount": 5}, "PENDING", 5, id="no report"),
    ],
)
def test_the_state_and_the_lines_of_every_generation_are_read(
    fields: dict[str, Any], state: str, lines: int | None
) -> None:
    file = parse_file({**FILE, **fields})

    assert (file.state, file.lines) == (state, lines)


def test_the_servers_verdict_is_kept_in_its_words() -> None:
    report = {"valid": False, "error": "line 3 is odd"}

    assert parse_file({**FILE, "validation_report": report}).error == "line 3 is odd"
    assert parse_file(FILE).error is None


@pytest.mark.parametrize("body", [None, [], "text", 7, {}, {"file": None}, {"file": {}}], ids=str)
def test_what_is_no_file_object_is_refused(body: Any) -> None:
    with pytest.raises(Permanent, match="file object is not one we know"):
        parse_file(body)


@pytest.mark.parametrize("file_id", BAD_IDS, ids=repr)
def test_an_id_that_could_escape_is_refused_wherever_it_comes(file_id: Any) -> None:
    with pytest.raises(Permanent):
        parse_file({**FILE, "id": file_id})
    with pytest.raises(Permanent):
        parse_file_list({"data": [{**FILE, "id": file_id}]})
    with pytest.raises(Permanent):
        parse_file_id(file_id)
    with pytest.raises(Permanent):
        parse_initiated(initiated(1, file_id=file_id), 1)
    assert parse_conflict({"file_id": file_id}) is None


@pytest.mark.parametrize("file_id", ["file-1", "0", "A.b_c-d", "file-..", "x" * 256])
def test_ids_of_every_shape_that_is_safe_are_accepted(file_id: str) -> None:
    assert parse_file_id(file_id) == file_id


def test_a_file_list_is_read() -> None:
    files = parse_file_list({"object": "list", "data": [FILE, {**FILE, "id": "file-2"}]})

    assert [file.id for file in files] == ["file-1", "file-2"]


@pytest.mark.parametrize("body", [None, {}, [], {"data": None}, {"data": [None]}], ids=str)
def test_what_is_no_file_list_is_refused(body: Any) -> None:
    with pytest.raises(Permanent, match="file list is not one we know"):
        parse_file_list(body)


def test_a_conflict_names_the_file_that_is_there() -> None:
    existing = parse_conflict({"error": {"message": "exists"}, "file_id": "file-1"})

    assert existing is not None
    assert existing.file_id == "file-1"


@pytest.mark.parametrize("body", [None, [], {}, {"error": {"message": "busy"}}], ids=str)
def test_a_conflict_without_a_file_is_none(body: Any) -> None:
    assert parse_conflict(body) is None


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(
            [
                {"PartNumber": 1, "URL": "https://s/1", "Headers": {"x-a": "b"}},
                {"PartNumber": 2, "URL": "https://s/2", "Headers": {}},
            ],
            id="1.x",
        ),
        pytest.param(
            [
                {"part_number": 1, "UploadURL": "https://s/1", "Headers": {"x-a": "b"}},
                {"part_number": 2, "UploadURL": "https://s/2"},
            ],
            id="the other names, and no headers",
        ),
        pytest.param(
            [
                {"PartNumber": 2, "URL": "https://s/2", "Headers": None},
                {"PartNumber": 1, "URL": "https://s/1", "Headers": {"x-a": "b"}},
            ],
            id="out of order",
        ),
    ],
)
def test_the_parts_of_an_upload_are_read_in_order(parts: list[dict[str, Any]]) -> None:
    ticket = parse_initiated({"upload_id": "u", "file_id": "file-1", "parts": parts}, 2)

    assert (ticket.upload_id, ticket.file_id) == ("u", "file-1")
    assert [(url.url, url.headers) for url in ticket.urls] == [
        ("https://s/1", {"x-a": "b"}),
        ("https://s/2", {}),
    ]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        pytest.param(initiated(1, 2), "got 2, numbered 1, 2", id="too few"),
        pytest.param(initiated(1, 2, 3, 4), "got 4, numbered 1, 2, 3, 4", id="too many"),
        pytest.param(initiated(1, 2, 2), "got 3, numbered 1, 2, 2", id="one number twice"),
        pytest.param(initiated(1, 2, 3, 3), "got 4", id="one more of the same"),
        pytest.param(initiated(0, 1, 2), "numbered 0, 1, 2", id="from 0"),
        pytest.param(initiated(1, 2, 4), "numbered 1, 2, 4", id="a gap"),
        pytest.param(initiated(), "got 0, numbered -", id="none"),
        pytest.param(initiated(*range(1, 251)), "1, 2, 3, 4, ..., 249, 250", id="250 of 3"),
        pytest.param(initiated(1, 2, "three"), "parts.2.PartNumber", id="a number is a word"),
        pytest.param(initiated(parts=None), "parts", id="no list"),
        pytest.param(
            initiated(parts=[{"PartNumber": 1, "Target": SECRET}]), "parts.0.URL", id="no URL"
        ),
    ],
)
def test_a_part_list_that_would_corrupt_the_file_is_refused_and_can_be_aborted(
    body: dict[str, Any], found: str
) -> None:
    with pytest.raises(RefusedTicket) as caught:
        parse_initiated(body, 3)

    assert found in str(caught.value)
    assert (caught.value.ticket.upload_id, caught.value.ticket.file_id) == ("u", "file-1")
    assert "5ec7e7" not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.ticket) == (str(caught.value), caught.value.ticket)


@pytest.mark.parametrize(
    "body",
    [None, [], {}, initiated(1, upload_id=""), initiated(1, upload_id=None), {"parts": [SECRET]}],
    ids=["nothing", "a list", "empty", "blank upload id", "no upload id", "no ids"],
)
def test_a_reply_to_initiate_without_ids_is_refused_without_quoting_it(body: Any) -> None:
    with pytest.raises(Permanent, match="reply to initiate is not one we know") as caught:
        parse_initiated(body, 1)

    assert not isinstance(caught.value, RefusedTicket)
    assert "5ec7e7" not in "".join(traceback.format_exception(caught.value))
