"""Which keys a record may have."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.files import RuleSet
from ingest.rules.records import check_line
from tests.rules.lines import CHECKED, assistant, broken, chat, preference, user

UNKNOWN = ["format.unknown"]
AMBIGUOUS = ["format.ambiguous"]


@pytest.mark.parametrize("rules", CHECKED)
@pytest.mark.parametrize(
    ("line", "dataset_format"),
    [
        ('{"messages": [{"role": "assistant", "content": "a"}]}', "conversation"),
        ('{"prompt": "a", "completion": "b"}', "instruction"),
        ('{"completion": "b", "prompt": "a"}', "instruction"),
        ('{"text": "a"}', "general"),
        ('{"text": null}', "general"),
    ],
)
def test_the_format_is_told_by_the_keys(line: str, dataset_format: str, rules: RuleSet) -> None:
    assert check_line(line, rules, "fine-tune").dataset_format == dataset_format


@pytest.mark.parametrize("rules", CHECKED)
@pytest.mark.parametrize(
    ("record", "expected"),
    [
        pytest.param({}, UNKNOWN, id="no keys"),
        pytest.param({"prompt": "a"}, UNKNOWN, id="half an instruction"),
        pytest.param({"Text": "a"}, UNKNOWN, id="case counts"),
        pytest.param({"text ": "a"}, UNKNOWN, id="spaces count"),
        pytest.param({"input": {}, "preferred_output": []}, UNKNOWN, id="two of three keys"),
        pytest.param({"text": "a", **chat()}, AMBIGUOUS, id="two formats"),
        pytest.param(
            {"text": 1, "prompt": 1, "completion": 1, "x": 1}, AMBIGUOUS, id="two, one key too many"
        ),
        pytest.param(
            {"text": "a", "prompt": "b"}, ["format.extra_key @ prompt"], id="half a second"
        ),
        pytest.param(
            {"id": 1, "text": "a", "a b": 2},
            ["format.extra_key @ id", 'format.extra_key @ ["a b"]'],
            id="each extra key",
        ),
        pytest.param(
            {"text": "a", "tools": []}, ["format.extra_key @ tools"], id="tools elsewhere"
        ),
        pytest.param(
            {"x": 1, "text": 5},
            ["format.extra_key @ x", "message.content_type @ text"],
            id="values are checked all the same",
        ),
    ],
)
def test_keys_fit_one_format(record: dict[str, Any], expected: list[str], rules: RuleSet) -> None:
    assert broken(record, rules) == expected


@pytest.mark.parametrize("tools", [[], None, 5, [{"type": "function"}]])
def test_a_conversation_may_have_tools_unless_strict(tools: Any) -> None:
    record = {**chat(), "tools": tools}
    assert broken(record, "standard") == []
    assert broken(record, "strict") == ["format.extra_key @ tools"]


@pytest.mark.parametrize("rules", CHECKED)
def test_keys_are_free_inside_messages_items_and_input(rules: RuleSet) -> None:
    item = {"type": "image_url", "image_url": {"url": "data:image/png;base64,", "x": 1}, "x": 1}
    record = {"messages": [user([item], x=1), assistant([], x=1)]}
    assert broken(record, rules) == []
    assert broken(preference(input={"messages": [user("a")], "tools": 1}), rules) == []


def test_of_repeated_keys_the_last_counts() -> None:
    assert broken('{"text": 1, "text": "a"}', "standard") == []
    assert broken('{"text": "a", "text": 1}', "standard") == ["message.content_type @ text"]


@pytest.mark.parametrize("rules", CHECKED)
def test_an_ambiguous_record_has_no_format(rules: RuleSet) -> None:
    line = '{"text": "a", "prompt": "a", "completion": "b"}'
    assert check_line(line, rules, "fine-tune").dataset_format is None
