"""The commands beside publish, on what a publish has left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ByteSize

from ingest.errors import DataInvalid, Interrupted
from ingest.serve import Fault, LocalFilesApi
from ingest.settings import PublishSettings
from jobs.publish import publish
from jobs.worker_processes import WORTH_PROCESSES_BYTES
from tests.pipeline.conftest import (
    MULTIPART,
    Ingest,
    delete,
    entries,
    jsonl,
    parts_put,
    sent,
    until,
)

PUBLISH = ("publish", "data", "--manifest", "out.jsonl", *MULTIPART)
SMALL = jsonl(3_000, text="small")
LARGE = jsonl(450_000, text="large")


@pytest.fixture
def corpus(data: Path) -> Path:
    (data / "small.jsonl").write_bytes(SMALL)
    (data / "large.jsonl").write_bytes(LARGE)
    return data


@pytest.fixture
def published(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> dict[str, str]:
    """The ids by name of what is published, and processed."""
    assert ingest(*PUBLISH).code == 0
    recorded = entries(tmp_path / "out.jsonl")
    for entry in recorded.values():
        files_api.wait_processed(entry["file_id"])
    assert ingest(*PUBLISH, "--wait").code == 0
    return {name: entry["file_id"] for name, entry in recorded.items()}


# --- status ---------------------------------------------------------------------------------------


def test_status_of_a_closed_run_counts_its_files(ingest: Ingest, published: dict[str, str]) -> None:
    assert ingest("status", "out.jsonl").out == (
        "run: closed (it came to its end)\n"
        f"processed:  2 files  {(len(SMALL) + len(LARGE)) / 1e3:.1f} kB\n"
    )
    assert json.loads(ingest("status", "out.jsonl", "--json").out) == {
        "schema": 1,
        "run": "closed",
        "entries": {"processed": 2},
        "entry_bytes": {"processed": len(SMALL) + len(LARGE)},
        "left": [],
    }


def test_status_of_an_unfinished_run_tells_what_is_left_and_what_to_do(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path
) -> None:
    (corpus / "x.jsonl").write_bytes(jsonl(1_000, text="another"))
    files_api.script(Fault(where="put", what="latency", name="x.jsonl", times=None))
    files_api.script(Fault(where="put-part", what="stall", part=6))
    running = ingest.start(*PUBLISH)

    def only_a_part_is_left() -> bool:
        status = ingest("status", "out.jsonl", "--json")
        left = json.loads(status.out)["left"] if status.code == 0 else []
        sent = {file["name"]: file["parts_sent"] for file in left}
        return sent == {"large.jsonl": 5, "x.jsonl": 0}

    until(only_a_part_is_left, "all is sent but one part")
    live = ingest("status", "out.jsonl")
    running.kill()

    result = ingest("status", "out.jsonl")

    assert (live.code, result.code) == (0, 0)
    sent = 5 * -(-len(LARGE) // 6)
    size = len(LARGE) + (corpus / "x.jsonl").stat().st_size
    left = [
        f"uploaded:  1 files    {len(SMALL) / 1e3:.1f} kB",
        f"to send:   2 files  {size / 1e3:.1f} kB  of these, {sent / 1e3:.1f} kB are sent",
        "left:",
        f"  large.jsonl  {len(LARGE) / 1e3:.1f} kB  5 of 6 parts  {sent / 1e3:.1f} kB are sent",
        "  x.jsonl        1.0 kB   one request",
    ]
    assert live.out.splitlines()[0] == "run: live (it is going on now)"
    assert live.out.splitlines()[-5:] == left
    lines = result.out.splitlines()
    assert lines[0] == "run: dead (it was stopped or killed before its end)"
    assert lines[-6:-1] == left
    assert lines[-1].startswith("run the same publish again to go on, or `ingest abort`")


@pytest.mark.parametrize("command", ["status", "verify"])
def test_a_manifest_that_is_not_there_is_wrong_use(ingest: Ingest, command: str) -> None:
    result = ingest(command, "none.jsonl")

    assert (result.code, result.out) == (2, "")
    (error,) = result.errors
    assert error.startswith("ingest: none.jsonl: there is no ")


@pytest.mark.parametrize("command", ["status", "verify"])
def test_a_manifest_that_is_not_ours_is_wrong_use(
    ingest: Ingest, tmp_path: Path, command: str
) -> None:
    (tmp_path / "other.jsonl").write_bytes(SMALL)

    result = ingest(command, "other.jsonl")

    assert (result.code, result.out) == (2, "")
    assert result.errors[0].startswith("ingest: other.jsonl:1: is not a manifest of ours")


# --- verify ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("deep", [(), ("--deep",)], ids=["", "deep"])
def test_verify_finds_all_as_recorded(
    ingest: Ingest, files_api: LocalFilesApi, published: dict[str, str], deep: tuple[str, ...]
) -> None:
    files_api.clear_requests()

    result = ingest("verify", "out.jsonl", *deep)

    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [f"{published[name]}\tok\t{name}" for name in published]
    assert len(files_api.requests("content")) == (2 if deep else 0)


def test_verify_misses_a_file_that_was_deleted_at_the_api(
    ingest: Ingest, files_api: LocalFilesApi, published: dict[str, str]
) -> None:
    delete(files_api, published["small.jsonl"])

    result = ingest("verify", "out.jsonl")

    assert result.code == 3
    assert f"{published['small.jsonl']}\tmissing at the API\tsmall.jsonl\n" in result.out
    assert f"{published['large.jsonl']}\tok\tlarge.jsonl\n" in result.out
    assert result.errors == ["ingest: 1 files are not as the manifest says"]


def test_deep_verify_sees_other_bytes_of_the_same_length(
    ingest: Ingest, files_api: LocalFilesApi, published: dict[str, str]
) -> None:
    assert files_api.data_dir is not None
    stored = files_api.data_dir / "content" / published["large.jsonl"]
    stored.write_bytes(stored.read_bytes().replace(b"large 7 ", b"LARGE 7 "))

    assert ingest("verify", "out.jsonl").code == 0
    result = ingest("verify", "out.jsonl", "--deep")

    assert result.code == 3
    assert f"{published['large.jsonl']}\tcontent has SHA-256 " in result.out
    assert f"{published['small.jsonl']}\tok\tsmall.jsonl\n" in result.out


def test_verify_with_a_wrong_key_is_not_authorised(
    ingest: Ingest, published: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "wrong-key")

    result = ingest("verify", "out.jsonl")

    assert (result.code, result.out, len(result.errors)) == (4, "", 1)


# --- abort ----------------------------------------------------------------------------------------


def test_abort_closes_what_a_killed_run_left_open_and_the_next_starts_anew(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    (corpus / "small.jsonl").unlink()  # published ids are test_killed_at_every_moment.py's part
    files_api.script(Fault(where="put-part", what="stall", part=6))
    running = ingest.start(*PUBLISH)
    until(lambda: ingest.parts_sent("out.jsonl") == 5, "five parts are sent")
    live = ingest("abort", "out.jsonl")
    running.kill()
    files_api.clear_faults()

    result = ingest("abort", "out.jsonl")

    assert live.code == 2, "not while the run is open"
    assert result.code == 0, result.err
    (abort,) = files_api.requests("abort")
    assert result.out == f"{abort.file_id}\taborted\tlarge.jsonl\n"
    assert not (tmp_path / "out.jsonl.journal").exists()
    again = ingest("abort", "out.jsonl")
    assert (again.code, again.out, again.err) == (0, "", "out.jsonl: nothing is open\n")

    files_api.clear_requests()
    assert ingest(*PUBLISH).code == 0
    assert parts_put(files_api) == [1, 2, 3, 4, 5, 6]
    entry = entries(tmp_path / "out.jsonl")["large.jsonl"]
    assert files_api.stored_bytes(entry["file_id"]) == LARGE


def test_abort_that_the_api_refuses_stays_open(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path
) -> None:
    (corpus / "small.jsonl").unlink()  # published ids are test_killed_at_every_moment.py's part
    files_api.script(Fault(where="put-part", what="stall", part=6))
    running = ingest.start(*PUBLISH)
    until(lambda: ingest.parts_sent("out.jsonl") == 5, "five parts are sent")
    running.kill()
    files_api.clear_faults()
    files_api.script(Fault(where="abort", what="status", status=400))

    refused = ingest("abort", "out.jsonl")

    assert (refused.code, refused.out) == (3, "")
    assert refused.errors[0].startswith("ingest: large.jsonl: ")
    assert ingest("abort", "out.jsonl").code == 0
    assert [seen.status for seen in files_api.requests("abort")] == [400, 200]


# --- plan -----------------------------------------------------------------------------------------


def test_plan_tells_what_would_be_sent_and_sends_nothing(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    (corpus / ".hidden.jsonl").write_bytes(SMALL)
    (corpus / "notes.txt").write_bytes(b"no data")

    result = ingest("plan", *PUBLISH[1:])

    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "large.jsonl\t439.5 KiB\t6 parts of 73.2 KiB",
        "small.jsonl\t3.0 KiB\tsingle request",
        f"{corpus}/.hidden.jsonl\t-\tskip: hidden: its name begins with . or _",
        f"{corpus}/notes.txt\t-\trefused: file.unknown_type expected a name that ends in "
        ".jsonl, .parquet or .csv, found notes.txt",
    ]
    assert files_api.requests() == []
    assert not (tmp_path / "out.jsonl.journal").exists()


def test_plan_needs_no_manifest_and_no_key(
    ingest: Ingest, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOGETHER_API_KEY")

    assert ingest("plan", "data").out == (
        "large.jsonl\t439.5 KiB\tsingle request\nsmall.jsonl\t3.0 KiB\tsingle request\n"
    )


def test_plan_as_json_tells_ranges_and_what_is_published_already(
    ingest: Ingest, published: dict[str, str], corpus: Path, tmp_path: Path
) -> None:
    (corpus / "new.jsonl").write_bytes(SMALL)
    command = ("plan", *PUBLISH[1:], "--shard-size", "300KB")

    document = json.loads(ingest(*command, "--json").out)

    assert ingest(*command, "--json", "plan.json").out == ""
    assert json.loads((tmp_path / "plan.json").read_text()) == document
    files = {file["name"]: file for file in document["files"]}
    assert list(files) == [
        "large-00001-of-00002.jsonl",
        "large-00002-of-00002.jsonl",
        "new.jsonl",
        "small.jsonl",
    ]
    first, second = (files[name] for name in list(files)[:2])
    assert (first["upload"], first["parts"]) == ("multipart", 3)
    assert first["bytes"] + second["bytes"] == len(LARGE)
    assert second["sources"] == [
        {
            "uri": str(corpus / "large.jsonl"),
            "offset": first["bytes"],
            "length": second["bytes"],
        }
    ]
    assert files["small.jsonl"]["skip"] == (
        f"published as {published['small.jsonl']} and not changed since"
    )
    assert files["new.jsonl"]["skip"] is None
    assert {file["not_cut"] for file in files.values()} == {None}


def test_plan_tells_why_a_file_over_the_shard_size_is_sent_whole(
    ingest: Ingest, data: Path
) -> None:
    table = pa.table({"input_ids": [list(range(2_000))] * 50})
    pq.write_table(table, data / "tokens.parquet", use_dictionary=False, compression="none")
    command = ("plan", "data", "--shard-size", "64KiB")

    (file,) = json.loads(ingest(*command, "--json").out)["files"]

    assert file["not_cut"] == "only jsonl files can be cut, this one is parquet; it is sent whole"
    assert f"single request ({file['not_cut']})" in ingest(*command).out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("plan none", None),
        ("plan data --json none/plan.json", "none/plan.json"),
        ("plan data --part-size 0", "--part-size 0"),
    ],
)
def test_plan_refuses_what_makes_no_sense(
    ingest: Ingest, corpus: Path, words: str, says: str | None
) -> None:
    result = ingest(*words.split())

    assert result.code == 2
    if says is None:
        assert "refused: file.not_found" in result.out
    else:
        (error,) = result.errors
        assert says in error


# --- check and rules ------------------------------------------------------------------------------


def longest_record(content: bytes) -> dict[str, int]:
    lengths = [len(line) for line in content.splitlines()]
    return {"bytes": max(lengths), "line": 1 + lengths.index(max(lengths))}


def test_check_reads_everything_and_sends_nothing(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path
) -> None:
    (corpus / "bad.jsonl").write_bytes(b'{"text": 1}\n')

    result = ingest("check", "data", "--json", "-")

    assert result.code == 5
    report = json.loads(result.out)
    assert (report["schema"], report["valid"], report["engine"]) == (1, False, "local")
    assert (report["rules"], report["purpose"]) == ("standard", "fine-tune")
    files = {Path(file["uri"]).name: file for file in report["files"]}
    assert files["large.jsonl"] == {
        "uri": str(corpus / "large.jsonl"),
        "bytes": len(LARGE),
        "file_type": "jsonl",
        "dataset_format": "general",
        "records": LARGE.count(b"\n"),
        "valid": True,
        "problem_count": 0,
        "problems": [],
        "warning_count": 0,
        "warnings": [],
        "statistics": {
            "records": LARGE.count(b"\n"),
            "bytes": len(LARGE),
            "messages": 0,
            "roles": {},
            "images": 0,
            "longest_record": longest_record(LARGE),
        },
    }
    (problem,) = files["bad.jsonl"]["problems"]
    assert (problem["line"], problem["record"]) == (1, 1)
    assert files_api.requests() == []


@pytest.mark.parametrize("report_format", ["text", "json", "github", "sarif", "junit"])
def test_check_writes_every_format_to_stdout(
    ingest: Ingest, corpus: Path, report_format: str
) -> None:
    (corpus / "bad.jsonl").write_bytes(b'{"text": 1}\n')

    result = ingest("check", "data", "--format", report_format)

    assert result.code == 5
    assert "bad.jsonl" in result.out
    if report_format in ("json", "sarif"):
        json.loads(result.out)
    if report_format == "junit":
        ElementTree.fromstring(result.out)


def test_check_of_a_valid_folder_needs_no_key_and_ends_with_0(
    ingest: Ingest, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOGETHER_API_KEY")

    result = ingest("check", "data")

    assert (result.code, result.errors) == (0, [])


def test_check_of_a_path_that_is_missing_ends_with_2_after_checking_the_others(
    ingest: Ingest, corpus: Path
) -> None:
    result = ingest("check", "data", "none", "--json", "-")

    assert result.code == 2
    verdicts = {Path(f["uri"]).name: f["valid"] for f in json.loads(result.out)["files"]}
    assert verdicts == {"large.jsonl": True, "none": False, "small.jsonl": True}


def test_rules_are_listed_and_explained(ingest: Ingest) -> None:
    listed = ingest("rules")
    one = ingest("rules", "message.role")
    none = ingest("rules", "message.rule")

    assert (listed.code, one.code, none.code) == (0, 0, 2)
    assert "message.role " in listed.out
    assert one.out.startswith("message.role: ")
    assert "What to do: " in one.out
    assert none.errors[0].startswith("ingest: message.rule: there is no such rule; did you mean ")
    assert "message.role" in none.errors[0]


# --- what is imported, and other ways in ----------------------------------------------------------


def test_the_command_line_is_quick_to_start_for_it_imports_nothing_heavy() -> None:
    heavy = "{'ray', 'pyarrow', 'boto3', 'pydantic', 'requests', 'aiohttp', 'numpy'}"
    code = f"import jobs.cli, sys; print({heavy} & set(sys.modules))"

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout == "set()\n"


SENDING = {"ray", "boto3", "requests", "ingest.transfer", "ingest.journal", "rich.progress"}
READING = {"numpy", "pyarrow", "msgspec"}


@pytest.mark.parametrize(
    ("size_bytes", "unneeded"),
    [
        pytest.param(1, SENDING | {"pyarrow.parquet"}, id="small-file"),
        pytest.param(WORTH_PROCESSES_BYTES, SENDING | READING, id="file-for-worker-processes"),
    ],
)
def test_a_check_of_local_files_imports_only_what_it_uses(
    tmp_path: Path, size_bytes: int, unneeded: set[str]
) -> None:
    line = b'{"messages": [{"role": "assistant", "content": "a"}]}\n'
    (tmp_path / "data.jsonl").write_bytes(line * (size_bytes // len(line) + 1))
    code = (
        "import sys, jobs.cli\n"
        "try:\n"
        "    jobs.cli.main(['check', 'data.jsonl', '--json', 'report.json'])\n"
        "except SystemExit as end:\n"
        f"    print(end.code, sorted({unneeded} & set(sys.modules)))\n"
    )

    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    assert shown.stdout.splitlines()[-1] == "0 []"


def test_worker_processes_do_not_import_the_command_line_again(tmp_path: Path) -> None:
    line = b'{"messages": [{"role": "assistant", "content": "a"}]}\n'
    (tmp_path / "data.jsonl").write_bytes(line * (WORTH_PROCESSES_BYTES // len(line) + 1))
    program = Path(sys.executable).with_name("ingest")

    shown = subprocess.run(
        [program, "check", "data.jsonl", "--workers", "2"],
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )

    imported = [line.split("|")[-1].strip() for line in shown.stderr.splitlines()]
    assert imported.count("ingest.validation.jsonl") == 1, "workers have what their server has"
    assert imported.count("jobs.cli") == 1


def test_jobs_publish_as_a_module_is_ingest_publish(
    ingest: Ingest, files_api: LocalFilesApi, published: dict[str, str], tmp_path: Path
) -> None:
    files_api.clear_requests()

    shown = subprocess.run(
        [sys.executable, "-m", "jobs.publish", *PUBLISH[1:]],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )

    assert shown.stdout.splitlines() == [
        f"{file_id}\tprocessed\t{name}" for name, file_id in published.items()
    ]
    assert sent(files_api) == []


def test_publish_from_python_returns_the_manifest_and_raises_the_error_tree(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    settings = PublishSettings(
        inputs=(str(corpus),),
        manifest=str(tmp_path / "out.jsonl"),
        base_url=files_api.base_url,
        multipart_threshold=ByteSize(128 * 2**10),
        part_size=ByteSize(64 * 2**10),
    )
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(Interrupted):
        publish(settings, stop=stopped)
    assert sent(files_api) == []

    manifest = publish(settings)

    assert [entry.name for entry in manifest.sorted()] == ["large.jsonl", "small.jsonl"]
    assert [files_api.stored_bytes(file_id) for file_id in manifest.file_ids] == [LARGE, SMALL]
    (corpus / "bad.jsonl").write_bytes(b'{"text": 1}\n')
    with pytest.raises(DataInvalid, match="nothing was sent"):
        publish(settings)
