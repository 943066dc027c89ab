"""What the server makes of a file, and what the manifest and the exit code say of that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ingest.serve import Fault, LocalFilesApi
from tests.pipeline.conftest import Ingest, entries, jsonl, sent

PUBLISH = ("publish", "data", "--manifest", "out.jsonl")
RECORDS = 20
CONTENT = b"".join(b'{"text": "%03d"}\n' % number for number in range(RECORDS))


@pytest.fixture
def corpus(data: Path) -> Path:
    (data / "a.jsonl").write_bytes(CONTENT)
    (data / "b.jsonl").write_bytes(jsonl(2_000))
    return data


def of_a(**fields: Any) -> Fault:
    """What the server says of one file from now on."""
    return Fault(where="retrieve", what="reply_fields", name="a.jsonl", fields=fields, times=None)


def counted(lines: int) -> dict[str, Any]:
    return {"validation_report": {"valid": True, "nlines": lines}}


def test_what_the_server_counts_as_we_do_is_processed(
    ingest: Ingest, corpus: Path, tmp_path: Path
) -> None:
    result = ingest(*PUBLISH, "--wait")

    assert result.code == 0, result.err
    recorded = entries(tmp_path / "out.jsonl")
    assert {entry["status"] for entry in recorded.values()} == {"processed"}
    assert recorded["a.jsonl"]["records"] == RECORDS


DIFFERING = {
    "more records": (counted(RECORDS + 1), f"has {RECORDS + 1} records by the server's count"),
    "fewer records": (counted(RECORDS - 1), f"expected {RECORDS}"),
    "1.x counts": (
        {"processing_status": None, "validation_report": None, "Processed": True, "LineCount": 3},
        "has 3 records",
    ),
}


@pytest.mark.parametrize(("fields", "says"), DIFFERING.values(), ids=DIFFERING)
def test_a_count_that_is_not_ours_is_never_called_processed(
    ingest: Ingest,
    files_api: LocalFilesApi,
    corpus: Path,
    tmp_path: Path,
    fields: dict[str, Any],
    says: str,
) -> None:
    files_api.script(of_a(**fields))

    result = ingest(*PUBLISH, "--wait")

    recorded = entries(tmp_path / "out.jsonl")
    assert result.code == 3, result.err
    assert {name: entry["status"] for name, entry in recorded.items()} == {
        "a.jsonl": "uploaded",
        "b.jsonl": "processed",
    }
    error = result.errors[-1]
    assert f"a.jsonl: {recorded['a.jsonl']['file_id']} " in error
    assert says in error
    assert "delete the file at the API and run again" in error
    verified = ingest("verify", "out.jsonl")
    assert verified.code == 3
    assert says in verified.out

    files_api.clear_requests()
    again = ingest(*PUBLISH, "--wait")
    assert again.code == 3, "it is not forgotten"
    assert sent(files_api) == []
    files_api.clear_faults()
    assert ingest(*PUBLISH, "--wait").code == 0
    assert entries(tmp_path / "out.jsonl")["a.jsonl"]["status"] == "processed"
    assert sent(files_api) == []


def test_bytes_that_the_server_counts_otherwise_once_it_is_done_are_told(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    files_api.script(of_a(processing_status="RUNNING"))
    assert ingest(*PUBLISH).code == 0
    files_api.clear_faults()
    files_api.script(of_a(bytes=7, processing_status="COMPLETED"))

    result = ingest(*PUBLISH, "--wait")

    assert result.code == 3
    assert f"has 7 bytes, expected {len(CONTENT)}" in result.errors[-1]
    assert entries(tmp_path / "out.jsonl")["a.jsonl"]["status"] == "uploaded"


@pytest.mark.parametrize(
    ("name", "content", "flags"),
    [
        pytest.param("a.csv", b'text\n"a\nb"\nc\n', ("--purpose", "eval"), id="CSV"),
        pytest.param("a.jsonl", b'{"text": "a"}\n\n\n', ("--rules", "basic"), id="blank lines"),
    ],
)
def test_where_a_line_may_mean_something_else_a_count_is_told_and_no_fault(
    ingest: Ingest,
    files_api: LocalFilesApi,
    data: Path,
    tmp_path: Path,
    name: str,
    content: bytes,
    flags: tuple[str, ...],
) -> None:
    (data / name).write_bytes(content)
    lines = {**counted(4), "processing_status": "COMPLETED"}
    files_api.script(Fault(where="retrieve", what="reply_fields", fields=lines, times=None))

    result = ingest(*PUBLISH, "--wait", *flags)

    assert result.code == 0, result.err
    assert re.search(rf"{name}: the server counts 4 lines, here \d records", result.err)
    assert entries(tmp_path / "out.jsonl")[name]["status"] == "processed"
