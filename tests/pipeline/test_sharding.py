"""`--shard-size`: one source, several upload files, cut at record borders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingest.serve import LocalFilesApi
from tests.pipeline.conftest import MULTIPART, Ingest, entries, jsonl, sent

CONTENT = jsonl(500_000)
PUBLISH = ("publish", "data", "--manifest", "out.jsonl", "--shard-size", "200KB")


@pytest.mark.parametrize("more", [(), MULTIPART, ("--no-check",)], ids=["single", "parts", "raw"])
def test_the_stored_shards_put_together_are_the_source(
    ingest: Ingest, files_api: LocalFilesApi, data: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    (data / "large.jsonl").write_bytes(CONTENT)
    (data / "small.jsonl").write_bytes(jsonl(1_000))

    result = ingest(*PUBLISH, *more)

    assert result.code == 0, result.err
    recorded = entries(tmp_path / "out.jsonl")
    assert list(recorded) == [
        "large-00001-of-00003.jsonl",
        "large-00002-of-00003.jsonl",
        "large-00003-of-00003.jsonl",
        "small.jsonl",
    ]
    shards = list(recorded.values())[:3]
    stored = [files_api.stored_bytes(shard["file_id"]) for shard in shards]
    assert b"".join(stored) == CONTENT
    assert all(len(content) <= 200_000 and content.endswith(b"\n") for content in stored)
    assert [shard["bytes"] for shard in shards] == [len(content) for content in stored]
    if "--no-check" not in more:
        assert [shard["records"] for shard in shards] == [c.count(b"\n") for c in stored]
    starts = [shard["sources"][0]["offset"] for shard in shards]
    assert starts == [0, len(stored[0]), len(stored[0]) + len(stored[1])]


def test_shards_are_not_sent_again_and_a_change_sends_only_its_own(
    ingest: Ingest, files_api: LocalFilesApi, data: Path, tmp_path: Path
) -> None:
    (data / "large.jsonl").write_bytes(CONTENT)
    assert ingest(*PUBLISH).code == 0
    files_api.clear_requests()

    assert ingest(*PUBLISH).code == 0

    assert sent(files_api) == []
    changed = CONTENT[:-20].replace(b"words 0 ", b"WORDS 0 ") + CONTENT[-20:]
    assert len(changed) == len(CONTENT)
    (data / "large.jsonl").write_bytes(changed)
    assert ingest(*PUBLISH).code == 0
    assert [seen.name for seen in files_api.requests("put")] == ["large-00001-of-00003.jsonl"]
    stored = [
        files_api.stored_bytes(entry["file_id"])
        for entry in entries(tmp_path / "out.jsonl").values()
    ]
    assert b"".join(stored) == changed


def test_a_mistake_in_one_shard_keeps_all_of_its_source_back(
    ingest: Ingest, files_api: LocalFilesApi, data: Path, tmp_path: Path
) -> None:
    lines = CONTENT.splitlines(keepends=True)
    lines[-2] = b'{"text": 1}\n'
    (data / "large.jsonl").write_bytes(b"".join(lines))
    (data / "small.jsonl").write_bytes(jsonl(1_000))

    result = ingest(*PUBLISH, "--on-invalid", "skip")

    assert result.code == 5
    assert f"large.jsonl:{len(lines) - 1}: " in result.errors[-1]
    recorded = entries(tmp_path / "out.jsonl")
    shards = [entry for name, entry in recorded.items() if name.startswith("large")]
    assert [shard["status"] for shard in shards] == ["invalid"] * 3
    assert [seen.name for seen in files_api.requests("create")] == ["small.jsonl"]


def test_a_record_longer_than_a_shard_is_told(
    ingest: Ingest, files_api: LocalFilesApi, data: Path
) -> None:
    record = json.dumps({"text": "x" * 300_000}).encode() + b"\n"
    (data / "large.jsonl").write_bytes(CONTENT + record)

    result = ingest(*PUBLISH)

    assert result.code == 5
    assert len(result.errors) == 1
    assert sent(files_api) == []
