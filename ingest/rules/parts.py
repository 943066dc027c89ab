"""What a record is made of, for statistics: its messages, who speaks them, and its images.

Called by ``records.py`` for records that have a dataset format, valid or not: whatever is a
message, or an image, counts. The fast path in ``ingest.validation`` counts the same of the
records that it accepts.
"""

from __future__ import annotations

from collections.abc import Iterator

from ingest.rules.conversation import ROLES_STANDARD
from ingest.rules.formats import CONVERSATION, PREFERENCE, DatasetFormat
from ingest.rules.preference import OUTPUT_KEYS
from ingest.rules.verdict import RecordParts


def count_parts(record: dict[str, object], dataset_format: DatasetFormat) -> RecordParts:
    """Count the messages and images of a record; tool definitions and calls are neither."""
    if dataset_format in (CONVERSATION, PREFERENCE):
        messages = list(_messages(record, dataset_format))
        contents = [message.get("content") for message in messages]
        spoken = (message.get("role") for message in messages)
        roles = tuple(role for role in spoken if isinstance(role, str) and role in ROLES_STANDARD)
    else:
        messages, roles = [], ()
        contents = [record[key] for key in dataset_format.required]
    return RecordParts(len(messages), roles, sum(map(_count_images, contents)))


def _messages(
    record: dict[str, object], dataset_format: DatasetFormat
) -> Iterator[dict[str, object]]:
    if dataset_format is CONVERSATION:
        lists = [record["messages"]]
    else:
        question = record["input"]
        lists = [question.get("messages") if isinstance(question, dict) else None]
        lists += [record[key] for key in OUTPUT_KEYS]
    for messages in lists:
        if isinstance(messages, list):
            yield from (message for message in messages if isinstance(message, dict))


def _count_images(content: object) -> int:
    if not isinstance(content, list):
        return 0
    return sum(isinstance(item, dict) and item.get("type") == "image_url" for item in content)
