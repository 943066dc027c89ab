"""Warnings: oddities that do not change the verdict."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest.files import RULE_SETS, RuleSet
from ingest.rules.records import check_line
from tests.rules.lines import chat, user


def warned(line: str, rules: RuleSet = "standard") -> list[str]:
    warnings = check_line(line, rules, "fine-tune", with_warnings=True).warnings
    return [f"{w.code} @ {w.path}" for w in warnings]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"text": "a"}', []),
        ('{"text": [NaN]}', ["warn.not_finite @ text[0]"]),
        ('{"text": {"a": -Infinity, "b": 1e999}}', 2 * ["warn.not_finite @ text.{}"]),
        ('{"text": "\\ud83d\\ude00"}', []),
        ('{"text": "\\ude00"}', ["warn.lone_surrogate @ text"]),
        ('{"text\\ud800": 1}', ['warn.lone_surrogate @ ["text\\ud800"]']),
        ('{"text ": 1}', ['warn.untrimmed_key @ ["text "]']),
        ('{"text": [{"\\u00a0a": 1}]}', ['warn.untrimmed_key @ text[0]["\\u00a0a"]']),
    ],
)
def test_oddities_are_found_anywhere(line: str, expected: list[str]) -> None:
    expected = [e.format("ab"[i]) if "{}" in e else e for i, e in enumerate(expected)]
    assert warned(line) == expected


@pytest.mark.parametrize(
    ("tools", "expected"),
    [
        ([], []),
        ([{"type": "function", "function": {"name": "f"}}], []),
        ("f", ["warn.tools @ tools"]),
        (None, ["warn.tools @ tools"]),
        (["f", {"type": "function"}], ["warn.tools @ tools[0]", "warn.tools @ tools[1]"]),
        ([{"type": "function", "function": {"name": 1}}], ["warn.tools @ tools[0]"]),
        ([{"type": "code", "function": {"name": "f"}}], ["warn.tools @ tools[0]"]),
    ],
)
def test_tools_are_functions(tools: Any, expected: list[str]) -> None:
    assert warned(json.dumps({**chat(user("a")), "tools": tools})) == expected


@pytest.mark.parametrize("rules", RULE_SETS)
def test_warnings_are_for_those_who_ask_and_change_nothing(rules: RuleSet) -> None:
    line = '{"messages": [{"role": "assistant", "content": "a", " x": NaN}]}'
    plain = check_line(line, rules, "fine-tune")
    asked = check_line(line, rules, "fine-tune", with_warnings=True)
    assert plain.warnings == ()
    assert len(asked.warnings) == 2
    assert (asked.problems, asked.dataset_format) == (plain.problems, plain.dataset_format)


def test_a_deep_record_is_walked_without_recursion() -> None:
    assert warned('{"text": %s}' % ("[" * 899 + "NaN" + "]" * 899)) == [
        "warn.not_finite @ text" + "[0]" * 899
    ]
