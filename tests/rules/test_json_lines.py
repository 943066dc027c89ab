"""The rules on JSON itself: what a line must be under every rule set."""

from __future__ import annotations

import re
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.files import PURPOSES, RULE_SETS, Purpose, RuleSet
from ingest.rules.json_text import nesting_exceeds
from ingest.rules.records import check_line
from tests.rules.lines import broken

MALFORMED = ["json.malformed"]
NOT_OBJECT = ["json.not_object"]


@pytest.mark.parametrize("rules", RULE_SETS)
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("{}", [], id="empty object"),
        pytest.param(' \t{"a": 1}\t ', [], id="space and tab around"),
        pytest.param('{"a": NaN, "b": -Infinity, "c": Infinity}', [], id="numbers Python adds"),
        pytest.param('{"a": "\\ud800", "b": "\\udc00\\ud800"}', [], id="lone surrogate escapes"),
        pytest.param('{"a": 1, "a": 2}', [], id="a key twice"),
        pytest.param('{"a": "\u2028\u0085\x7f"}', [], id="line ends that are not ours, in strings"),
        pytest.param('{"a": -0, "b": 1e400, "c": -1E-400}', [], id="odd numbers"),
        pytest.param('{"a": %s}' % ("9" * 4300), [], id="4300 digits"),
        pytest.param('{"a": -%s}' % ("9" * 4300), [], id="4300 digits and a sign"),
        pytest.param('{"a": %s}' % ("9" * 4301), MALFORMED, id="4301 digits"),
        pytest.param('{"a": %s.0}' % ("9" * 9000), [], id="float of 9000 digits"),
        pytest.param("{", MALFORMED, id="cut"),
        pytest.param('{"a": 1,}', MALFORMED, id="trailing comma"),
        pytest.param("{'a': 1}", MALFORMED, id="single quotes"),
        pytest.param('{"a": 1} {"a": 1}', MALFORMED, id="two records"),
        pytest.param('{"a": 1} // done', MALFORMED, id="comment"),
        pytest.param('{"a": "\t"}', MALFORMED, id="raw tab in a string"),
        pytest.param('{"a": "\\x41"}', MALFORMED, id="unknown escape"),
        pytest.param('{"a": 01}', MALFORMED, id="leading zero"),
        pytest.param('{"a": +1}', MALFORMED, id="plus sign"),
        pytest.param('{"a": nan}', MALFORMED, id="nan in lower case"),
        pytest.param('\ufeff{"a": 1}', MALFORMED, id="byte-order mark on a later line"),
        pytest.param("\x00", MALFORMED, id="NUL"),
        pytest.param("[{}]", NOT_OBJECT, id="list"),
        pytest.param('"{}"', NOT_OBJECT, id="string"),
        pytest.param("1", NOT_OBJECT, id="number"),
        pytest.param("null", NOT_OBJECT, id="null"),
        pytest.param("NaN", NOT_OBJECT, id="NaN"),
    ],
)
def test_a_line_is_one_json_object(line: str, expected: list[str], rules: RuleSet) -> None:
    assert broken(line, rules, "eval") == expected


@pytest.mark.parametrize("rules", RULE_SETS)
@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        pytest.param("[" * 899 + "]" * 899, [], id="900 lists"),
        pytest.param("[" * 899 + "]" * 899 + ', "b": [{}]', [], id="900 lists, and more lists"),
        pytest.param("[" * 900 + "]" * 900, ["json.too_deep"], id="901 lists"),
        pytest.param('{"a":' * 899 + "1" + "}" * 899, [], id="900 objects"),
        pytest.param('{"a":' * 900 + "1" + "}" * 900, ["json.too_deep"], id="901 objects"),
        pytest.param("[" * 100_000 + "]" * 100_000, ["json.too_deep"], id="100001 lists"),
        pytest.param("[" * 100_000, ["json.too_deep"], id="100000 lists, never closed"),
        pytest.param("[" + "[]," * 2000 + "[]]", [], id="2001 lists side by side"),
        pytest.param('"%s"' % ("[" * 2000), [], id="brackets in a string"),
        pytest.param('"\\"%s"' % ("[" * 2000), [], id="brackets after an escaped quote"),
        pytest.param('"\\\\", "b":' + "[" * 900 + "]" * 900, ["json.too_deep"], id="escaped slash"),
    ],
)
def test_nesting_is_counted_outside_strings(
    inner: str, expected: list[str], rules: RuleSet
) -> None:
    assert broken(f'{{"a": {inner}}}', rules, "eval") == expected


