"""What a second run of the same command does: nothing that is done already."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from ingest.serve import LocalFilesApi
from tests.pipeline.conftest import MULTIPART, Ingest, delete, entries, jsonl, sent

PUBLISH = ("publish", "data", "--manifest", "out.jsonl", *MULTIPART, "--wait")


@pytest.fixture
def corpus(data: Path) -> Path:
    (data / "small.jsonl").write_bytes(jsonl(2_000, text="small"))
    (data / "large.jsonl").write_bytes(jsonl(200_000, text="large"))
    return data


def test_a_second_run_sends_nothing_and_changes_nothing(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    first = ingest(*PUBLISH)
    assert first.code == 0, first.err
    manifest = (tmp_path / "out.jsonl").read_bytes()
    files_api.clear_requests()

    second = ingest(*PUBLISH)

    assert second.code == 0, second.err
    assert sent(files_api) == []
    assert (tmp_path / "out.jsonl").read_bytes() == manifest
    assert second.out == first.out
    assert not (tmp_path / "out.jsonl.journal").exists()
    assert "2 files are published already" in second.err


def test_stdout_holds_an_id_a_state_and_a_name_for_each_file(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    result = ingest(*PUBLISH)

    recorded = entries(tmp_path / "out.jsonl")
    assert result.out.splitlines() == [
        f"{recorded[name]['file_id']}\tprocessed\t{name}" for name in ("large.jsonl", "small.jsonl")
    ]


def test_a_fresh_checkout_in_another_folder_sends_nothing(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    assert ingest(*PUBLISH).code == 0
    before = entries(tmp_path / "out.jsonl")
    shutil.copytree(corpus, tmp_path / "checkout", copy_function=shutil.copyfile)
    shutil.rmtree(corpus)
    files_api.clear_requests()

    result = ingest("publish", "checkout", *PUBLISH[2:])

    assert result.code == 0, result.err
    assert sent(files_api) == []
    after = entries(tmp_path / "out.jsonl")
    assert {name: entry["file_id"] for name, entry in after.items()} == {
        name: entry["file_id"] for name, entry in before.items()
    }
    # It remembers the versions it has now seen, so the next run need not even hash.
    assert after["small.jsonl"]["sources"][0]["uri"] == str(tmp_path / "checkout" / "small.jsonl")
    assert after["small.jsonl"]["records"] == before["small.jsonl"]["records"]


def test_a_changed_file_gets_a_new_id_and_the_old_one_is_remembered(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    assert ingest(*PUBLISH).code == 0
    before = entries(tmp_path / "out.jsonl")
    changed = jsonl(3_000, text="changed")
    (corpus / "small.jsonl").write_bytes(changed)
    files_api.clear_requests()

    result = ingest(*PUBLISH)

    assert result.code == 0, result.err
    after = entries(tmp_path / "out.jsonl")
    assert {seen.name for seen in files_api.requests("create")} == {"small.jsonl"}
    assert files_api.requests("initiate") == []
    assert after["large.jsonl"] == before["large.jsonl"]
    assert after["small.jsonl"]["file_id"] != before["small.jsonl"]["file_id"]
    assert after["small.jsonl"]["superseded"] == [before["small.jsonl"]["file_id"]]
    assert files_api.stored_bytes(after["small.jsonl"]["file_id"]) == changed


def test_a_change_that_keeps_the_length_is_seen(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    assert ingest(*PUBLISH).code == 0
    changed = jsonl(2_000, text="SMALL")
    assert len(changed) == (corpus / "small.jsonl").stat().st_size
    (corpus / "small.jsonl").write_bytes(changed)

    assert ingest(*PUBLISH).code == 0

    entry = entries(tmp_path / "out.jsonl")["small.jsonl"]
    assert files_api.stored_bytes(entry["file_id"]) == changed


def test_content_that_comes_back_gets_its_first_id_again_and_nothing_is_sent(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    contents = [jsonl(2_000, text=text) for text in ("one", "two", "one")]
    ids = []
    for content in contents:
        files_api.clear_requests()
        (corpus / "small.jsonl").write_bytes(content)
        assert ingest(*PUBLISH).code == 0
        ids.append(entries(tmp_path / "out.jsonl")["small.jsonl"]["file_id"])

    entry = entries(tmp_path / "out.jsonl")["small.jsonl"]
    assert ids[0] == ids[2] != ids[1]
    assert (entry["status"], entry["superseded"]) == ("duplicate", [ids[1]])
    assert files_api.requests("put") == []


def test_an_input_that_is_gone_is_told_and_its_entry_stays(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    assert ingest(*PUBLISH).code == 0
    before = entries(tmp_path / "out.jsonl")
    (corpus / "small.jsonl").unlink()
    files_api.clear_requests()

    result = ingest(*PUBLISH)

    assert result.code == 0, result.err
    assert sent(files_api) == []
    file_id = before["small.jsonl"]["file_id"]
    assert f"small.jsonl: is no longer among the inputs; its entry ({file_id}) stays" in result.err
    assert entries(tmp_path / "out.jsonl") == before


def test_identical_files_are_sent_once(
    ingest: Ingest, files_api: LocalFilesApi, data: Path, tmp_path: Path
) -> None:
    content = jsonl(200_000)
    for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
        (data / name).write_bytes(content)

    result = ingest(*PUBLISH)

    assert result.code == 0, result.err
    assert len(files_api.requests("initiate")) == 1
    recorded = entries(tmp_path / "out.jsonl")
    assert [recorded[name]["status"] for name in recorded] == ["processed"] + ["duplicate"] * 2
    assert [recorded[name]["parts"] for name in recorded] == [3, 0, 0]
    assert len({entry["file_id"] for entry in recorded.values()}) == 1
    assert files_api.stored_bytes(recorded["c.jsonl"]["file_id"]) == content


def test_a_renamed_file_is_not_sent_again(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    assert ingest(*PUBLISH).code == 0
    file_id = entries(tmp_path / "out.jsonl")["large.jsonl"]["file_id"]
    (corpus / "large.jsonl").rename(corpus / "renamed.jsonl")
    files_api.clear_requests()

    assert ingest(*PUBLISH).code == 0

    assert files_api.requests("put-part") == []
    renamed = entries(tmp_path / "out.jsonl")["renamed.jsonl"]
    assert (renamed["file_id"], renamed["status"]) == (file_id, "duplicate")


def test_files_that_share_a_name_are_told_apart_by_their_folders(
    ingest: Ingest, files_api: LocalFilesApi, data: Path, tmp_path: Path
) -> None:
    contents = {folder: jsonl(1_000, text=folder) for folder in ("train", "test")}
    for folder, content in contents.items():
        (data / folder).mkdir()
        (data / folder / "a.jsonl").write_bytes(content)

    assert ingest(*PUBLISH).code == 0

    recorded = entries(tmp_path / "out.jsonl")
    assert list(recorded) == ["test-a.jsonl", "train-a.jsonl"]
    for folder, content in contents.items():
        entry = recorded[f"{folder}-a.jsonl"]
        assert files_api.stored_bytes(entry["file_id"]) == content
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    assert {file["filename"] for file in files_api.files()} == set(recorded)


@pytest.mark.parametrize("where", ["folder", "link to the folder", "glob"])
def test_a_manifest_among_the_inputs_is_not_taken_for_data(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path, where: str
) -> None:
    (tmp_path / "link").symlink_to(corpus)
    named = {"folder": "data", "link to the folder": "link", "glob": "data/*.jsonl"}[where]
    command = ("publish", named, "--manifest", "data/out.jsonl", *MULTIPART)
    assert ingest(*command).code == 0
    files_api.clear_requests()

    result = ingest(*command)

    assert result.code == 0, result.err
    assert sent(files_api) == []
    assert list(entries(corpus / "out.jsonl")) == ["large.jsonl", "small.jsonl"]


def test_publishing_to_another_api_sends_again_and_remembers_the_ids_of_the_first(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    assert ingest(*PUBLISH).code == 0
    before = entries(tmp_path / "out.jsonl")

    with LocalFilesApi(api_key=files_api.api_key, min_part_size_bytes=64 * 2**10) as other:
        assert ingest(*PUBLISH, "--base-url", other.base_url).code == 0
        after = entries(tmp_path / "out.jsonl")
        for name, entry in after.items():
            assert other.stored_bytes(entry["file_id"]) == (corpus / name).read_bytes()
            assert entry["superseded"] == [before[name]["file_id"]]


def test_waiting_for_a_file_that_was_deleted_at_the_api_ends_and_tells_how_to_send_it_anew(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    assert ingest(*PUBLISH[:-1]).code == 0
    manifest = tmp_path / "out.jsonl"
    manifest.write_text(manifest.read_text().replace('"processed"', '"uploaded"'))
    file_id = entries(manifest)["small.jsonl"]["file_id"]
    delete(files_api, file_id)

    result = ingest(*PUBLISH)

    assert result.code == 3
    assert f"small.jsonl: {file_id} is not at the API any more" in result.errors[-1]
    assert entries(manifest)["large.jsonl"]["status"] == "processed"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(line for line in lines if file_id not in line))
    assert ingest(*PUBLISH).code == 0
    new_id = entries(manifest)["small.jsonl"]["file_id"]
    assert files_api.stored_bytes(new_id) == (corpus / "small.jsonl").read_bytes()
