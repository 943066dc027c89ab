"""How messages name a value: short, on one line, and safe to print."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.rules.records import check_line
from ingest.rules.verdict import cut, key_path, show, show_keys


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true"),
        (1, "1"),
        (1.0, "1.0"),
        (float("nan"), "NaN"),
        ("a", '"a"'),
        ('a"b\n', '"a\\"b\\n"'),
        ("é", '"é"'),
        ("\ud800", '"\\ud800"'),
        ("\x1b[31m\x7f\x85\u2028\u202e", '"\\u001b[31m\\u007f\\u0085\\u2028\\u202e"'),
        ("\U000e0001", '"\\udb40\\udc01"'),
        ([], "an empty list"),
        ([1], "a list of 1 item"),
        ([1] * 1000, "a list of 1,000 items"),
        ({}, "an empty object"),
        ({"a": 1}, "an object with 1 key"),
        ({"a": 1, "b": 1}, "an object with 2 keys"),
    ],
)
def test_a_value_is_shown_as_json_or_by_its_size(value: Any, shown: str) -> None:
    assert show(value) == shown


@pytest.mark.parametrize("value", ["a" * 10**6, "\x00" * 10**6, 10**4000, "é" * 100])
def test_a_long_value_is_cut_to_80_characters(value: Any) -> None:
    assert len(show(value)) == 80
    assert show(value).endswith("…")


def test_text_of_80_characters_is_whole() -> None:
    assert cut("a" * 80) == "a" * 80
    assert cut("a" * 81) == "a" * 79 + "…"
    assert show("a" * 78) == '"' + "a" * 78 + '"'
    assert show("a" * 79) == '"' + "a" * 78 + "…"


def test_keys_are_shown_in_their_order() -> None:
    assert show_keys(["b", "a "]) == '"b", "a "'
    assert show_keys([]) == "no keys"
    assert len(show_keys(["key"] * 10**6)) == 80


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("messages", "messages"),
        ("a_1", "a_1"),
        ("a b", '["a b"]'),
        ("a.b", '["a.b"]'),
        ("", '[""]'),
        ("é", '["é"]'),
        ("1", '["1"]'),
    ],
)
def test_a_key_that_is_no_name_is_quoted_in_paths(key: str, path: str) -> None:
    assert key_path(key) == path


def test_every_message_can_be_written_as_utf_8_on_one_line() -> None:
    line = '{"\\ud800\\n": 1, "text": [{"type": "\\udfff\\r\\u2028"}]}'
    problems = check_line(line, "standard", "fine-tune").problems
    assert len(problems) == 2
    for problem in problems:
        written = f"{problem.path}: {problem.message}"
        assert len(written.encode("utf-8").splitlines()) == len(written.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": [{"type": "image_url"}]}', "found none"),
        ('{"text": [{"type": "image_url", "image_url": null}]}', "found null"),
        ('{"text": [{"type": "text"}]}', "found none"),
        ('{"text": [{"type": "text", "text": []}]}', "found an empty list"),
        ('{"messages": [{"role": "assistant"}]}', "expected content or tool_calls, found none"),
        ('{"messages": [{"role": "user"}]}', "expected content, found none"),
        ('{"messages": [{"role": "wizard", "content": "a"}]}', 'found "wizard"'),
        ('{"id": 1}', 'found "id"'),
    ],
)
def test_messages_say_what_was_found(line: str, said: str) -> None:
    messages = [p.message for p in check_line(line, "standard", "fine-tune").problems]
    assert messages[0].endswith(said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"body": {"model": "m", "prompt": ""}}', "found none"),
        ('{"custom_id": 5, "body": {"model": "m", "prompt": ""}}', "found 5"),
        ('{"custom_id": "", "body": {"model": "m", "prompt": ""}}', 'found ""'),
        ('{"custom_id": "%s", "body": {}}' % ("a" * 65), "found one of 65"),
        ('{"custom_id": "1"}', "expected a body object, found none"),
        ('{"custom_id": "1", "body": null}', "expected a body object, found null"),
    ],
)
def test_messages_on_requests_say_what_was_found(line: str, said: str) -> None:
    messages = [p.message for p in check_line(line, "standard", "batch-api").problems]
    assert messages[0].endswith(said)
