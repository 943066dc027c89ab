"""Borders are line ends, found from near the cuts, and make shards that fit."""

from __future__ import annotations

import os
import pickle
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ingest.borders
from ingest.borders import RecordTooLarge, find_borders
from ingest.errors import SourceChanged
from ingest.files import SourceFile
from ingest.sources import stat_source
from tests.fixtures.s3 import S3Bucket


def file_of(data: bytes, folder: Path) -> SourceFile:
    path = folder / "a.jsonl"
    path.write_bytes(data)
    return stat_source(str(path), path.name)


def line_starts(data: bytes) -> set[int]:
    """By brute force: every offset after LF, CRLF or a CR that no LF follows."""
    return {
        n
        for n in range(1, len(data) + 1)
        if data[n - 1 : n] == b"\n" or (data[n - 1 : n] == b"\r" and data[n : n + 1] != b"\n")
    }


@pytest.mark.parametrize(
    ("data", "shard_size", "borders"),
    [
        pytest.param(b"", 5, (), id="empty"),
        pytest.param(b"aaaa\n", 5, (), id="fits exactly"),
        pytest.param(b"aaaa\nbbbb\n", 5, (5,), id="cut exactly at the limit"),
        pytest.param(b"a\nb\nc\nd\n", 7, (4,), id="equal halves, not a full one and a rest"),
        pytest.param(b"aaaa\nbbbb", 5, (5,), id="no line end at the end of the file"),
        pytest.param(b"aaa\r\nbbb\r\n", 5, (5,), id="CRLF"),
        pytest.param(b"aaa\rbbb\rcccc\r", 5, (4, 8), id="lone CR"),
        pytest.param(b"aaaaaa\nb\nc\n", 8, (7,), id="a long record across the even cut"),
        pytest.param(b"\n\n\n\n", 1, (1, 2, 3), id="one byte each"),
    ],
)
def test_borders(data: bytes, shard_size: int, borders: tuple[int, ...], tmp_path: Path) -> None:
    assert find_borders(file_of(data, tmp_path), shard_size) == borders


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    lines=st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=30
    ),
    shard_size=st.integers(14, 60),
    block=st.integers(1, 8),
)
def test_shards_begin_at_line_starts_and_fit(
    lines: list[tuple[int, bytes]], shard_size: int, block: int, tmp_path: Path
) -> None:
    # The longest line has 14 bytes; blocks of a few bytes put every line end across their seams.
    data = b"".join(b"x" * length + end for length, end in lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest.borders, "_FIRST_BLOCK_BYTES", block)
        borders = find_borders(file_of(data, tmp_path), shard_size)
    assert set(borders) <= line_starts(data)
    edges = [0, *borders, len(data)]
    assert all(0 < end - start <= shard_size for start, end in pairwise(edges) if data)


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        pytest.param(b"a\n" + b"b" * 20 + b"\nc\n", 2, id="in the middle"),
        pytest.param(b"b" * 20, 0, id="no line end at all"),
        pytest.param(b"aaa\n" + b"b" * 9 + b"\r\n", 4, id="only its LF is too much"),
    ],
)
def test_a_record_over_the_shard_size_is_a_problem_that_says_where(
    data: bytes, offset: int, tmp_path: Path
) -> None:
    source = file_of(data, tmp_path)
    with pytest.raises(RecordTooLarge) as caught:
        find_borders(source, 10)
    error = caught.value
    assert (error.uri, error.offset, error.problem.code) == (source.uri, offset, "file.too_large")
    assert f"at byte {offset}" in str(error)
    assert "raise the shard size" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_file_of_50_gib_is_cut_after_reading_a_few_megabytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gib = 2**30
    path = tmp_path / "large.jsonl"
    with path.open("wb") as file:  # sparse, with a line end 1,000 bytes before each full 10 GiB
        for n in range(1, 6):
            file.seek(n * 10 * gib - 1000)
            file.write(b"\n")
        file.truncate(50 * gib)
    if path.stat().st_blocks * 512 > gib:
        pytest.skip("this disk keeps no sparse files")
    read = 0
    read_range = ingest.borders._read

    def counting(source: SourceFile, start: int, end: int) -> bytes:
        nonlocal read
        read += end - start
        return read_range(source, start, end)

    monkeypatch.setattr(ingest.borders, "_read", counting)
    borders = find_borders(stat_source(os.fspath(path), "large.jsonl"), 10 * gib + 4000)
    assert borders == tuple(n * 10 * gib - 999 for n in range(1, 5))
    assert read < 4 * 2**20


def test_a_file_that_changed_since_it_was_planned_is_not_cut(tmp_path: Path) -> None:
    source = file_of(b"aaaa\nbbbb\n", tmp_path)
    Path(source.uri).write_bytes(b"aa\nbbbbbb\ncc\n")
    with pytest.raises(SourceChanged):
        find_borders(source, 5)


def test_a_file_in_s3_is_cut_alike(s3: S3Bucket) -> None:
    data = b"".join(b'{"text": "%d"}\n' % n for n in range(1000))
    uri = s3.put("a.jsonl", data)
    borders = find_borders(stat_source(uri, "a.jsonl", s3.endpoint_url), 4000)
    assert set(borders) <= line_starts(data)
    assert len(borders) == 3  # 15,890 bytes in shards of 4,000


def test_a_shard_size_of_zero_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds nothing"):
        find_borders(file_of(b"a\n", tmp_path), 0)
