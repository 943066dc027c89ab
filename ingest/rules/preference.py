"""Preference records: a conversation, and two answers to it, the better and the worse.

Called by ``records.py``.
"""

from __future__ import annotations

from ingest.files import RuleSet
from ingest.rules.content import check_content
from ingest.rules.conversation import check_conversation, role_of
from ingest.rules.verdict import Problems, show

OUTPUT_KEYS = ("preferred_output", "non_preferred_output")


def check_preference(record: dict[str, object], rules: RuleSet, problems: Problems) -> None:
    """Check the values of a record that has the keys of the preference format."""
    _check_input(record["input"], rules, problems)
    for key in OUTPUT_KEYS:
        _check_output(record[key], rules, key, problems)


def _check_input(value: object, rules: RuleSet, problems: Problems) -> None:
    expected = "expected an object with messages"
    if not isinstance(value, dict):
        problems.add("input", "preference.input", f"{expected}, found {show(value)}")
        return
    if "messages" not in value:
        problems.add("input", "preference.input", f"{expected}, found none")
        return
    messages = value["messages"]
    check_conversation(messages, rules, "input.messages", problems, needs_assistant=False)
    if isinstance(messages, list) and messages and role_of(messages[-1]) == "assistant":
        problems.add(
            f"input.messages[{len(messages) - 1}].role",
            "preference.last_role",
            'expected a last message that is not from the assistant, found the role "assistant"',
        )


def _check_output(output: object, rules: RuleSet, key: str, problems: Problems) -> None:
    if not isinstance(output, list) or len(output) != 1:
        problems.add(
            key,
            "preference.output",
            f"expected a list of exactly one message, found {show(output)}",
        )
        return
    message, path = output[0], f"{key}[0]"
    if not isinstance(message, dict):
        problems.add(path, "preference.output", f"expected a message object, found {show(message)}")
        return
    if message.get("role") != "assistant":
        found = show(message["role"]) if "role" in message else "none"
        problems.add(
            f"{path}.role",
            "preference.output_role",
            f'expected the role "assistant", found {found}',
        )
    if "content" in message:
        check_content(message["content"], "assistant", f"{path}.content", problems)
    elif rules == "strict" or "tool_calls" not in message:
        wanted = "content" if rules == "strict" else "content or tool_calls"
        problems.add(path, "preference.output_content", f"expected {wanted}, found none")
