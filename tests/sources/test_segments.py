"""A part's bytes, over the seams of segments, as ``requests`` reads them."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from requests.utils import super_len

import ingest.sources.segments
from ingest.errors import SourceChanged
from ingest.files import Segment, SourceFile
from ingest.sources import SegmentReader, open_segments, open_source, stat_source

DATA = random.Random(1).randbytes(1000)


def segments_of(folder: Path, ranges: list[tuple[int, int]]) -> tuple[Segment, ...]:
    """One file for each segment, so that every seam is between two sources."""
    segments = []
    for n, (offset, length) in enumerate(ranges):
        path = folder / f"{n}"
        path.write_bytes(DATA)
        segments.append(Segment(stat_source(str(path), f"{n}"), offset, length))
    return tuple(segments)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_range_read_in_any_way_gives_its_bytes(data: st.DataObject, tmp_path: Path) -> None:
    ranges = data.draw(
        st.lists(st.tuples(st.integers(0, 900), st.integers(0, 100)), min_size=1, max_size=5)
    )
    whole = b"".join(DATA[offset : offset + length] for offset, length in ranges)
    offset = data.draw(st.integers(0, len(whole)))
    length = data.draw(st.integers(0, len(whole) - offset))
    expected = whole[offset : offset + length]
    with open_segments(segments_of(tmp_path, ranges), offset, length) as stream:
        assert len(stream) == super_len(stream) == length  # type: ignore[no-untyped-call]
        for start, size in data.draw(
            st.lists(st.tuples(st.integers(0, 600), st.integers(0, 600)), max_size=4)
        ):
            stream.seek(start)
            assert stream.read(size) == expected[start : start + size]
        stream.seek(0)
        assert b"".join(iter(lambda: stream.read(7), b"")) == expected
        assert stream.tell() == length


def test_what_is_left_after_a_read_is_the_content_length(tmp_path: Path) -> None:
    with open_segments(segments_of(tmp_path, [(0, 100)]), 0, 100) as stream:
        stream.read(30)
        assert super_len(stream) == 70  # type: ignore[no-untyped-call]
        assert stream.seek(0) == 0
        assert stream.seek(-1, os.SEEK_END) == 99


def test_a_rewound_body_is_sent_again_from_its_first_byte(tmp_path: Path) -> None:
    with open_segments(segments_of(tmp_path, [(5, 100), (7, 100)]), 10, 150) as stream:
        for read_before in (1, 90, 91, 150):  # in, at the end of, and past the first segment
            stream.read(read_before)
            stream.seek(0)
            assert stream.read(20) == DATA[15:35]
            stream.seek(0)


def test_an_empty_range_is_still_a_body(tmp_path: Path) -> None:
    stream = open_segments(segments_of(tmp_path, [(0, 0)]), 0, 0)
    assert bool(stream)
    assert stream.read(10) == b""


def test_a_range_past_the_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 bytes past"):
        open_segments(segments_of(tmp_path, [(0, 10), (0, 10)]), 15, 6)


def test_a_source_that_changed_before_it_is_reached_is_told_before_its_bytes(
    tmp_path: Path,
) -> None:
    segments = segments_of(tmp_path, [(0, 10), (0, 10)])
    stream = open_segments(segments, 0, 20)
    assert stream.read(10) == DATA[:10]
    Path(segments[1].source.uri).write_bytes(DATA[::-1])
    os.utime(segments[1].source.uri, ns=(1, 1))
    with pytest.raises(SourceChanged):
        stream.read(10)


def test_the_last_byte_is_not_given_if_the_source_changed_meanwhile(tmp_path: Path) -> None:
    segments = segments_of(tmp_path, [(0, 1000)])
    stream = open_segments(segments, 0, 1000)
    got = stream.read(999)
    os.utime(segments[0].source.uri, ns=(1, 1))
    assert got == DATA[:999]
    with pytest.raises(SourceChanged):
        stream.read(1)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[io.RawIOBase]:
    """Every source stream that a reader has opened."""
    streams: list[io.RawIOBase] = []

    def open_and_remember(source: SourceFile, *, end: int | None = None) -> io.RawIOBase:
        streams.append(open_source(source, end=end))
        return streams[-1]

    monkeypatch.setattr(ingest.sources.segments, "open_source", open_and_remember)
    return streams


def test_closing_early_is_no_error_and_closes_the_source(
    tmp_path: Path, opened: list[io.RawIOBase]
) -> None:
    segments = segments_of(tmp_path, [(0, 1000)])
    stream = open_segments(segments, 0, 1000)
    stream.read(10)
    os.utime(segments[0].source.uri, ns=(1, 1))
    stream.close()
    assert [source.closed for source in opened] == [True]
    with pytest.raises(ValueError, match="closed"):
        stream.read(1)


def test_one_source_is_open_at_a_time_and_each_is_opened_once(
    tmp_path: Path, opened: list[io.RawIOBase]
) -> None:
    with SegmentReader(segments_of(tmp_path, [(0, 10)] * 5), 0, 50) as stream:
        for _ in range(50):
            stream.read(1)
            assert sum(not source.closed for source in opened) <= 1
    assert len(opened) == 5
