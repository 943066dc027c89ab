from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingest.errors import UsageError
from ingest.serve import LocalFilesApi
from ingest.serve.disk import DiskStorage
from ingest.serve.records import Catalog, OpenUpload, StoredPart
from tests.serve.wire import Wire, jsonl, put, sha256

DATA = jsonl(50)
SETTINGS = {"api_key": "test-key", "min_part_size_bytes": 10}


def test_files_their_states_and_checksums_survive(tmp_path: Path) -> None:
    with LocalFilesApi(tmp_path, **SETTINGS) as api:
        file_id = Wire(api).uploaded(DATA, checksum=sha256(DATA))
        before = api.wait_processed(file_id)

    with LocalFilesApi(tmp_path, **SETTINGS) as api:
        assert api.files() == [before]
        assert api.stored_bytes(file_id) == DATA
        assert Wire(api).create(checksum=sha256(DATA)).json()["file_id"] == file_id


def test_an_open_single_upload_goes_on_and_its_url_stays_good(tmp_path: Path) -> None:
    with LocalFilesApi(tmp_path, **SETTINGS) as api:
        created = Wire(api).create()
        port = int(api.origin.rpartition(":")[2])
    file_id = created.headers["X-Together-File-Id"]

    with LocalFilesApi(tmp_path, port=port, **SETTINGS) as api:
        assert put(created.headers["Location"], DATA).status_code == 200
        assert Wire(api).preprocess(file_id).status_code == 200


def test_an_open_multipart_upload_goes_on_with_the_parts_it_had(tmp_path: Path) -> None:
    half = len(DATA) // 2
    with LocalFilesApi(tmp_path, **SETTINGS) as api:
        upload = Wire(api).initiate(len(DATA), 2).json()
        first = put(upload["parts"][0]["URL"], DATA[:half]).headers["ETag"]
        port = int(api.origin.rpartition(":")[2])

    with LocalFilesApi(tmp_path, port=port, **SETTINGS) as api:
        second = put(upload["parts"][1]["URL"], DATA[half:]).headers["ETag"]
        assert Wire(api).complete(upload, [first, second]).status_code == 200
        assert api.stored_bytes(upload["file_id"]) == DATA


def test_a_join_that_had_begun_is_finished_at_the_next_start(tmp_path: Path) -> None:
    half = len(DATA) // 2
    with LocalFilesApi(tmp_path, **SETTINGS) as api:
        upload, etags = Wire(api).initiated([DATA[:half], DATA[half:]])
    catalog = Catalog(tmp_path / "files")
    record = catalog.get(upload["file_id"])
    assert record is not None
    assert isinstance(record.upload, OpenUpload)
    sizes = (half, len(DATA) - half)
    begun = tuple(
        StoredPart(number=number, etag=etag, size_bytes=size)
        for number, (etag, size) in enumerate(zip(etags, sizes, strict=True), start=1)
    )
    joining = record.upload.model_copy(update={"joining": begun})
    catalog.save(record.model_copy(update={"upload": joining}))

    with LocalFilesApi(tmp_path, **SETTINGS) as api:
        assert api.wait_processed(upload["file_id"])["bytes"] == len(DATA)
        assert api.stored_bytes(upload["file_id"]) == DATA


def test_processing_that_had_not_ended_is_begun_anew(tmp_path: Path) -> None:
    with LocalFilesApi(tmp_path, **SETTINGS) as api:
        file_id = Wire(api).uploaded(DATA)
        api.wait_processed(file_id)
    catalog = Catalog(tmp_path / "files")
    record = catalog.get(file_id)
    assert record is not None
    catalog.save(record.model_copy(update={"status": "RUNNING", "report": None}))

    with LocalFilesApi(tmp_path, **SETTINGS) as api:
        assert api.wait_processed(file_id)["processing_status"] == "COMPLETED"


def test_bodies_that_were_on_their_way_are_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "half").write_bytes(b"half a body")

    with LocalFilesApi(tmp_path):
        assert list((tmp_path / "incoming").iterdir()) == []


def test_of_two_files_with_one_part_number_the_later_is_the_part(tmp_path: Path) -> None:
    """A kill between storing a part's new version and dropping the old one leaves both."""
    directory = tmp_path / "uploads" / "u1"
    directory.mkdir(parents=True)
    for age, etag in enumerate(["c" * 32, "a" * 32, "b" * 32]):
        path = directory / f"00001-{etag}"
        path.write_bytes(etag.encode())
        os.utime(path, ns=(10**18 + age, 10**18 + age))

    storage = DiskStorage(tmp_path, 60)

    assert storage._parts["u1"][1].etag == "b" * 32


def test_two_servers_cannot_share_a_directory(tmp_path: Path) -> None:
    with LocalFilesApi(tmp_path), pytest.raises(UsageError, match="in use"):
        LocalFilesApi(tmp_path).__enter__()


def test_a_port_that_is_taken_is_said_so(tmp_path: Path) -> None:
    with LocalFilesApi(tmp_path / "a") as api:
        port = int(api.origin.rpartition(":")[2])
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}"):
            LocalFilesApi(tmp_path / "b", port=port).__enter__()


def test_a_temporary_directory_is_removed_at_the_end() -> None:
    with LocalFilesApi() as api:
        Wire(api).uploaded(DATA)
        directory = api.data_dir
        assert directory is not None
        assert directory.exists()

    assert not directory.exists()
