"""A run that is killed or interrupted in the middle of an upload, and the next one."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ingest.serve import Fault, LocalFilesApi
from tests.fixtures.s3 import S3Bucket
from tests.pipeline.conftest import (
    MULTIPART,
    Ingest,
    entries,
    jsonl,
    parts_put,
    sent,
    until,
)
from tests.pipeline.stopping import (
    CONTENT,
    HELD,
    PARTS,
    assert_only_the_missing_part_is_sent,
    assert_stopped,
    held_in_the_middle,
    processes_of,
)

PUBLISH = ("publish", "data", "--manifest", "out.jsonl", *MULTIPART)


@pytest.fixture
def corpus(data: Path) -> Path:
    (data / "large.jsonl").write_bytes(CONTENT)
    return data


def test_after_a_kill_only_the_missing_part_is_sent(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    running = held_in_the_middle(ingest, files_api, *PUBLISH)
    assert '"run": "live"' in ingest("status", "out.jsonl", "--json").out

    running.kill()

    assert '"run": "dead"' in ingest("status", "out.jsonl", "--json").out
    assert f"{PARTS - 1} of {PARTS} parts" in ingest("status", "out.jsonl").out
    assert_only_the_missing_part_is_sent(
        ingest, files_api, *PUBLISH, manifest=tmp_path / "out.jsonl"
    )


def test_while_a_run_is_open_a_second_one_is_kept_out(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    held_in_the_middle(ingest, files_api, *PUBLISH)

    second = ingest(*PUBLISH)

    assert second.code == 2
    assert "another run is open on this manifest" in second.err
    assert sent(files_api) == []


def test_the_journal_of_an_open_run_is_for_its_owner_alone(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    running = held_in_the_middle(ingest, files_api, *PUBLISH)
    journal = tmp_path / "out.jsonl.journal"

    assert journal.stat().st_mode & 0o777 == 0o600
    assert b"X-Amz-Signature" in journal.read_bytes(), "this is why"
    assert files_api.api_key.encode() not in journal.read_bytes()
    running.kill()
    assert journal.stat().st_mode & 0o777 == 0o600


def test_a_manifest_in_s3_is_taken_over_from_a_killed_run(
    ingest: Ingest,
    files_api: LocalFilesApi,
    s3: S3Bucket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint_url)
    s3.put("corpus/large.jsonl", CONTENT)
    manifest = s3.uri("corpus/out.jsonl")
    publish = ("publish", s3.uri("corpus/"), "--manifest", manifest, *MULTIPART)
    running = held_in_the_middle(ingest, files_api, *publish, manifest=manifest)
    second = ingest(*publish)
    assert second.code == 2
    assert f"process {running.process.pid} on " in second.err
    assert sent(files_api) == []

    running.kill()

    # Its journal's objects lie among the inputs, and end in .jsonl as datasets do.
    assert_only_the_missing_part_is_sent(ingest, files_api, *publish)
    (entry,) = entries(s3.get("corpus/out.jsonl")).values()
    assert files_api.stored_bytes(entry["file_id"]) == CONTENT
    left = s3.client.list_objects_v2(Bucket=s3.bucket)["Contents"]
    assert {item["Key"] for item in left} == {"corpus/large.jsonl", "corpus/out.jsonl"}


def test_a_kill_before_the_first_reply_leaves_one_file_after_the_next_run(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    files_api.script(Fault(where="initiate", what="stall_reply"))
    running = ingest.start(*PUBLISH)
    until(lambda: bool(files_api.requests("initiate")), "the upload is being opened")
    running.kill()
    files_api.clear_faults()

    result = ingest(*PUBLISH)

    assert result.code == 0, result.err
    assert "never learned whether its upload was opened" in result.err
    (entry,) = entries(tmp_path / "out.jsonl").values()
    assert [file["id"] for file in files_api.files()] == [entry["file_id"]]
    assert files_api.stored_bytes(entry["file_id"]) == CONTENT


@pytest.mark.parametrize("where", ["complete", "preprocess"])
def test_a_kill_while_the_last_step_runs_leaves_one_file_and_sends_nothing_again(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path, where: str
) -> None:
    publish = PUBLISH if where == "complete" else PUBLISH[:4]
    files_api.script(Fault.model_validate({"where": where, "what": "stall_reply"}))
    running = ingest.start(*publish)
    until(lambda: bool(files_api.files()), "the API has done the step")
    running.kill()
    files_api.clear_faults()
    files_api.clear_requests()

    result = ingest(*publish)

    assert result.code == 0, result.err
    assert sent(files_api) == []
    (file,) = files_api.files()
    (entry,) = entries(tmp_path / "out.jsonl").values()
    assert entry["file_id"] == file["id"]
    assert files_api.stored_bytes(file["id"]) == CONTENT


def test_ctrl_c_ends_the_run_cleanly_and_the_next_one_goes_on(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    running = held_in_the_middle(ingest, files_api, *PUBLISH)

    running.process.send_signal(signal.SIGINT)
    result = running.wait(10)

    assert_stopped(result, sent=set(range(1, PARTS + 1)) - {HELD})
    assert files_api.requests("abort") == []
    assert_only_the_missing_part_is_sent(
        ingest, files_api, *PUBLISH, manifest=tmp_path / "out.jsonl"
    )


def test_parts_that_arrive_while_sigterm_stops_the_run_count(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    files_api.script(Fault(where="put-part", what="latency", times=None))
    running = ingest.start(*PUBLISH)
    until(lambda: len(parts_put(files_api)) == 4, "as many parts are in flight as may be")
    running.process.send_signal(signal.SIGTERM)
    until(lambda: "stopping" in running.err, "the signal was heard")
    files_api.clear_faults()  # lets the parts go that are held

    assert_stopped(running.wait(10), sent={1, 2, 3, 4})

    assert parts_put(files_api) == [1, 2, 3, 4]
    assert ingest.parts_sent("out.jsonl") == 4
    files_api.clear_requests()
    assert ingest(*PUBLISH).code == 0
    assert parts_put(files_api) == [5, 6]
    (entry,) = entries(tmp_path / "out.jsonl").values()
    assert files_api.stored_bytes(entry["file_id"]) == CONTENT


def test_a_second_interrupt_ends_the_run_at_once(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    running = held_in_the_middle(ingest, files_api, *PUBLISH)
    running.process.send_signal(signal.SIGINT)
    until(lambda: "stopping" in running.err, "the first one was heard")
    running.process.send_signal(signal.SIGINT)

    assert running.wait(2).code == 130
    assert_only_the_missing_part_is_sent(
        ingest, files_api, *PUBLISH, manifest=tmp_path / "out.jsonl"
    )


def test_ctrl_c_does_not_wait_for_a_large_file_to_be_hashed(
    ingest: Ingest, files_api: LocalFilesApi, data: Path, tmp_path: Path
) -> None:
    # Sparse: it takes no room, and minutes to hash.
    with (data / "huge.jsonl").open("wb") as file:
        file.truncate(200 * 2**30)
    running = ingest.start(*PUBLISH, "--no-check", "--max-file-size", "1TiB")
    until(lambda: bool(files_api.requests("retrieve")), "the key is good, hashing begins")

    running.process.send_signal(signal.SIGINT)
    result = running.wait(10)

    assert result.code == 130, result.err
    assert "run the same command again" in result.errors[-1]
    assert sent(files_api) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_run(
    ingest: Ingest, files_api: LocalFilesApi, data: Path, number: signal.Signals
) -> None:
    (data / "large.jsonl").write_bytes(jsonl(17 << 20, text="words " * 5_000))
    files_api.script(Fault(where="put", what="latency"))
    running = ingest.start("publish", "data", "--manifest", "out.jsonl", "--workers", "2")
    until(lambda: bool(files_api.requests("put")), "processes have validated it")
    assert len(processes_of(running)) > 1

    running.process.send_signal(number)
    files_api.clear_faults()
    running.wait(10)

    until(lambda: processes_of(running) == [], "all have ended", timeout_s=10)


def test_ctrl_c_does_not_wait_for_an_answer_that_does_not_come_but_looks_what_happened(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    files_api.script(Fault(where="complete", what="stall_reply"))
    running = ingest.start(*PUBLISH)
    until(lambda: bool(files_api.files()), "the file is complete, and nobody says so")

    running.process.send_signal(signal.SIGINT)
    result = running.wait(10)

    assert result.code in (0, 130), result.err
    files_api.clear_requests()
    assert ingest(*PUBLISH).code == 0
    assert sent(files_api) == []
    (entry,) = entries(tmp_path / "out.jsonl").values()
    assert [file["id"] for file in files_api.files()] == [entry["file_id"]]
    assert files_api.stored_bytes(entry["file_id"]) == CONTENT


def test_ctrl_c_while_the_api_processes_keeps_what_was_sent(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    files_api.script(
        Fault(
            where="retrieve",
            what="reply_fields",
            name="large.jsonl",
            fields={"processing_status": "RUNNING"},
            times=None,
        )
    )
    running = ingest.start(*PUBLISH, "--wait")
    until(lambda: len(files_api.requests("retrieve", "large.jsonl")) > 1, "it waits")

    running.process.send_signal(signal.SIGINT)
    result = running.wait(10)

    assert result.code == 130, result.err
    assert "1 files were still being processed; all were sent; run " in result.errors[-1]
    (entry,) = entries(tmp_path / "out.jsonl").values()
    assert entry["status"] == "uploaded"
    assert files_api.stored_bytes(entry["file_id"]) == CONTENT
    files_api.clear_faults()
    files_api.clear_requests()
    assert ingest(*PUBLISH, "--wait").code == 0
    assert sent(files_api) == []
    (entry,) = entries(tmp_path / "out.jsonl").values()
    assert entry["status"] == "processed"
