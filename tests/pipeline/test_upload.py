"""How files travel: single requests and parts, on the local engine; faults on the way."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

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

PUBLISH = ("publish", "data", "--manifest", "out.jsonl", *MULTIPART)
SMALL = jsonl(3_000, text="small")
LARGE = jsonl(450_000, text="large")
PARTS = 6


@pytest.fixture
def corpus(data: Path) -> Path:
    (data / "small.jsonl").write_bytes(SMALL)
    (data / "large.jsonl").write_bytes(LARGE)
    return data


def manifest_line(path: Path, content: bytes, api: LocalFilesApi, **fields: Any) -> dict[str, Any]:
    """What the manifest should say of a general-text dataset, but for its id and time."""
    status = path.stat()
    lengths = [len(line) for line in content.splitlines()]
    return {
        "schema": 1,
        "name": path.name,
        "status": "processed",
        "purpose": "fine-tune",
        "file_type": "jsonl",
        "dataset_format": "general",
        "bytes": len(content),
        "records": content.count(b"\n"),
        "sha256": hashlib.sha256(content).hexdigest(),
        "parts": 1,
        "base_url": api.base_url,
        "sources": [
            {
                "uri": str(path),
                "offset": 0,
                "length": len(content),
                "version": f"{status.st_mtime_ns}-{status.st_ino}",
            }
        ],
        "superseded": [],
        "statistics": {
            "records": len(lengths),
            "bytes": len(content),
            "messages": 0,
            "roles": {},
            "images": 0,
            "longest_record": {"bytes": max(lengths), "line": 1 + lengths.index(max(lengths))},
        },
        **fields,
    }


def test_small_files_go_by_one_request_and_large_ones_in_parts(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    began = datetime.now(timezone.utc).replace(microsecond=0)

    result = ingest(*PUBLISH, "--wait")

    assert result.code == 0, result.err
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    ids = [line.pop("file_id") for line in lines]
    times = [datetime.fromisoformat(line.pop("uploaded_at")) for line in lines]
    assert lines == [
        manifest_line(corpus / "large.jsonl", LARGE, files_api, parts=PARTS),
        manifest_line(corpus / "small.jsonl", SMALL, files_api),
    ]
    assert [files_api.stored_bytes(file_id) for file_id in ids] == [LARGE, SMALL]
    assert all(began <= time <= datetime.now(timezone.utc) for time in times)
    assert parts_put(files_api) == list(range(1, PARTS + 1))
    assert [seen.name for seen in files_api.requests("put")] == ["small.jsonl"]


def test_the_api_is_told_the_sha256_of_each_file(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    assert ingest(*PUBLISH).code == 0
    (tmp_path / "out.jsonl").unlink()
    files_api.clear_requests()

    # Without a manifest it asks again, and the API knows these checksums.
    assert ingest(*PUBLISH).code == 0

    assert sorted(sent(files_api)) == ["create", "initiate"]
    assert [seen.status for seen in files_api.requests("create")] == [409]
    assert [seen.status for seen in files_api.requests("initiate")] == [409]
    assert {entry["status"] for entry in entries(tmp_path / "out.jsonl").values()} == {"duplicate"}


def test_at_most_four_parts_of_a_file_are_in_flight(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path
) -> None:
    (corpus / "other.jsonl").write_bytes(jsonl(450_000, text="other"))

    most = most_in_flight(ingest, files_api, *PUBLISH)

    assert most == {"large.jsonl": 4, "other.jsonl": 4, None: 8}


def test_a_cap_holds_over_all_files(ingest: Ingest, files_api: LocalFilesApi, corpus: Path) -> None:
    (corpus / "other.jsonl").write_bytes(jsonl(450_000, text="other"))

    most = most_in_flight(ingest, files_api, *PUBLISH, "--max-in-flight", "3")

    assert most[None] == 3


def most_in_flight(ingest: Ingest, api: LocalFilesApi, *words: str) -> dict[str | None, int]:
    """The most part PUTs that the API had open at a time, by file, and over all under None.

    Each PUT is held for a while, so that the next would be seen beside it.
    """
    api.script(Fault(where="put-part", what="latency", seconds=0.3, times=None))
    running = ingest.start(*words)
    most: dict[str | None, int] = {}

    def ended() -> bool:
        still = [seen.name for seen in api.requests("put-part") if seen.status is None]
        for name in {*still, None}:
            count = still.count(name) if name else len(still)
            most[name] = max(count, most.get(name, 0))
        return running.process.poll() is not None

    until(ended, "the run has ended")
    result = running.wait()
    assert result.code == 0, result.err
    return most


def test_sources_and_manifest_can_lie_in_s3(
    ingest: Ingest, files_api: LocalFilesApi, s3: S3Bucket
) -> None:
    s3.put("corpus/small.jsonl", SMALL)
    s3.put("corpus/deep/large.jsonl", LARGE)
    s3.put("corpus/notes.txt", b"no data")
    manifest = s3.uri("out.jsonl")
    publish = ("publish", s3.uri("corpus/**/*.jsonl"), "--manifest", manifest, *MULTIPART)
    publish += ("--s3-endpoint", s3.endpoint_url)

    result = ingest(*publish)

    assert result.code == 0, result.err
    recorded = entries(s3.get("out.jsonl"))
    assert list(recorded) == ["large.jsonl", "small.jsonl"]
    assert files_api.stored_bytes(recorded["large.jsonl"]["file_id"]) == LARGE
    assert files_api.stored_bytes(recorded["small.jsonl"]["file_id"]) == SMALL
    assert recorded["large.jsonl"]["sources"][0]["uri"] == s3.uri("corpus/deep/large.jsonl")
    files_api.clear_requests()
    assert ingest(*publish).code == 0
    assert sent(files_api) == []
    assert "large.jsonl" in ingest("verify", manifest, "--s3-endpoint", s3.endpoint_url).out


@pytest.mark.parametrize("size_bytes", [131_072, 131_073])
def test_a_file_goes_in_parts_from_one_byte_over_the_threshold(
    ingest: Ingest, files_api: LocalFilesApi, data: Path, tmp_path: Path, size_bytes: int
) -> None:
    frame = len(b'{"text": ""}\n')
    content = b'{"text": "%s"}\n' % (b"x" * (size_bytes - frame))
    (data / "a.jsonl").write_bytes(content)

    assert ingest(*PUBLISH).code == 0

    (entry,) = entries(tmp_path / "out.jsonl").values()
    assert (entry["parts"], len(content)) == (2 if size_bytes > 131_072 else 1, size_bytes)
    assert files_api.stored_bytes(entry["file_id"]) == content
    assert bool(files_api.requests("initiate")) == (size_bytes > 131_072)


# --- a file that is there already -----------------------------------------------------------------


def test_bytes_that_are_there_for_another_purpose_are_an_error_that_names_the_id(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    assert ingest(*PUBLISH, "--purpose", "eval").code == 0
    before = entries(tmp_path / "out.jsonl")
    (tmp_path / "out.jsonl").unlink()

    result = ingest(*PUBLISH)

    assert result.code == 3
    for name, entry in before.items():
        assert (
            f"{name}: the API says that {entry['file_id']} has these bytes, but for purpose eval, "
            "not fine-tune: use it there, or delete it"
        ) in result.err
    assert "2 files failed, 0 of 2 files are published" in result.errors[-1]
    assert {entry["status"] for entry in entries(tmp_path / "out.jsonl").values()} == {"failed"}


@pytest.mark.parametrize("state", ["FAILED", "INVALID_FORMAT"])
def test_bytes_that_are_there_in_a_bad_state_are_an_error_that_names_the_id(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path, state: str
) -> None:
    assert ingest(*PUBLISH).code == 0
    before = entries(tmp_path / "out.jsonl")
    (tmp_path / "out.jsonl").unlink()
    files_api.script(
        Fault(
            where="retrieve",
            what="reply_fields",
            name="small.jsonl",
            fields={"processing_status": state},
        )
    )

    result = ingest(*PUBLISH)

    assert result.code == 3
    file_id = before["small.jsonl"]["file_id"]
    assert (
        f"small.jsonl: the API says that {file_id} has these bytes, and it is {state}"
        in (result.errors[-1])
    )
    after = entries(tmp_path / "out.jsonl")
    assert (after["small.jsonl"]["status"], after["large.jsonl"]["status"]) == (
        "failed",
        "duplicate",
    )


# --- faults on the way ----------------------------------------------------------------------------

# Each fault at each call, for one file and part after part, is in tests/faults; here are some that
# meet several files and parts at the same time.
PASSING = {
    "a part is refused twice": [Fault(where="put-part", what="status", part=3, times=2)],
    "the first six PUTs are cut": [Fault(where="put-part", what="reset", at="middle", times=6)],
    "the URLs of the parts have expired": [Fault(where="put-part", what="expired", part=5)],
    "the API asks to wait": [Fault(where="any", what="status", status=429, retry_after="0")],
}


@pytest.mark.parametrize("faults", PASSING.values(), ids=PASSING)
def test_a_passing_fault_is_overcome_and_each_file_has_one_id(
    ingest: Ingest,
    files_api: LocalFilesApi,
    corpus: Path,
    tmp_path: Path,
    faults: list[Fault],
) -> None:
    files_api.script(*faults)

    result = ingest(*PUBLISH)

    assert result.code == 0, result.err
    assert [seen for seen in files_api.requests() if seen.fault], "the fault struck"
    recorded = entries(tmp_path / "out.jsonl")
    assert {file["id"] for file in files_api.files()} == {
        entry["file_id"] for entry in recorded.values()
    }
    assert files_api.stored_bytes(recorded["large.jsonl"]["file_id"]) == LARGE
    assert files_api.stored_bytes(recorded["small.jsonl"]["file_id"]) == SMALL
    assert not (tmp_path / "out.jsonl.journal").exists()


def test_a_part_that_is_refused_for_good_aborts_its_file_and_spares_the_others(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    files_api.script(Fault(where="put-part", what="status", status=403, part=3))

    result = ingest(*PUBLISH)

    assert result.code == 3
    assert (
        "1 files failed, 1 of 2 files are published; the first, large.jsonl: "
        in (result.errors[-1])
    )
    assert "large.jsonl part 3/6: the store answered 403" in result.errors[-1]
    assert "run the same command again" in result.errors[-1]
    (abort,) = files_api.requests("abort")
    assert (abort.name, abort.status) == ("large.jsonl", 200)
    recorded = entries(tmp_path / "out.jsonl")
    assert (recorded["large.jsonl"]["status"], recorded["large.jsonl"]["file_id"]) == (
        "failed",
        None,
    )
    assert files_api.stored_bytes(recorded["small.jsonl"]["file_id"]) == SMALL
    files_api.clear_requests()

    assert ingest(*PUBLISH).code == 0

    assert {seen.name for seen in files_api.requests("put-part")} == {"large.jsonl"}
    assert files_api.requests("put") == []
    recorded = entries(tmp_path / "out.jsonl")
    assert recorded["large.jsonl"]["superseded"] == []
    assert files_api.stored_bytes(recorded["large.jsonl"]["file_id"]) == LARGE


@pytest.mark.parametrize("name", ["small.jsonl", "large.jsonl"])
def test_the_id_of_a_file_that_could_not_be_confirmed_is_not_lost(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path, name: str
) -> None:
    files_api.script(Fault(where="retrieve", what="status", status=400, times=None, name=name))
    assert ingest(*PUBLISH).code == 3
    (sent_as,) = (file["id"] for file in files_api.files() if file["filename"] == name)
    files_api.clear_faults()
    files_api.clear_requests()

    again = ingest(*PUBLISH)

    assert again.code == 0
    assert entries(tmp_path / "out.jsonl")[name]["file_id"] == sent_as
    assert {seen.where for seen in files_api.requests()} == {"retrieve"}, "nothing is sent again"
    assert not (tmp_path / "out.jsonl.journal").exists()


def test_an_upload_that_the_api_has_forgotten_is_begun_anew(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    files_api.script(Fault(where="put-part", what="stall", part=3))
    running = ingest.start(*PUBLISH)
    until(lambda: ingest.parts_sent("out.jsonl") == PARTS - 1, "all parts but one are sent")
    running.kill()
    files_api.clear_faults()
    forget_uploads(files_api, tmp_path / "out.jsonl.journal")

    result = ingest(*PUBLISH)

    assert result.code == 0, result.err
    (large,) = [file for file in files_api.files() if file["filename"] == "large.jsonl"]
    assert files_api.stored_bytes(large["id"]) == LARGE


def forget_uploads(api: LocalFilesApi, journal: Path) -> None:
    """Abort the open uploads behind the back of the run that opened them."""
    import requests

    events = [json.loads(line) for line in journal.read_text().splitlines()]
    for event in events:
        if event["event"] == "initiated" and event["upload_id"]:
            ids = {"upload_id": event["upload_id"], "file_id": event["file_id"]}
            reply = requests.post(
                f"{api.base_url}/files/multipart/abort",
                json=ids,
                headers={"Authorization": f"Bearer {api.api_key}"},
                timeout=10,
            )
            assert reply.status_code == 200


def test_a_source_that_changes_while_it_is_sent_is_never_mixed(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    (corpus / "small.jsonl").unlink()
    files_api.script(Fault(where="put-part", what="stall", times=4))
    running = ingest.start(*PUBLISH)
    until(lambda: len(parts_put(files_api)) == 4, "four parts are on their way")
    changed = jsonl(450_000, text="LARGE")
    (corpus / "large.jsonl").write_bytes(changed)
    files_api.clear_faults()

    result = running.wait()

    assert result.code == 3, result.err
    assert files_api.files() == []
    assert len(files_api.requests("abort")) == 1
    assert ingest(*PUBLISH).code == 0
    (entry,) = entries(tmp_path / "out.jsonl").values()
    assert files_api.stored_bytes(entry["file_id"]) == changed
