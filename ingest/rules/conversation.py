"""Conversations: a list of messages, as ``messages`` of a record or in a preference's ``input``.

Called by ``records.py`` and ``preference.py``.
"""

from __future__ import annotations

from ingest.files import RuleSet
from ingest.rules.content import MAX_IMAGES, check_content
from ingest.rules.verdict import Problems, show

ROLES_STRICT = ("system", "user", "assistant")
ROLES_STANDARD = (*ROLES_STRICT, "tool")


def check_conversation(
    messages: object,
    rules: RuleSet,
    path: str,
    problems: Problems,
    *,
    needs_assistant: bool,
) -> None:
    """Check a list of messages: each one, then what they must be together.

    Args:
        messages: the decoded value under ``path``, of any type.
        rules: ``strict`` or ``standard``.
        path: where the list is (``messages`` or ``input.messages``).
        problems: receives what is wrong.
        needs_assistant: whether one message must be the assistant's.
    """
    if not isinstance(messages, list):
        problems.add(
            path, "messages.not_list", f"expected a list of messages, found {show(messages)}"
        )
        return
    if not messages:
        problems.add(path, "messages.empty", "expected at least one message, found an empty list")
        return
    conversation = _Conversation(rules, problems)
    for index, message in enumerate(messages):
        conversation.check_message(message, f"{path}[{index}]")
    conversation.check_images(path)
    if needs_assistant:
        conversation.check_assistant(path)


def role_of(message: object) -> str | None:
    """The role of a message, if it has one that is a string."""
    role = message.get("role") if isinstance(message, dict) else None
    return role if isinstance(role, str) else None


class _Conversation:
    """What has to be remembered from message to message of one conversation."""

    def __init__(self, rules: RuleSet, problems: Problems) -> None:
        self._strict = rules == "strict"
        self._roles = ROLES_STRICT if self._strict else ROLES_STANDARD
        self._problems = problems
        self._previous_role: str | None = None
        self._has_assistant = False
        self._all_roles_known = True
        self._content_kind: str | None = None
        self._content_is_mixed = False
        self._images = 0
        self._most_images_in_one_content = 0

    def check_message(self, message: object, path: str) -> None:
        """Check one message against the rules and against those before it."""
        if not isinstance(message, dict):
            self._problems.add(
                path, "message.not_object", f"expected a message object, found {show(message)}"
            )
            self._previous_role = None
            self._all_roles_known = False
            return
        role = self._check_role(message, path)
        weight = self._check_weight(message, path)
        self._check_presence(message, role, path)
        if "content" in message:
            self._check_content(message["content"], role, weight, path)

    def check_images(self, path: str) -> None:
        """Check the number of images in the whole conversation."""
        # One content over the limit has been told already; the sum would only repeat it.
        if self._images > MAX_IMAGES >= self._most_images_in_one_content:
            self._problems.add(
                path,
                "conversation.too_many_images",
                f"expected at most {MAX_IMAGES} images in a record, found {self._images:,}",
            )

    def check_assistant(self, path: str) -> None:
        """Check that the assistant speaks, unless some message does not say who does."""
        if self._all_roles_known and not self._has_assistant:
            self._problems.add(
                path,
                "conversation.no_assistant",
                'expected at least one message with the role "assistant", found none',
            )

    def _check_role(self, message: dict[str, object], path: str) -> str | None:
        """Return the role if it is one of the known ones."""
        previous, self._previous_role = self._previous_role, None
        if "role" not in message:
            self._all_roles_known = False
            self._problems.add(path, "message.missing_role", "expected a role, found none")
            return None
        role = message["role"]
        if not isinstance(role, str) or role not in self._roles:
            self._all_roles_known = False
            self._problems.add(
                f"{path}.role",
                "message.role",
                f"expected one of the roles {', '.join(self._roles)}, found {show(role)}",
            )
            return None
        if self._strict and role == previous:
            self._problems.add(
                f"{path}.role",
                "message.role_order",
                f'expected another role than that of the message before, found "{role}" again',
            )
        self._previous_role = role
        self._has_assistant |= role == "assistant"
        return role

    def _check_weight(self, message: dict[str, object], path: str) -> int | None:
        """Return the weight if there is one and it is 0 or 1."""
        if "weight" not in message:
            return None
        weight = message["weight"]
        # bool is a subclass of int, and 1.0 equals 1: neither is the integer token.
        if type(weight) is int and weight in (0, 1):
            return weight
        self._problems.add(
            f"{path}.weight",
            "message.weight",
            f"expected a weight that is the integer 0 or 1, found {show(weight)}",
        )
        return None

    def _check_presence(self, message: dict[str, object], role: str | None, path: str) -> None:
        if "content" in message:
            return
        expected = "expected content"
        if not self._strict and role in ("assistant", None):
            if "tool_calls" in message:
                return
            if role == "assistant":
                expected = "expected content or tool_calls"
        self._problems.add(path, "message.missing_content", f"{expected}, found none")

    def _check_content(
        self, content: object, role: str | None, weight: int | None, path: str
    ) -> None:
        if not self._strict and (content is None or content in ("", [])):
            return
        path = f"{path}.content"
        images = check_content(content, role, path, self._problems)
        self._images += images
        self._most_images_in_one_content = max(self._most_images_in_one_content, images)
        if images and weight:
            self._problems.add(
                path,
                "content.image_weight",
                f"expected no weight, or weight 0, on a message with images, found {weight}",
            )
        self._check_kind(content, path)

    def _check_kind(self, content: object, path: str) -> None:
        """Check that contents are all strings or all lists; tell the first that differs."""
        if not isinstance(content, str | list):
            return
        kind = "string" if isinstance(content, str) else "list"
        if self._content_kind is None:
            self._content_kind = kind
        elif kind != self._content_kind and not self._content_is_mixed:
            self._content_is_mixed = True
            self._problems.add(
                path,
                "conversation.mixed_content",
                f"expected a {self._content_kind} like the contents before, found a {kind}",
            )
