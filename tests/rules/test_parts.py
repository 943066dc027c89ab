"""What statistics count of a record: messages, roles and images, whether it is valid or not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest.files import RULE_SETS
from ingest.rules.records import check_line
from ingest.rules.verdict import RecordParts
from tests.rules.lines import chat, user

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
REPLY = {"role": "assistant", "content": "b"}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        pytest.param(chat(user("a")), RecordParts(2, ("user", "assistant"), 0), id="chat"),
        pytest.param(
            {"messages": [user([IMAGE, IMAGE]), {"role": "human", "content": [IMAGE]}, 5]},
            RecordParts(2, ("user",), 3),
            id="invalid messages",
        ),
        pytest.param({"messages": 5}, RecordParts(0, (), 0), id="no messages"),
        pytest.param({"text": [IMAGE, {"type": "text"}]}, RecordParts(0, (), 1), id="general"),
        pytest.param({"prompt": "a", "completion": "b"}, RecordParts(0, (), 0), id="instruction"),
        pytest.param(
            {
                "input": {"messages": [user("a")]},
                "preferred_output": [REPLY],
                "non_preferred_output": [{"role": "assistant", "content": [IMAGE]}],
            },
            RecordParts(3, ("user", "assistant", "assistant"), 1),
            id="preference",
        ),
        pytest.param(
            {"input": 1, "preferred_output": 2, "non_preferred_output": 3},
            RecordParts(0, (), 0),
            id="no preference",
        ),
        pytest.param({"question": "a"}, None, id="no format"),
    ],
)
def test_whatever_is_a_message_or_an_image_counts(
    record: dict[str, Any], expected: RecordParts | None
) -> None:
    assert check_line(json.dumps(record), "standard", "fine-tune").parts == expected


@pytest.mark.parametrize("rules", RULE_SETS)
def test_nothing_is_counted_where_formats_do_not_apply(rules: Any) -> None:
    assert check_line(json.dumps(chat(user("a"))), rules, "eval").parts is None
