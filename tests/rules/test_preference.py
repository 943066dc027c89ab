"""Preference records."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.files import RuleSet
from tests.rules.lines import CHECKED, assistant, broken, preference, text, user

OUTPUTS = ["preferred_output", "non_preferred_output"]


@pytest.mark.parametrize("rules", CHECKED)
def test_a_preference_record_passes(rules: RuleSet) -> None:
    assert broken(preference(), rules) == []


@pytest.mark.parametrize("rules", CHECKED)
@pytest.mark.parametrize("value", [None, 5, "messages", [], [user("a")], {}, {"Messages": []}])
def test_input_is_an_object_with_messages(value: Any, rules: RuleSet) -> None:
    assert broken(preference(input=value), rules) == ["preference.input @ input"]


@pytest.mark.parametrize("rules", CHECKED)
@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param([], ["messages.empty @ input.messages"], id="empty"),
        pytest.param(None, ["messages.not_list @ input.messages"], id="null"),
        pytest.param([user("a")], [], id="no assistant needed"),
        pytest.param(
            [user("a"), assistant("b")],
            ["preference.last_role @ input.messages[1].role"],
            id="assistant last",
        ),
        pytest.param([assistant("a"), user("b")], [], id="assistant first"),
        pytest.param(
            [user("a"), 5], ["message.not_object @ input.messages[1]"], id="last is no message"
        ),
        pytest.param(
            [user([text()]), assistant([text()]), user("b")],
            ["conversation.mixed_content @ input.messages[2].content"],
            id="mixed",
        ),
    ],
)
def test_input_is_a_conversation_that_waits_for_an_answer(
    messages: Any, expected: list[str], rules: RuleSet
) -> None:
    assert broken(preference(input={"messages": messages}), rules) == expected


def test_input_may_end_with_any_role_but_the_assistants() -> None:
    for role in ("system", "user", "tool"):
        messages = [{"role": role, "content": "a"}]
        assert broken(preference(input={"messages": messages}), "standard") == []


@pytest.mark.parametrize("rules", CHECKED)
@pytest.mark.parametrize("key", OUTPUTS)
@pytest.mark.parametrize(
    ("output", "path"),
    [
        pytest.param(None, "", id="null"),
        pytest.param("a", "", id="string"),
        pytest.param(assistant("a"), "", id="object"),
        pytest.param([], "", id="empty"),
        pytest.param([assistant("a"), assistant("b")], "", id="two"),
        pytest.param(["a"], "[0]", id="string in a list"),
        pytest.param([None], "[0]", id="null in a list"),
    ],
)
def test_an_output_is_a_list_of_one_message(
    key: str, output: Any, path: str, rules: RuleSet
) -> None:
    assert broken(preference(**{key: output}), rules) == [f"preference.output @ {key}{path}"]


@pytest.mark.parametrize("rules", CHECKED)
@pytest.mark.parametrize("key", OUTPUTS)
@pytest.mark.parametrize(
    "message",
    [{"content": "a"}, user("a"), {"role": None, "content": "a"}, {"role": [], "content": "a"}],
)
def test_an_output_is_the_assistants(key: str, message: Any, rules: RuleSet) -> None:
    problems = broken(preference(**{key: [message]}), rules)
    assert problems == [f"preference.output_role @ {key}[0].role"]


NO_CONTENT = ["preference.output_content @ {}[0]"]
NOT_CONTENT = ["message.content_type @ {}[0].content"]


@pytest.mark.parametrize("key", OUTPUTS)
@pytest.mark.parametrize(
    ("more", "strict", "standard"),
    [
        pytest.param({}, NO_CONTENT, NO_CONTENT, id="nothing"),
        pytest.param({"tool_calls": []}, NO_CONTENT, [], id="tool_calls"),
        pytest.param({"tool_calls": None}, NO_CONTENT, [], id="tool_calls null"),
        pytest.param({"content": ""}, [], [], id="empty string"),
        pytest.param({"content": []}, [], [], id="empty list"),
        pytest.param({"content": [text()]}, [], [], id="items"),
        pytest.param({"content": None}, NOT_CONTENT, NOT_CONTENT, id="null"),
        pytest.param({"content": 0}, NOT_CONTENT, NOT_CONTENT, id="0"),
        pytest.param({"content": {}}, NOT_CONTENT, NOT_CONTENT, id="empty object"),
        pytest.param(
            {"content": None, "tool_calls": []}, NOT_CONTENT, NOT_CONTENT, id="null, tool_calls"
        ),
    ],
)
def test_an_output_has_content(
    key: str, more: dict[str, Any], strict: list[str], standard: list[str]
) -> None:
    record = preference(**{key: [{"role": "assistant", **more}]})
    assert broken(record, "strict") == [problem.format(key) for problem in strict]
    assert broken(record, "standard") == [problem.format(key) for problem in standard]


@pytest.mark.parametrize("rules", CHECKED)
@pytest.mark.parametrize("weight", [2, None, 1.0, "x"])
def test_the_weight_of_an_output_is_not_looked_at(weight: Any, rules: RuleSet) -> None:
    assert broken(preference(preferred_output=[assistant("a", weight=weight)]), rules) == []


@pytest.mark.parametrize("rules", CHECKED)
def test_outputs_need_not_have_the_kind_of_content_of_the_input(rules: RuleSet) -> None:
    assert broken(preference(preferred_output=[assistant([text()])]), rules) == []


@pytest.mark.parametrize("rules", CHECKED)
def test_all_three_keys_are_looked_at(rules: RuleSet) -> None:
    record = {"input": 1, "preferred_output": 1, "non_preferred_output": [{}]}
    assert broken(record, rules) == [
        "preference.input @ input",
        "preference.output @ preferred_output",
        "preference.output_role @ non_preferred_output[0].role",
        "preference.output_content @ non_preferred_output[0]",
    ]
