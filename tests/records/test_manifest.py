from __future__ import annotations

from typing import Any

import pytest

from ingest.errors import ManifestError
from ingest.files import Segment, SourceFile
from ingest.manifest import (
    Manifest,
    ManifestEntry,
    SourceRange,
    merge_superseded,
    parse_manifest,
    usable,
)

RANGE = SourceRange(uri="s3://b/ä.jsonl", offset=0, length=10, version="e")


def entry(name: str = "a.jsonl", **fields: Any) -> ManifestEntry:
    fields = {
        "file_id": "file-1",
        "status": "uploaded",
        "purpose": "fine-tune",
        "file_type": "jsonl",
        "bytes": 10,
        "base_url": "https://api.example/v1",
        "sources": (RANGE,),
        **fields,
    }
    return ManifestEntry(name=name, **fields)


def manifest(*entries: ManifestEntry) -> Manifest:
    return Manifest(entries={each.name: each for each in entries})


def test_a_manifest_is_read_as_it_was_written() -> None:
    written = manifest(
        entry("b.jsonl", records=3, sha256="0" * 64, parts=2, uploaded_at="2026-01-02T03:04:05"),
        entry("a/ä.jsonl", status="failed", file_id=None, superseded=("file-0",)),
    )

    assert parse_manifest(written.to_bytes(), "out.jsonl") == written


def test_lines_are_sorted_by_name_and_each_is_whole() -> None:
    content = manifest(entry("b.jsonl"), entry("a.jsonl")).to_bytes()

    lines = content.decode().splitlines()
    assert content.endswith(b"\n")
    assert [line[:32] for line in lines] == [
        '{"schema":1,"name":"a.jsonl","fi',
        '{"schema":1,"name":"b.jsonl","fi',
    ]


def test_an_empty_manifest_is_an_empty_file() -> None:
    assert Manifest().to_bytes() == b""
    assert parse_manifest(b"", "out.jsonl") == parse_manifest(b"\n \n", "out.jsonl") == Manifest()


def test_line_ends_of_another_system_and_newer_fields_are_read() -> None:
    line = entry().to_json().replace('{"schema":1', '{"schema":1,"new":true')

    assert parse_manifest(line.encode() + b"\r\n", "out.jsonl") == manifest(entry())


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"not json\n", "out.jsonl:1"),
        (b'{"text": "a dataset"}\n', "out.jsonl:1"),
        (b"[]\n", "out.jsonl:1"),
        (b"\xff\xfe\x00", "out.jsonl:1"),
        (entry().to_json().encode() + b"\n" + entry().to_json().encode()[:40], "out.jsonl:2"),
        (entry().to_json().replace('"schema":1', '"schema":2').encode(), "out.jsonl:1"),
        (entry().to_json().replace('"uploaded"', '"sent"').encode(), "out.jsonl:1"),
        (b"<<<<<<< HEAD\n" + entry().to_json().encode(), "out.jsonl:1"),
    ],
    ids=["text", "a dataset", "a list", "binary", "cut", "a newer schema", "status", "a conflict"],
)
def test_a_file_that_is_no_manifest_is_refused_in_one_line(content: bytes, place: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(content, "out.jsonl")

    message = str(caught.value)
    assert message.startswith(f"{place}: is not a manifest of ours")
    assert message.endswith("name another file with --manifest")
    assert "\n" not in message


def test_two_lines_of_a_name_lose_no_id() -> None:
    lines = [entry(file_id="file-1"), entry(file_id="file-2", superseded=("file-0",))]
    content = "\n".join(line.to_json() for line in lines).encode()

    (found,) = parse_manifest(content, "out.jsonl").sorted()

    assert found.file_id == "file-2"
    assert set(found.superseded) == {"file-0", "file-1"}


@pytest.mark.parametrize(
    ("previous", "now", "superseded"),
    [
        pytest.param(None, {"file_id": "file-2"}, (), id="the first"),
        pytest.param({}, {"file_id": "file-2"}, ("file-1",), id="replaced"),
        pytest.param({}, {"file_id": "file-1"}, (), id="the same again"),
        pytest.param({}, {"file_id": None, "status": "failed"}, ("file-1",), id="not replaced"),
        pytest.param(
            {"file_id": None, "status": "failed", "superseded": ("file-1",)},
            {"file_id": "file-2"},
            ("file-1",),
            id="replaced after a failure",
        ),
        pytest.param(
            {"superseded": ("file-0",)}, {"file_id": "file-2"}, ("file-0", "file-1"), id="in order"
        ),
        pytest.param(
            {"file_id": "file-2", "superseded": ("file-1",)},
            {"file_id": "file-1"},
            ("file-2",),
            id="back to the earlier content",
        ),
        pytest.param(
            {"file_id": "file-1"},
            {"file_id": "file-2", "superseded": ("file-9",)},
            ("file-1", "file-9"),
            id="both know some",
        ),
    ],
)
def test_ids_of_earlier_content_are_never_lost(
    previous: dict[str, Any] | None, now: dict[str, Any], superseded: tuple[str, ...]
) -> None:
    merged = merge_superseded(entry(**now), entry(**previous) if previous is not None else None)

    assert merged.superseded == superseded
    assert merged.file_id == now["file_id"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": "uploaded"}, True),
        ({"status": "duplicate"}, True),
        ({"status": "processed"}, True),
        ({"status": "invalid"}, False),
        ({"status": "failed", "file_id": None}, False),
        ({"status": "uploaded", "file_id": None}, False),
    ],
    ids=str,
)
def test_a_file_is_usable_when_the_api_has_it_and_it_is_valid(
    fields: dict[str, Any], expected: bool
) -> None:
    assert usable(entry(**fields)) is expected
    assert manifest(entry(**fields)).file_ids == (["file-1"] if expected else [])


def test_a_range_names_what_its_segment_reads() -> None:
    segment = Segment(SourceFile("s3://b/k", "k", 100, "e"), 5, 10)

    assert SourceRange.of(segment) == SourceRange(uri="s3://b/k", offset=5, length=10, version="e")
