"""Links that are too slow for the size of the parts, or for the life of their URLs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ingest.bodies import PartsTooLarge
from ingest.errors import Retryable
from ingest.files import Part, UploadFile
from ingest.files_api import FilesApi
from ingest.journal import Phase
from ingest.serve import Fault, LocalFilesApi
from ingest.settings import PublishSettings
from ingest.transfer import PutResult, PutTask
from jobs.publish import publish
from tests.upload.harness import Harness

MIB = 2**20
CONTENT = bytes(160 * MIB)
PART = 64 * MIB
"""Longer by far than what the buffers of a connection take in at once."""


@pytest.fixture
def harness(client: FilesApi, files_api: LocalFilesApi, tmp_path: Path) -> Harness:
    return Harness(client, files_api, tmp_path)


def in_large_parts(harness: Harness) -> UploadFile:
    file = harness.file(CONTENT)
    parts = tuple(Part(n + 1, n * PART, min(PART, len(CONTENT) - n * PART)) for n in range(3))
    return dataclasses.replace(file, parts=parts, least_part_bytes=5 * MIB)


SLOW = Fault(where="put-part", what="trickle", part=1, times=2, bytes_per_s=MIB)


def test_a_part_that_runs_out_of_time_twice_ends_the_upload_and_tells_how_fast_it_went(
    harness: Harness,
) -> None:
    harness.options = {"part_timeout_s": 1.0}
    harness.api.script(SLOW)

    with pytest.raises(PartsTooLarge, match="part 1/3: not sent within 1 s") as caught:
        harness.upload(in_large_parts(harness))

    assert 0 < caught.value.bytes_s < PART
    assert harness.attempt().phase is Phase.ABORTED
    assert harness.open_uploads() == set()
    assert sum(harness.sent_bytes) == 0, "nothing of it counts"


def test_parts_that_cannot_be_smaller_are_tried_on(harness: Harness) -> None:
    harness.options = {"part_timeout_s": 1.0}
    harness.api.script(SLOW)
    file = dataclasses.replace(in_large_parts(harness), least_part_bytes=PART)

    harness.assert_uploaded(harness.upload(file), CONTENT)
    assert len(harness.api.requests("initiate")) == 1


def test_a_run_goes_on_in_smaller_parts_by_itself(
    files_api: LocalFilesApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl").write_bytes(CONTENT)
    monkeypatch.setenv("TOGETHER_API_KEY", files_api.api_key)
    files_api.script(SLOW)

    manifest = publish(
        PublishSettings(
            inputs=(str(tmp_path / "a.jsonl"),),
            manifest=str(tmp_path / "out.jsonl"),
            base_url=files_api.base_url,
            check=False,
            multipart_threshold=MIB,
            part_size=PART,
            part_timeout=1.0,
        )
    )

    (entry,) = manifest.sorted()
    assert entry.parts > 3
    assert files_api.stored_bytes(str(entry.file_id)) == CONTENT
    assert [file["id"] for file in files_api.files()] == [entry.file_id]
    assert len(files_api.requests("initiate")) == 2
    assert len(files_api.requests("abort")) == 1


def test_urls_that_would_expire_under_way_are_not_driven_into_a_refusal(harness: Harness) -> None:
    harness.options = {"parts_in_flight": 1}
    slow = iter([10_000.0])  # the first part; URLs live for an hour

    def edit(_task: PutTask, result: PutResult) -> PutResult:
        return dataclasses.replace(result, seconds=next(slow, 0.01))

    harness.edit = edit

    harness.assert_uploaded(harness.upload(harness.file(CONTENT[: 5 << 16], 5)), CONTENT[: 5 << 16])
    assert {seen.status for seen in harness.api.requests("put-part")} == {200}
    assert [note for note in harness.notes if "expire" in note] == [
        "a.jsonl: its presigned URLs expire too soon; the upload starts anew"
    ]
    assert harness.open_uploads() == set()


def test_a_link_on_which_no_url_lives_long_enough_is_told(harness: Harness) -> None:
    harness.options = {"parts_in_flight": 1}
    harness.edit = lambda _task, result: dataclasses.replace(result, seconds=10_000.0)

    with pytest.raises(Retryable, match=r"--part-size or --shard-size needs less time"):
        harness.upload(harness.file(CONTENT[: 5 << 16], 5))
    assert harness.open_uploads() == set()
