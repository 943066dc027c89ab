"""Whole JSON Lines files, cut in every way: the report is the same, and it is the right one."""

from __future__ import annotations

import json
import pickle
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.files import PURPOSES, RULE_SETS, Purpose, RuleSet
from ingest.rules import batch
from ingest.validation import jsonl, merge
from tests.differential import sequential
from tests.differential.generate import generate_jsonl
from tests.validation.in_memory import check_slices, codes, places, report_of

GOOD = b'{"text": "a"}\n'
CHAT = b'{"messages": [{"role": "assistant", "content": "a"}]}\n'
BAD = b'{"text": 5}\n'


def test_a_valid_file_has_records_and_a_format() -> None:
    report = report_of(GOOD * 3)
    assert report.valid
    assert (report.records, report.dataset_format, report.problems) == (3, "general", ())


def test_a_problem_has_its_line_and_record_in_the_file() -> None:
    report = report_of(GOOD * 3 + BAD + GOOD, slice_bytes=20)
    (problem,) = report.problems
    assert (problem.line, problem.record, problem.path) == (4, 4, "text")
    assert problem.code == "message.content_type"


def test_an_empty_file_is_said_to_be_empty_and_nothing_else() -> None:
    assert codes(report_of(b"")) == ["file.empty"]


@pytest.mark.parametrize("slice_bytes", [1, 2, 1000])
def test_blank_lines_are_no_records_in_basic_and_malformed_elsewhere(slice_bytes: int) -> None:
    data = "\n \t\n{}\n\u3000\n\x1c\n[]".encode()
    basic = report_of(data, rules="basic", slice_bytes=slice_bytes)
    assert basic.records == 2
    assert places(basic) == [(6, 2, "json.not_object")]
    standard = report_of(data, purpose="eval", slice_bytes=slice_bytes)
    assert standard.records == 6
    assert [line for line, _, _ in places(standard)] == [1, 2, 4, 5, 6]


def test_a_file_of_blank_lines_has_no_records_in_basic() -> None:
    assert codes(report_of(b" \n\n\t\r\n", rules="basic", slice_bytes=2)) == ["file.no_records"]


@pytest.mark.parametrize("slice_bytes", [1, 7, 1000])
def test_a_byte_order_mark_is_told_and_the_line_checked_without_it(slice_bytes: int) -> None:
    report = report_of(b"\xef\xbb\xbf" + GOOD + BAD, slice_bytes=slice_bytes)
    assert places(report) == [(1, 1, "file.bom"), (2, 2, "message.content_type")]
    assert report.dataset_format == "general"


def test_a_byte_order_mark_further_down_is_malformed_json() -> None:
    assert places(report_of(GOOD + b"\xef\xbb\xbf" + GOOD)) == [(2, 2, "json.malformed")]


@pytest.mark.parametrize("slice_bytes", [1, 5, 1000])
@pytest.mark.parametrize(
    ("bad", "offset"),
    [(b'"\xff"', 1), (b"\xe6\x97", 0), (b"ab\xed\xa0\x80", 2), (b"\xe6\x97\xa5\xf0\x9f\x98", 3)],
)
def test_bytes_that_are_not_utf8_are_told_first_with_their_offset(
    bad: bytes, offset: int, slice_bytes: int
) -> None:
    data = BAD + GOOD + bad + b"\n" + BAD + bad
    with pytest.raises(UnicodeDecodeError) as expected:
        data.decode()
    report = report_of(data, slice_bytes=slice_bytes)
    assert places(report) == [
        (None, None, "file.not_utf8"),
        (1, 1, "message.content_type"),
        (4, 4, "message.content_type"),
    ]
    assert expected.value.start == len(BAD + GOOD) + offset
    assert f"offset {expected.value.start:,} " in report.problems[0].message
    assert "2 lines are not UTF-8" in report.problems[0].message
    assert report.problem_count == 3
    assert report.records == 5


@pytest.mark.parametrize("slice_bytes", [1, 30, 1000])
def test_the_first_record_that_fits_one_format_decides_for_all(slice_bytes: int) -> None:
    data = b'{"a": 1}\n' + BAD + CHAT + GOOD + CHAT + b"[]\n"
    report = report_of(data, slice_bytes=slice_bytes)
    assert report.dataset_format == "general"
    assert places(report) == [
        (1, 1, "format.unknown"),
        (2, 2, "message.content_type"),
        (3, 3, "format.mixed"),
        (5, 5, "format.mixed"),
        (6, 6, "json.not_object"),
    ]
    assert "general like the first record (line 2), found conversation" in (
        report.problems[2].message
    )


@pytest.mark.parametrize("slice_bytes", [1, 100, 10**6])
@pytest.mark.parametrize("max_problems", [0, 1, 7, 1000])
def test_the_count_is_exact_and_the_first_problems_are_kept(
    max_problems: int, slice_bytes: int
) -> None:
    data = (GOOD + CHAT + b'{"text": 5, "a": 1}\n') * 50
    report = report_of(data, slice_bytes=slice_bytes, max_problems=max_problems)
    everything = report_of(data, max_problems=1000)
    assert everything.problem_count == len(everything.problems) == 150
    assert report.problem_count == 150
    assert report.problems == everything.problems[:max_problems]


