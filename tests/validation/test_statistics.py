"""Warnings and statistics of whole files: the same however a file is cut, and the right ones."""

from __future__ import annotations

import json

import pytest

from ingest.files import Statistics
from ingest.validation.findings import SliceResult
from ingest.validation.merge import join_statistics
from tests.validation.in_memory import report_of

CHAT = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
TOOL = (
    b'{"messages": [{"role": "assistant", "content": null, "tool_calls": []}, '
    b'{"role": "tool", "content": "4"}], "tools": "f"}\n'
)
UNTRIMMED = CHAT.replace(b'"b"', b'"b", "note ": 1')
NAN = CHAT.replace(b'"b"', b'"b", "score": NaN')
HALF = CHAT.replace(b'"b"', b'"\\ud83d"')
BAD = CHAT.replace(b'"user"', b'"human"')


@pytest.mark.parametrize("slice_bytes", [1, 50, 333, 10**6])
def test_warnings_leave_a_file_valid_and_have_their_places(slice_bytes: int) -> None:
    data = CHAT + TOOL + CHAT + UNTRIMMED + NAN + HALF + CHAT
    report = report_of(data, slice_bytes=slice_bytes)
    assert report.valid
    assert [(w.line, w.record, w.code, w.path) for w in report.warnings] == [
        (2, 2, "warn.tools", "tools"),
        (4, 4, "warn.untrimmed_key", 'messages[1]["note "]'),
        (5, 5, "warn.not_finite", "messages[1].score"),
        (6, 6, "warn.lone_surrogate", "messages[1].content"),
    ]
    assert report.warning_count == 4


@pytest.mark.parametrize("slice_bytes", [1, 100, 10**6])
@pytest.mark.parametrize("max_problems", [0, 1, 7, 1000])
def test_the_count_of_warnings_is_exact_and_the_first_are_kept(
    max_problems: int, slice_bytes: int
) -> None:
    data = (CHAT + UNTRIMMED + BAD) * 15
    report = report_of(data, slice_bytes=slice_bytes, max_problems=max_problems)
    everything = report_of(data, max_problems=1000)
    assert everything.warning_count == len(everything.warnings) == 15
    assert report.warning_count == 15
    assert report.warnings == everything.warnings[:max_problems]


def test_a_problem_and_a_warning_of_one_record_are_both_told() -> None:
    report = report_of(BAD.replace(b'"b"', b'"b", "note ": 1'))
    assert [problem.code for problem in report.problems] == ["message.role"]
    assert [warning.code for warning in report.warnings] == ["warn.untrimmed_key"]


@pytest.mark.parametrize("slice_bytes", [1, 50, 10**6])
def test_messages_roles_and_images_are_counted_in_good_and_bad_records(slice_bytes: int) -> None:
    image = '{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}'
    content = f"[{image}, {image}]".encode()
    images = CHAT.replace(b'"a"', content).replace(b'"b"', b'[{"type": "text", "text": "b"}]')
    data = CHAT * 3 + TOOL + BAD + images + b"[]\n" + CHAT[:-1]
    report = report_of(data, slice_bytes=slice_bytes)
    assert report.statistics == Statistics(
        messages=14,
        roles=(("user", 5), ("assistant", 7), ("tool", 1)),
        images=2,
        longest_record_bytes=len(images) - 1,
        longest_record_line=6,
    )


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("slice_bytes", [1, 7, 1000])
def test_the_longest_record_is_the_first_of_equals_without_its_line_end(
    end: bytes, slice_bytes: int
) -> None:
    data = end.join([b'{"text": "a"}', b'{"text": "bc"}', b'{"text": "de"}', b'{"text": "f"}'])
    statistics = report_of(data, slice_bytes=slice_bytes).statistics
    assert (statistics.longest_record_bytes, statistics.longest_record_line) == (14, 2)
    last = report_of(data + end + b'{"text": "ghi"}', slice_bytes=slice_bytes).statistics
    assert (last.longest_record_bytes, last.longest_record_line) == (15, 5)


@pytest.mark.parametrize("slice_bytes", [1, 5, 1000])
def test_blank_lines_that_are_no_records_are_not_the_longest_record(slice_bytes: int) -> None:
    data = b" " * 50 + b"\n{}\n" + b"\t" * 60 + b"\n{} \n"
    statistics = report_of(data, rules="basic", slice_bytes=slice_bytes).statistics
    assert (statistics.longest_record_bytes, statistics.longest_record_line) == (3, 4)
    none = report_of(b"  \n \n", rules="basic", slice_bytes=slice_bytes).statistics
    assert none.longest_record_line is None


def test_a_line_that_is_not_utf8_is_measured_like_any_other() -> None:
    statistics = report_of(CHAT + b"\xff" * 500 + b"\n").statistics
    assert (statistics.longest_record_bytes, statistics.longest_record_line) == (500, 2)


def test_a_file_of_blank_records_has_a_longest_one_of_no_bytes() -> None:
    statistics = report_of(b"\n\n").statistics
    assert (statistics.longest_record_bytes, statistics.longest_record_line) == (0, 1)


def test_lines_of_joined_statistics_count_from_the_first_slice() -> None:
    first = SliceResult(lines=3, statistics=Statistics(2, (("user", 2),), 1, 10, 2))
    second = SliceResult(lines=5, statistics=Statistics(3, (("tool", 1), ("user", 1)), 0, 11, 1))
    third = SliceResult(lines=5, statistics=Statistics(0, (), 0, 11, 1))
    assert join_statistics([first, second, third]) == Statistics(
        5, (("user", 3), ("tool", 1)), 1, 11, 4
    )
    assert join_statistics([]) == Statistics()


def test_a_repeated_tools_field_is_judged_each_time() -> None:
    tools = json.dumps([{"type": "function", "function": {"name": "f"}}]).encode()
    good = CHAT[:-2] + b', "tools": ' + tools + b"}\n"
    odd = CHAT[:-2] + b', "tools": ' + tools.replace(b'"name"', b'"name "') + b"}\n"
    report = report_of((good + odd) * 3)
    assert [(w.line, w.code) for w in report.warnings] == [
        (line, code) for line in (2, 4, 6) for code in ("warn.untrimmed_key", "warn.tools")
    ]
