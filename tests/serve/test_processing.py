from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ingest.serve import Fault, LocalFilesApi
from ingest.serve.examination import Examiner, Job
from tests.serve.wire import Wire, jsonl, sha256

VALID = jsonl(20)
LARGE = jsonl(20_000)  # over what is validated in the server's own process


@pytest.mark.parametrize("data", [VALID, LARGE], ids=["small", "large"])
def test_a_valid_file_is_completed_with_its_line_count(
    files_api: LocalFilesApi, wire: Wire, data: bytes
) -> None:
    file = files_api.wait_processed(wire.uploaded(data, checksum=sha256(data)))

    assert file["processing_status"] == "COMPLETED"
    assert file["Processed"] is True
    assert file["LineCount"] == file["validation_report"]["nlines"] == data.count(b"\n")


@pytest.mark.parametrize("data", [VALID, LARGE], ids=["small", "large"])
def test_a_file_that_breaks_a_rule_is_invalid_and_the_report_says_where(
    files_api: LocalFilesApi, wire: Wire, data: bytes
) -> None:
    file = files_api.wait_processed(wire.uploaded(data + b'{"text": 5}\n'))

    report = file["validation_report"]
    assert file["processing_status"] == report["error_type"] == "INVALID_FORMAT"
    assert file["Processed"] is report["valid"] is False
    assert f"line {data.count(bytes([10])) + 1}:" in report["error"]


def test_an_empty_file_is_invalid(files_api: LocalFilesApi, wire: Wire) -> None:
    file = files_api.wait_processed(wire.uploaded(b""))

    assert file["processing_status"] == "INVALID_FORMAT"


def test_an_invalid_file_is_still_what_its_checksum_leads_to(
    files_api: LocalFilesApi, wire: Wire
) -> None:
    data = b"not json\n"
    file_id = wire.uploaded(data, checksum=sha256(data))
    files_api.wait_processed(file_id)

    assert wire.create(checksum=sha256(data)).json()["file_id"] == file_id


def test_bytes_that_are_not_what_the_checksum_said_fail_and_do_not_stand_in_the_way(
    files_api: LocalFilesApi, wire: Wire
) -> None:
    file = files_api.wait_processed(wire.uploaded(jsonl(3), checksum=sha256(VALID)))

    assert file["processing_status"] == "FAILED"
    assert "checksum" in file["validation_report"]["error"]
    assert wire.create(checksum=sha256(VALID)).status_code == 302


def test_a_file_is_pending_when_its_upload_is_finished(wire: Wire) -> None:
    upload, etags = wire.initiated([VALID])

    assert wire.complete(upload, etags).json()["processing_status"] == "PENDING"


def test_a_file_deleted_while_it_waits_is_forgotten(files_api: LocalFilesApi, wire: Wire) -> None:
    first, second = wire.uploaded(LARGE), wire.uploaded(LARGE)
    wire.call("DELETE", f"/files/{second}")
    last = wire.uploaded(VALID)

    files_api.wait_processed(first)
    files_api.wait_processed(last)

    assert {file["id"] for file in files_api.files()} == {first, last}


def test_a_state_can_be_scripted(files_api: LocalFilesApi, wire: Wire) -> None:
    file_id = wire.uploaded(VALID)
    files_api.wait_processed(file_id)
    held = {"processing_status": "RUNNING", "Processed": False}
    files_api.script(Fault(where="retrieve", what="reply_fields", fields=held, times=2))

    seen = [wire.retrieve(file_id).json()["processing_status"] for _ in range(3)]

    assert seen == ["RUNNING", "RUNNING", "COMPLETED"]


def job(path: Path, data: bytes) -> Job:
    path.write_bytes(data)
    return Job(str(path), None, path.name, len(data), "jsonl", "fine-tune", None)


def test_the_process_is_started_anew_if_it_died(tmp_path: Path) -> None:
    examiner = Examiner()
    try:
        large = job(tmp_path / "a.jsonl", LARGE)
        assert examiner.run(large).status == "COMPLETED"
        assert examiner._process is not None
        assert examiner._process.pid is not None
        os.kill(examiner._process.pid, signal.SIGKILL)
        examiner._process.join()

        assert examiner.run(large).status == "FAILED"
        assert examiner.run(large).status == "COMPLETED"
    finally:
        examiner.close()


def test_closing_ends_the_process(tmp_path: Path) -> None:
    examiner = Examiner()
    examiner.run(job(tmp_path / "a.jsonl", LARGE))
    process = examiner._process

    examiner.close()

    assert process is not None
    assert process.exitcode is not None
    assert examiner.run(job(tmp_path / "a.jsonl", LARGE)).status == "FAILED"
