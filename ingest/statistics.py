"""What was counted of a file's content, as reports and manifests tell it.

A contract with the programs that read those; ``ingest.files.Statistics`` is what workers count.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from ingest.files import Statistics


class LongestRecord(BaseModel):
    """The longest line of JSON Lines, in bytes without its end; the first of equals."""

    model_config = ConfigDict(frozen=True)

    bytes: int
    line: int


class ContentStatistics(BaseModel):
    """What a file, or a shard of one, is made of.

    Attributes:
        records: lines or rows.
        bytes: the length of the whole.
        messages: of conversations and preferences; null where dataset formats do not apply, as
            are ``roles`` and ``images``.
        roles: how many messages each role has.
        images: content items that are images.
        longest_record: null where records are no lines; its line counts from the first one of
            the file, or of the shard.
    """

    model_config = ConfigDict(frozen=True)

    records: int
    bytes: int
    messages: int | None = None
    roles: dict[str, int] | None = None
    images: int | None = None
    longest_record: LongestRecord | None = None


def content_statistics(
    records: int, size_bytes: int, dataset_format: str | None, counted: Statistics
) -> ContentStatistics:
    """Return what workers counted in the form in which it is told."""
    looked_inside = dataset_format not in (None, "tokenized")
    longest = None
    if counted.longest_record_line is not None:
        longest = LongestRecord(
            bytes=counted.longest_record_bytes, line=counted.longest_record_line
        )
    return ContentStatistics(
        records=records,
        bytes=size_bytes,
        messages=counted.messages if looked_inside else None,
        roles=dict(counted.roles) if looked_inside else None,
        images=counted.images if looked_inside else None,
        longest_record=longest,
    )
