from __future__ import annotations

import csv
import io
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.differential.generate import generate_csv
from tests.validation.in_memory import codes, places, report_of_whole


@pytest.mark.parametrize(
    ("data", "found"),
    [
        pytest.param("a,b\n1,2\n", [], id="valid"),
        pytest.param("\ufeffa,b\n1,2", [], id="byte-order-mark-and-no-last-line-end"),
        pytest.param("a,a\n1,2\n", [], id="repeated-names"),
        pytest.param('a,b\n"1\n2\r\n,",2\n', [], id="quoted-newlines"),
        pytest.param('a,b\n1,"2\n3', [], id="open-quote-at-the-end"),
        pytest.param('a,b\n"1"x,2\n', [], id="text-after-a-closing-quote"),
        pytest.param('a,b\n1,x"2\n', [], id="quote-inside-a-field"),
        pytest.param("a,b\n\n1,2\n\r\n", [], id="blank-rows-are-skipped"),
        pytest.param("a,b\r1,2\r3,4", [], id="lone-cr"),
        pytest.param("a,b\n1\0,2\n\0,\n", [], id="null-characters"),
        pytest.param("a\n" + "x" * 200_000 + "\n", [], id="long-field"),
        pytest.param("a,b\n,\n", [], id="empty-fields"),
        pytest.param("\na,b\n1,2\n", [(1, None, "csv.no_header")], id="blank-first-line"),
        pytest.param("\r\n", [(1, None, "csv.no_header")], id="only-a-blank-line"),
        pytest.param("a,b\n", [(None, None, "file.no_records")], id="header-alone"),
        pytest.param("a,b\n\n\n", [(None, None, "file.no_records")], id="blank-rows-alone"),
        pytest.param("a,b\n1\n", [(2, 1, "csv.row_width")], id="too-few"),
        pytest.param("a,b\n1,2,3\n", [(2, 1, "csv.row_width")], id="too-many"),
        pytest.param("a,b\n \n", [(2, 1, "csv.row_width")], id="a-space-is-a-field"),
        pytest.param(
            'a,b\n"1\n\n",2\n\n"x\n""\n"\n1,2,3',
            [(6, 2, "csv.row_width"), (9, 3, "csv.row_width")],
            id="line-where-the-row-begins",
        ),
        pytest.param('"a\nb",c\n1,2\n3\n', [(4, 2, "csv.row_width")], id="header-over-two-lines"),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 2, 2**20])
def test_rows_have_as_many_fields_as_the_header(
    data: str, found: list[tuple[int | None, int | None, str]], block_bytes: int
) -> None:
    if block_bytes < 3 and len(data) > 1000:
        pytest.skip("slow")
    report = report_of_whole(data.encode(), "csv", block_bytes=block_bytes)
    assert places(report) == found
    assert report.dataset_format is None


def test_the_message_says_how_many_fields() -> None:
    (problem,) = report_of_whole(b"a,b\n1\n", "csv").problems
    assert problem.message == "expected 2 fields as in the header, found 1 field"


def test_rows_are_counted_without_header_and_blank_ones() -> None:
    assert report_of_whole(b'a\n1\n\n"2\n3"\n', "csv").records == 2


def test_bytes_that_are_not_utf8_come_first_and_other_rows_are_still_checked() -> None:
    report = report_of_whole(b"a,b\n1\n\xff,2\n3\n\xfe,4\n", "csv")
    assert places(report) == [
        (None, None, "file.not_utf8"),
        (2, 1, "csv.row_width"),
        (4, 3, "csv.row_width"),
    ]
    assert "0xff at offset 6 " in report.problems[0].message


@pytest.mark.parametrize("max_problems", [0, 1, 5])
def test_all_problems_are_counted(max_problems: int) -> None:
    report = report_of_whole(b"a,b\n" + b"1\n" * 50, "csv", max_problems=max_problems)
    assert report.problem_count == 50
    assert len(report.problems) == max_problems


def widths(text: str) -> tuple[int, list[int]]:
    """Python's reading of the whole text: the header's width, and those of the rows."""
    lines = io.StringIO(text.replace("\0", "x"), newline="")
    header, *rows = csv.reader(lines)
    return len(header), [len(row) for row in rows if row]


@given(
    st.text(alphabet='",\n\r\0ab ', min_size=1, max_size=40).filter(lambda text: bool(text)),
    st.integers(1, 20),
)
def test_shortening_what_is_quoted_changes_no_width(text: str, block_bytes: int) -> None:
    header, rows = widths(text)
    report = report_of_whole(text.encode(), "csv", block_bytes=block_bytes)
    if not header:
        assert codes(report) == ["csv.no_header"]
        return
    assert report.records == len(rows)
    assert report.problem_count == sum(width != header for width in rows) + (not rows)


@pytest.mark.parametrize("seed", range(50))
def test_random_files_are_read_the_same_in_any_blocks(seed: int) -> None:
    data = generate_csv(random.Random(seed)).data
    assert report_of_whole(data, "csv") == report_of_whole(data, "csv", block_bytes=5)


def test_an_open_quote_does_not_gather_the_rest_of_the_file() -> None:
    data = b'a,b\n1,"2\n' + b"three,four\n" * 500_000
    tracemalloc.start()
    report = report_of_whole(data, "csv", block_bytes=2**16)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.valid
    assert report.records == 1
    assert peak - len(data) < 8 * 2**20