def test_a_string_that_never_ends_is_scanned_once() -> None:
    # Quadratic scanning would take minutes here.
    assert not nesting_exceeds('"' + '\\"[' * 300_000, 900)
    assert not nesting_exceeds('"' + "[" * 1000 + "\\", 900)


@settings(max_examples=1000, deadline=None)
@given(text=st.text(alphabet='"\\\\[]{}}, a', max_size=60), levels=st.integers(0, 4))
def test_nesting_is_counted_outside_of_strings(text: str, levels: int) -> None:
    depth = deepest = 0
    outside = re.sub(r'"(?:[^"\\]|\\.)*("|\\?$)', "", text)
    for character in outside:
        depth += (character in "{[") - (character in "}]")
        deepest = max(deepest, depth)
    assert nesting_exceeds(text, levels) == (deepest > levels)


def test_deep_lines_are_read_from_a_deep_stack() -> None:
    line = '{"a": %s}' % ("[" * 899 + "]" * 899)
    verdicts = []

    def descend(levels: int) -> None:
        if levels:
            descend(levels - 1)
        else:
            verdicts.append(check_line(line, "standard", "eval"))

    # In a thread, whose stack does not depend on how the tests were started.
    thread = threading.Thread(target=descend, args=(sys.getrecursionlimit() - 60,))
    thread.start()
    thread.join()
    assert [v.problems for v in verdicts] == [()]


def test_a_malformed_deep_line_is_malformed_from_a_deep_stack_too() -> None:
    line = '{"a": %s, }' % ("[" * 899 + "]" * 899)
    assert broken(line, "standard", "eval") == MALFORMED


BLANK_LINES = ["", " ", "\t \t", "\xa0", "\u3000", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"]


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("line", BLANK_LINES)
def test_basic_skips_blank_lines(line: str, purpose: Purpose) -> None:
    verdict = check_line(line, "basic", purpose)
    assert verdict.skipped
    assert verdict.valid


@pytest.mark.parametrize("rules", ["strict", "standard"])
@pytest.mark.parametrize("line", BLANK_LINES)
def test_strict_and_standard_refuse_blank_lines(line: str, rules: RuleSet) -> None:
    assert broken(line, rules) == MALFORMED
    assert not check_line(line, rules, "fine-tune").skipped


@pytest.mark.parametrize("space", ["\xa0", "\u3000", "\x0b", "\x0c", "\x1f", "\x85", "\u2029"])
def test_only_basic_trims_wide_white_space(space: str) -> None:
    line = f'{space}{{"text": "a"}}{space}'
    assert broken(line, "basic") == []
    assert broken(line, "standard") == MALFORMED
    assert broken(line, "strict") == MALFORMED


def test_no_rule_set_trims_a_byte_order_mark() -> None:
    assert broken("\ufeff", "basic") == MALFORMED


@pytest.mark.parametrize("purpose", ["eval", "calibration"])
@pytest.mark.parametrize("rules", RULE_SETS)
def test_eval_and_calibration_ask_for_an_object_and_no_more(
    rules: RuleSet, purpose: Purpose
) -> None:
    assert check_line('{"messages": 5}', rules, purpose).problems == ()
    assert check_line('{"text": "a"}', rules, purpose).dataset_format is None


def test_basic_looks_into_no_fine_tuning_record() -> None:
    verdict = check_line('{"messages": 5, "text": null}', "basic", "fine-tune")
    assert verdict.problems == ()
    assert verdict.dataset_format is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "expected a JSON object, found a blank line"),
        ('{"a"', "the end of the line at column 5"),
        ('{"a": x}', 'column 7, before "x}"'),
        ("9" * 4301, "an integer of more than 4,300 digits"),
    ],
)
def test_messages_say_where_json_breaks(line: str, said: str) -> None:
    (problem,) = check_line(line, "standard", "fine-tune").problems
    assert said in problem.message
