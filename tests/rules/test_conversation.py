"""Messages one by one, and what they must be together."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.files import RuleSet
from tests.rules.lines import CHECKED, assistant, broken, chat, image, preference, text, user

AT_CONTENT = "message.content_type @ messages[0].content"


@pytest.mark.parametrize("rules", CHECKED)
@pytest.mark.parametrize("messages", [None, 5, True, "", "abc", {}, {"role": "user"}, 0])
def test_messages_are_a_list(messages: Any, rules: RuleSet) -> None:
    assert broken({"messages": messages}, rules) == ["messages.not_list @ messages"]


@pytest.mark.parametrize("rules", CHECKED)
def test_messages_are_not_empty(rules: RuleSet) -> None:
    assert broken({"messages": []}, rules) == ["messages.empty @ messages"]


@pytest.mark.parametrize("rules", CHECKED)
@pytest.mark.parametrize("message", [None, 5, "hi", [], [{"role": "user"}]])
def test_a_message_is_an_object(message: Any, rules: RuleSet) -> None:
    assert broken(chat(message), rules) == ["message.not_object @ messages[0]"]


@pytest.mark.parametrize("rules", CHECKED)
def test_a_message_has_a_role(rules: RuleSet) -> None:
    assert broken(chat({"content": "a"}), rules) == ["message.missing_role @ messages[0]"]


@pytest.mark.parametrize(
    ("message", "strict", "standard"),
    [
        pytest.param({"role": "user"}, True, True, id="user"),
        pytest.param({"role": "user", "tool_calls": []}, True, True, id="user with tool_calls"),
        pytest.param({"role": "system"}, True, True, id="system"),
        pytest.param({"role": "assistant"}, True, True, id="assistant"),
        pytest.param({"role": "assistant", "tool_calls": []}, True, False, id="tool_calls"),
        pytest.param({"role": "assistant", "tool_calls": None}, True, False, id="tool_calls null"),
    ],
)
def test_a_message_has_content(message: dict[str, Any], strict: bool, standard: bool) -> None:
    record = {"messages": [message, user("a"), assistant("b")]}
    problem = "message.missing_content @ messages[0]"
    order = ["message.role_order @ messages[1].role"] if message["role"] == "user" else []
    assert broken(record, "strict") == [problem] * strict + order
    assert broken(record, "standard") == [problem] * standard


def test_a_tool_message_needs_content() -> None:
    tool = {"role": "tool", "tool_calls": []}
    assert broken(chat(tool), "standard") == ["message.missing_content @ messages[0]"]


@pytest.mark.parametrize("rules", CHECKED)
@pytest.mark.parametrize(
    ("token", "passes"),
    [
        ("0", True),
        ("1", True),
        ("-0", True),
        ("2", False),
        ("-1", False),
        ("1.0", False),
        ("0.0", False),
        ("-0.0", False),
        ("1e0", False),
        ("true", False),
        ("false", False),
        ("null", False),
        ('"1"', False),
        ("[]", False),
        ("{}", False),
        ("NaN", False),
        ("9" * 4300, False),
    ],
)
def test_a_weight_is_the_integer_0_or_1(token: str, passes: bool, rules: RuleSet) -> None:
    line = f'{{"messages": [{{"role": "assistant", "content": "a", "weight": {token}}}]}}'
    assert broken(line, rules) == ([] if passes else ["message.weight @ messages[0].weight"])


def test_a_weight_is_looked_at_without_content_too() -> None:
    call = {"role": "assistant", "tool_calls": [], "weight": 2}
    assert broken(chat(user("a"), call), "standard") == ["message.weight @ messages[1].weight"]


@pytest.mark.parametrize("role", ["User", "assistant ", "", "function", None, 1, ["user"], {}])
@pytest.mark.parametrize("rules", CHECKED)
def test_a_role_is_a_known_one(role: Any, rules: RuleSet) -> None:
    record = chat({"role": role, "content": "a"})
    assert broken(record, rules) == ["message.role @ messages[0].role"]


def test_tool_is_a_role_unless_strict() -> None:
    record = chat(user("a"), {"role": "tool", "content": "b"})
    assert broken(record, "standard") == []
    assert broken(record, "strict") == ["message.role @ messages[1].role"]


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        pytest.param("uaua", [], id="turns"),
        pytest.param("suasu", [], id="system in between"),
        pytest.param("ua?a", ["message.role @ messages[2].role"], id="unknown role in between"),
        pytest.param("uua", ["message.role_order @ messages[1].role"], id="user twice"),
        pytest.param("sua", [], id="system first"),
        pytest.param("ssua", ["message.role_order @ messages[1].role"], id="system twice"),
        pytest.param(
            "aaa",
            ["message.role_order @ messages[1].role", "message.role_order @ messages[2].role"],
            id="thrice",
        ),
    ],
)
def test_strict_wants_roles_to_change(roles: str, expected: list[str]) -> None:
    names = {"u": "user", "a": "assistant", "s": "system", "?": "nobody"}
    record = {"messages": [{"role": names[r], "content": "x"} for r in roles]}
    assert broken(record, "strict") == expected
    assert broken(record, "standard") == [e for e in expected if "role_order" not in e]


@pytest.mark.parametrize(
    ("content", "strict", "standard"),
    [
        pytest.param("a", True, True, id="string"),
        pytest.param("", True, True, id="empty string"),
        pytest.param(None, False, True, id="null"),
        pytest.param(5, False, False, id="5"),
        pytest.param(0, False, False, id="0"),
        pytest.param(0.0, False, False, id="0.0"),
        pytest.param(False, False, False, id="false"),
        pytest.param(True, False, False, id="true"),
        pytest.param({}, False, False, id="empty object"),
        pytest.param({"type": "text", "text": "a"}, False, False, id="object"),
    ],
)
def test_content_is_a_string_or_a_list(content: Any, strict: bool, standard: bool) -> None:
    record = chat(user(content))
    assert broken(record, "strict") == ([] if strict else [AT_CONTENT])
    assert broken(record, "standard") == ([] if standard else [AT_CONTENT])


@pytest.mark.parametrize("rules", CHECKED)
def test_somebody_is_the_assistant(rules: RuleSet) -> None:
    record = chat({"role": "system", "content": "a"}, user("b"), answered=False)
    assert broken(record, rules) == ["conversation.no_assistant @ messages"]


@pytest.mark.parametrize("rules", CHECKED)
@pytest.mark.parametrize("broken_message", [{"content": "a"}, {"role": "?", "content": "a"}, None])
def test_a_message_that_might_be_the_assistants_is_told_once(
    broken_message: Any, rules: RuleSet
) -> None:
    assert len(broken(chat(broken_message, answered=False), rules)) == 1


MIXED = "conversation.mixed_content @ messages[{}].content"


@pytest.mark.parametrize(
    ("contents", "strict", "standard"),
    [
        pytest.param(["a", "b", "c"], [], [], id="strings"),
        pytest.param([[text()], [text()]], [], [], id="lists"),
        pytest.param(["a", [text()]], [1], [1], id="string, list"),
        pytest.param([[text()], "a"], [1], [1], id="list, string"),
        pytest.param(["a", [text()], "b", [text()]], [1], [1], id="told once"),
        pytest.param(["", [text()]], [1], [], id="empty string, list"),
        pytest.param(["a", []], [1], [], id="string, empty list"),
        pytest.param([[], "a", [text()]], [1], [2], id="empty list counts as neither"),
    ],
)
def test_contents_are_all_strings_or_all_lists(
    contents: list[Any], strict: list[int], standard: list[int]
) -> None:
    roles = ["user", "assistant"] * len(contents)
    record = {
        "messages": [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)]
    }
    if len(contents) == 1:
        record = chat(*record["messages"])
    assert broken(record, "strict") == [MIXED.format(i) for i in strict]
    assert broken(record, "standard") == [MIXED.format(i) for i in standard]


def test_null_counts_as_neither_string_nor_list_in_standard() -> None:
    messages = [user([text()]), assistant(None), user([text()]), assistant([text()])]
    assert broken({"messages": messages}, "standard") == []


@pytest.mark.parametrize("rules", CHECKED)
@pytest.mark.parametrize(
    ("images", "expected"),
    [
        pytest.param([10], [], id="10 in one"),
        pytest.param([11], ["messages[0].content"], id="11 in one"),
        pytest.param([5, 5], [], id="10 in two"),
        pytest.param([5, 6], ["messages"], id="11 in two"),
        pytest.param([1] * 11, ["messages"], id="11 in eleven"),
        pytest.param([11, 12], ["messages[0].content", "messages[2].content"], id="each content"),
    ],
)
def test_a_record_has_at_most_10_images(
    images: list[int], expected: list[str], rules: RuleSet
) -> None:
    messages = []
    for count in images:
        messages += [user([image()] * count), assistant([text()])]
    problems = [f"conversation.too_many_images @ {path}" for path in expected]
    assert broken({"messages": messages}, rules) == problems


@pytest.mark.parametrize("rules", CHECKED)
@pytest.mark.parametrize(
    ("weight", "passes"), [({}, True), ({"weight": 0}, True), ({"weight": 1}, False)]
)
def test_a_message_with_images_weighs_nothing(
    weight: dict[str, int], passes: bool, rules: RuleSet
) -> None:
    record = {"messages": [user([image()], **weight), assistant([text()])]}
    problem = "content.image_weight @ messages[0].content"
    assert broken(record, rules) == ([] if passes else [problem])


@pytest.mark.parametrize("rules", CHECKED)
def test_a_message_without_images_may_weigh_1(rules: RuleSet) -> None:
    record = {"messages": [user([text()], weight=1), assistant([], weight=1)]}
    assert broken(record, rules) == []


def test_all_problems_are_found_in_document_order() -> None:
    messages = [
        "hello",
        {"role": "user", "weight": 3, "content": 1},
        {"content": [text(None), "x"]},
        {"role": "bot"},
        assistant("a"),
    ]
    assert broken({"x": 1, "messages": messages}, "standard") == [
        "format.extra_key @ x",
        "message.not_object @ messages[0]",
        "message.weight @ messages[1].weight",
        "message.content_type @ messages[1].content",
        "message.missing_role @ messages[2]",
        "content.text @ messages[2].content[0].text",
        "content.item @ messages[2].content[1]",
        "message.role @ messages[3].role",
        "message.missing_content @ messages[3]",
        "conversation.mixed_content @ messages[4].content",
    ]


@pytest.mark.parametrize("rules", CHECKED)
def test_the_input_of_a_preference_is_a_conversation_too(rules: RuleSet) -> None:
    record = preference(input={"messages": [user("a", weight=2), {"role": "?", "content": "b"}]})
    assert broken(record, rules) == [
        "message.weight @ input.messages[0].weight",
        "message.role @ input.messages[1].role",
    ]
