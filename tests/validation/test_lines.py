from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import SourceChanged
from ingest.validation.lines import MAX_LINES_PER_BATCH, read_batches
from tests.validation.in_memory import MemoryStream

Line = tuple[int, bytes]

SIZES = st.integers(1, 40)


def owned_lines(
    data: bytes, start: int, end: int, block_bytes: int = 8, most: int | None = None
) -> list[Line]:
    """The lines of a slice with their offsets, without terminators."""
    found = []
    stream = MemoryStream(data, most)
    for batch in read_batches(stream, start, end, len(data), block_bytes):
        borders = batch.borders
        for begin, line_end in pairwise(borders):
            offset = batch.offset + begin - borders[0]
            found.append((offset, batch.text(begin, line_end).encode()))
    return found


def all_lines(data: bytes) -> list[Line]:
    found = re.finditer(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", data)
    return [(line.start(), line[0].rstrip(b"\r\n")) for line in found]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"a", [(0, b"a")], id="no-line-end"),
        pytest.param(b"a\n", [(0, b"a")], id="lf-ends-and-does-not-begin-a-line"),
        pytest.param(b"\n", [(0, b"")], id="blank"),
        pytest.param(b"a\r\nb", [(0, b"a"), (3, b"b")], id="crlf-is-one-end"),
        pytest.param(b"a\rb\n", [(0, b"a"), (2, b"b")], id="lone-cr"),
        pytest.param(b"\r\r\n\n", [(0, b""), (1, b""), (3, b"")], id="cr-crlf-lf"),
        pytest.param(b"\n\r", [(0, b""), (1, b"")], id="lf-cr-are-two"),
        pytest.param("\u2028\x0b\x85".encode(), [(0, "\u2028\x0b\x85".encode())], id="no-others"),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 2, 3, 64])
def test_lines_end_with_lf_crlf_or_cr(data: bytes, lines: list[Line], block_bytes: int) -> None:
    assert owned_lines(data, 0, len(data), block_bytes) == lines


@pytest.mark.parametrize(
    ("start", "end", "lines"),
    [
        pytest.param(0, 1, [(0, b"aa")], id="read-to-its-end-past-the-slice"),
        pytest.param(1, 2, [], id="inside-of-a-line"),
        pytest.param(2, 3, [], id="cr-of-crlf"),
        pytest.param(3, 4, [], id="lf-of-crlf"),
        pytest.param(4, 5, [(4, b"bb")], id="first-byte"),
        pytest.param(3, 5, [(4, b"bb")], id="begins-between-cr-and-lf"),
        pytest.param(0, 4, [(0, b"aa")], id="ends-behind-the-terminator"),
        pytest.param(0, 5, [(0, b"aa"), (4, b"bb")], id="one-byte-more"),
        pytest.param(6, 8, [(7, b"cc")], id="lone-cr"),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 2, 64])
def test_a_slice_owns_the_lines_that_begin_in_it(
    start: int, end: int, lines: list[Line], block_bytes: int
) -> None:
    assert owned_lines(b"aa\r\nbb\rcc\n", start, end, block_bytes) == lines


@given(
    st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b"bc", "é".encode()]), max_size=60),
    SIZES,
    SIZES,
    st.one_of(st.none(), st.integers(1, 5)),
)
def test_any_slicing_gives_each_line_once(
    pieces: list[bytes], slice_bytes: int, block_bytes: int, most: int | None
) -> None:
    data = b"".join(pieces)
    found = [
        line
        for start in range(0, len(data), slice_bytes)
        for line in owned_lines(data, start, start + slice_bytes, block_bytes, most)
    ]
    assert found == all_lines(data)


def test_a_batch_is_an_arrow_record_batch_over_the_buffer_itself() -> None:
    (batch,) = read_batches(MemoryStream(b'{"a"}\n\xc3\xa9\n'), 0, 9, 9)
    assert batch.lines.schema.names == ["line"]
    assert batch.lines.column(0).to_pylist() == [b'{"a"}\n', b"\xc3\xa9\n"]
    assert batch.is_utf8
    batch.buffer[1:2] = b"'"
    assert batch.lines.column(0)[0].as_py() == b"{'a\"}\n"


@pytest.mark.parametrize(
    "line",
    [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\x80", b"\xe2\x82"],
)
def test_a_batch_knows_that_a_line_is_not_utf8(line: bytes) -> None:
    data = b"a\n" + line + b"\nb\n"
    (batch,) = read_batches(MemoryStream(data), 0, len(data), len(data))
    assert not batch.is_utf8


@given(st.binary(max_size=12))
def test_arrow_and_python_agree_on_utf8(data: bytes) -> None:
    try:
        data.decode()
        expected = True
    except UnicodeDecodeError:
        expected = False
    batches = list(read_batches(MemoryStream(data), 0, len(data), len(data)))
    assert all(batch.is_utf8 for batch in batches) == expected


def test_many_short_lines_come_in_batches_of_bounded_length() -> None:
    data = b"\n" * (2 * MAX_LINES_PER_BATCH + 1)
    batches = read_batches(MemoryStream(data), 0, len(data), len(data))
    assert [len(batch) for batch in batches] == [MAX_LINES_PER_BATCH, MAX_LINES_PER_BATCH, 1]


def test_only_the_rest_of_the_last_line_is_read_past_the_slice() -> None:
    data = b"a" * 100 + b"\n" + b"b" * 2**20
    stream = MemoryStream(data)
    list(read_batches(stream, 0, 10, len(data), 2**19))
    assert stream.tell() <= 10 + 64 * 2**10


def test_a_line_of_many_blocks_is_read_in_linear_time() -> None:
    seconds = []
    for megabytes in (4, 32):
        data = b"[" + b" " * (megabytes * 2**20) + b"]\n{}\n"
        began = time.perf_counter()
        sizes = [
            border - begin
            for batch in read_batches(MemoryStream(data), 0, len(data), len(data), 2**14)
            for begin, border in pairwise(batch.borders)
        ]
        seconds.append(time.perf_counter() - began)
        assert sizes == [len(data) - 3, 3]
    assert seconds[1] < 40 * seconds[0] + 1  # 8 times the bytes


def test_a_source_that_ends_early_has_changed() -> None:
    with pytest.raises(SourceChanged, match="ended at byte 2"):
        list(read_batches(MemoryStream(b"a\n"), 0, 10, 10))


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@given(text=st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])))
def test_a_narrow_text_has_the_same_length_ascii_and_white_space(end: str, text: str) -> None:
    data = (text + end).encode()
    for batch in read_batches(MemoryStream(data), 0, len(data), len(data)):
        narrow = batch.narrow_text(0, len(data))
        assert len(narrow) == len(text)
        assert max(narrow, default="") <= "\xff"
        for before, after in zip(text, narrow, strict=True):
            assert after == before or (before > "\xff" and after in "?\xa0")
            assert after.isspace() == before.isspace()


def test_a_narrow_text_is_the_same_wherever_its_pieces_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.validation.lines._PIECE_BYTES", 3)
    data = "aé日😀\u3000b".encode()
    (batch,) = read_batches(MemoryStream(data), 0, len(data), len(data))
    assert batch.narrow_text(0, len(data)) == "aé??\xa0b"


def test_a_narrow_text_that_is_not_utf8_is_refused_with_the_place_in_the_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ingest.validation.lines._PIECE_BYTES", 3)
    data = "aé日".encode() + b"\xff"
    (batch,) = read_batches(MemoryStream(data), 0, len(data), len(data))
    with pytest.raises(UnicodeDecodeError) as error:
        batch.narrow_text(0, len(data))
    assert error.value.start == 6