@settings(deadline=None, max_examples=200)
@given(
    st.integers(0, 10**6),
    st.sampled_from(RULE_SETS),
    st.sampled_from(PURPOSES),
    st.integers(1, 400),
    st.integers(1, 300),
    st.sampled_from([0, 1, 3, 1000]),
)
def test_the_report_does_not_depend_on_slices_and_blocks(
    seed: int,
    rules: RuleSet,
    purpose: Purpose,
    slice_bytes: int,
    block_bytes: int,
    max_problems: int,
) -> None:
    data = generate_jsonl(random.Random(seed)).data
    whole = report_of(data, rules=rules, purpose=purpose, max_problems=max_problems)
    assert whole == report_of(
        data,
        rules=rules,
        purpose=purpose,
        max_problems=max_problems,
        slice_bytes=slice_bytes,
        block_bytes=block_bytes,
    )


@pytest.mark.parametrize("rules", RULE_SETS)
@pytest.mark.parametrize("seed", range(100))
def test_the_report_is_that_of_the_simplest_reader(seed: int, rules: RuleSet) -> None:
    file = generate_jsonl(random.Random(seed))
    expected, records = sequential.check_jsonl(file.data, rules, file.purpose)
    report = report_of(file.data, rules=rules, purpose=file.purpose, max_problems=10**6)
    if "file.not_utf8" in codes(report):
        assert [finding.code for finding in expected] == ["file.not_utf8"]
        return
    assert report.records == records
    found = [(p.line, p.record, p.path, p.code) for p in report.problems]
    assert sorted(found, key=str) == sorted(
        ((f.line, f.record, f.path, f.code) for f in expected), key=str
    )


def request(custom_id: str, body: str = '{"model": "m", "prompt": "p"}') -> bytes:
    return f'{{"custom_id": {json.dumps(custom_id)}, "body": {body}}}\n'.encode()


@pytest.mark.parametrize("slice_bytes", [1, 60, 10**6])
def test_a_custom_id_used_twice_is_told_with_both_lines(slice_bytes: int) -> None:
    data = request("a") + request("b") + request("a", "5") + request("a")
    report = report_of(data, purpose="batch-api", slice_bytes=slice_bytes)
    assert places(report) == [
        (3, 3, "batch.body"),
        (3, 3, "batch.custom_id"),
        (4, 4, "batch.custom_id"),
    ]
    assert '"a" on line 1 and line 4' in report.problems[2].message
    assert report.dataset_format is None


@pytest.mark.parametrize("slice_bytes", [1, 100, 10**6])
def test_too_many_requests_are_told_and_their_ids_not_kept(
    monkeypatch: pytest.MonkeyPatch, slice_bytes: int
) -> None:
    monkeypatch.setattr(jsonl, "MAX_REQUESTS", 3)
    monkeypatch.setattr(merge, "MAX_REQUESTS", 3)
    data = request("a") + request("b") + request("a") + request("b") + request("c") * 90
    results = check_slices(data, purpose="batch-api", slice_bytes=slice_bytes)
    assert all(len(result.request_ids) <= 3 for result in results)
    report = report_of(data, purpose="batch-api", slice_bytes=slice_bytes)
    assert places(report) == [(None, None, "batch.too_many"), (3, 3, "batch.custom_id")]
    assert "at most 3 requests, found 94" in report.problems[0].message


def test_ids_are_not_kept_of_what_lies_past_the_largest_batch_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert batch.MAX_BATCH_FILE_BYTES == jsonl.MAX_BATCH_FILE_BYTES == 100_000_000
    monkeypatch.setattr(jsonl, "MAX_BATCH_FILE_BYTES", 10)
    (result,) = check_slices(request("a") + request("a"), purpose="batch-api")
    assert [request_id.line for request_id in result.request_ids] == [1]


def test_a_result_is_small_whatever_the_slice_holds() -> None:
    (result,) = check_slices((GOOD + CHAT + BAD + b"\xff\n") * 20_000)
    assert result.records == 80_000
    assert len(pickle.dumps(result)) < 30_000
    assert pickle.loads(pickle.dumps(result)) == result


def test_one_odd_record_among_others_does_not_turn_the_fast_path_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked = []

    def counting(text: str, rules: RuleSet, purpose: Purpose, *, with_warnings: bool) -> object:
        checked.append(text)
        return check_line(text, rules, purpose, with_warnings=with_warnings)

    check_line = jsonl.check_line
    monkeypatch.setattr(jsonl, "check_line", counting)
    report = report_of((GOOD * 50 + BAD + CHAT) * 20, block_bytes=300)
    assert report.problem_count == 40
    assert len(checked) == 41


def test_a_file_of_two_halves_is_read_fast_in_both(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []

    def counting(text: str, rules: RuleSet, purpose: Purpose, *, with_warnings: bool) -> object:
        checked.append(text)
        return check_line(text, rules, purpose, with_warnings=with_warnings)

    check_line = jsonl.check_line
    monkeypatch.setattr(jsonl, "check_line", counting)
    report = report_of(GOOD * 500 + CHAT * 500, block_bytes=300)
    assert report.problem_count == 500
    assert len(checked) < 50
