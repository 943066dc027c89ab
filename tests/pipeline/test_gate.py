"""One invalid file among good ones: what is told, what is sent, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingest.serve import LocalFilesApi
from tests.pipeline.conftest import MULTIPART, Ingest, entries, jsonl, sent

PUBLISH = ("publish", "data", "--manifest", "out.jsonl", *MULTIPART)
BAD = b'{"text": "fine"}\n{"text": 1}\n{"text": "fine too"}\n'


@pytest.fixture(autouse=True)
def corpus(data: Path) -> Path:
    (data / "bad.jsonl").write_bytes(BAD)
    (data / "good.jsonl").write_bytes(jsonl(1_000))
    (data / "large.jsonl").write_bytes(jsonl(200_000, text="large"))
    return data


def test_by_default_one_invalid_file_keeps_everything_back(
    ingest: Ingest, files_api: LocalFilesApi, tmp_path: Path
) -> None:
    result = ingest(*PUBLISH)

    assert result.code == 5
    assert result.out == ""
    (error,) = result.errors
    assert error.startswith("ingest: 1 of 3 files are invalid, so nothing was sent; ")
    assert "data/bad.jsonl:2: " in error
    assert error.endswith("correct them, or send the others with --on-invalid skip")
    assert sent(files_api) == []
    assert not (tmp_path / "out.jsonl").exists()
    assert not (tmp_path / "out.jsonl.journal").exists()


def test_with_skip_the_others_are_sent_and_the_invalid_one_is_recorded(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    result = ingest(*PUBLISH, "--on-invalid", "skip")

    assert result.code == 5
    assert "1 files are invalid, 2 of 3 files are published" in result.errors[-1]
    recorded = entries(tmp_path / "out.jsonl")
    assert {name: entry["status"] == "invalid" for name, entry in recorded.items()} == {
        "bad.jsonl": True,
        "good.jsonl": False,
        "large.jsonl": False,
    }
    bad = recorded["bad.jsonl"]
    assert (bad["file_id"], bad["records"], bad["parts"]) == (None, 3, 0)
    assert {file["filename"] for file in files_api.files()} == {"good.jsonl", "large.jsonl"}
    for name in ("good.jsonl", "large.jsonl"):
        content = (corpus / name).read_bytes()
        assert files_api.stored_bytes(recorded[name]["file_id"]) == content


def test_once_it_is_corrected_only_that_file_is_sent(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    ingest(*PUBLISH, "--on-invalid", "skip")
    (corpus / "bad.jsonl").write_bytes(BAD.replace(b"1", b'"1"'))
    files_api.clear_requests()

    result = ingest(*PUBLISH)

    assert result.code == 0, result.err
    assert sent(files_api) == ["create", "put", "preprocess"]
    entry = entries(tmp_path / "out.jsonl")["bad.jsonl"]
    assert entry["superseded"] == []
    assert files_api.stored_bytes(entry["file_id"]) == (corpus / "bad.jsonl").read_bytes()


def test_a_published_file_that_becomes_invalid_keeps_its_id_among_the_superseded(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    ingest(*PUBLISH, "--on-invalid", "skip")
    file_id = entries(tmp_path / "out.jsonl")["good.jsonl"]["file_id"]
    (corpus / "good.jsonl").write_bytes(BAD)

    assert ingest(*PUBLISH, "--on-invalid", "skip").code == 5

    entry = entries(tmp_path / "out.jsonl")["good.jsonl"]
    assert (entry["status"], entry["file_id"], entry["superseded"]) == ("invalid", None, [file_id])


def test_a_stopped_run_leaves_the_manifest_of_an_earlier_one_as_it_was(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    ingest(*PUBLISH, "--on-invalid", "skip")
    before = (tmp_path / "out.jsonl").read_bytes()
    (corpus / "good.jsonl").write_bytes(BAD)

    assert ingest(*PUBLISH).code == 5

    assert (tmp_path / "out.jsonl").read_bytes() == before


def test_without_a_check_everything_is_sent_and_nothing_is_counted(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    result = ingest(*PUBLISH, "--no-check")

    assert result.code in (0, 5), result.err  # 5 when the API has looked at it in time
    recorded = entries(tmp_path / "out.jsonl")
    assert {entry["records"] for entry in recorded.values()} == {None}
    for name, entry in recorded.items():
        assert files_api.stored_bytes(entry["file_id"]) == (corpus / name).read_bytes()


def test_what_the_api_finds_invalid_is_recorded_once_it_is_waited_for(
    ingest: Ingest, files_api: LocalFilesApi, tmp_path: Path
) -> None:
    result = ingest(*PUBLISH, "--no-check", "--wait")

    assert result.code == 5
    recorded = entries(tmp_path / "out.jsonl")
    assert {name: entry["status"] for name, entry in recorded.items()} == {
        "bad.jsonl": "invalid",
        "good.jsonl": "processed",
        "large.jsonl": "processed",
    }
    assert f"the server refused its content as {recorded['bad.jsonl']['file_id']}" in result.err


def test_problems_are_written_where_asked_and_stdout_stays_for_results(
    ingest: Ingest, files_api: LocalFilesApi, tmp_path: Path
) -> None:
    result = ingest(*PUBLISH, "--problems", "problems.jsonl", "--json", "-")

    assert result.code == 5
    report = json.loads(result.out)
    assert {file["uri"].rpartition("/")[2]: file["valid"] for file in report["files"]} == {
        "bad.jsonl": False,
        "good.jsonl": True,
        "large.jsonl": True,
    }
    (problem,) = map(json.loads, (tmp_path / "problems.jsonl").read_text().splitlines())
    assert (problem["line"], problem["uri"]) == (2, str(tmp_path / "data" / "bad.jsonl"))
    assert sent(files_api) == []
