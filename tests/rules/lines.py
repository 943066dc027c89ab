"""Lines to check, and the short form in which tables tell what the rules found."""

from __future__ import annotations

import json
from typing import Any

from ingest.files import Purpose, RuleSet
from ingest.rules.records import check_line

CHECKED: tuple[RuleSet, ...] = ("strict", "standard")
IMAGE_URL = "data:image/png;base64,AAAA"


def broken(line: str | dict[str, Any], rules: RuleSet, purpose: Purpose = "fine-tune") -> list[str]:
    """What a line breaks, in order, as ``code @ path`` (or the code alone)."""
    text = line if isinstance(line, str) else json.dumps(line)
    problems = check_line(text, rules, purpose).problems
    return [p.code if p.path is None else f"{p.code} @ {p.path}" for p in problems]


def chat(*messages: dict[str, Any], answered: bool = True) -> dict[str, Any]:
    """A conversation, ended by an answer so that nothing else is wrong with it."""
    answer = [{"role": "assistant", "content": "ok"}] if answered else []
    return {"messages": [*messages, *answer]}


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def assistant(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def text(value: Any = "hello") -> dict[str, Any]:
    return {"type": "text", "text": value}


def image(url: Any = IMAGE_URL) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def preference(**changes: Any) -> dict[str, Any]:
    record: dict[str, Any] = {
        "input": {"messages": [user("hello")]},
        "preferred_output": [assistant("good")],
        "non_preferred_output": [assistant("bad")],
    }
    return record | changes
