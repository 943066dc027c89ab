"""The four dataset formats of fine-tuning data, and which of them a record's keys fit.

Called by ``records.py``. A record fits a format when it has all keys that the format requires;
which other keys it may have depends on the rule set.
"""

from __future__ import annotations

from dataclasses import dataclass

from ingest.files import RuleSet
from ingest.rules.verdict import Problems, key_path, show_keys


@dataclass(frozen=True, slots=True)
class DatasetFormat:
    """One way to lay out a record.

    Attributes:
        optional: keys that ``standard`` allows besides; ``strict`` allows none.
    """

    name: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()

    def allowed(self, rules: RuleSet) -> tuple[str, ...]:
        """All keys that a record of this format may have under a rule set."""
        return self.required if rules == "strict" else self.required + self.optional


CONVERSATION = DatasetFormat("conversation", ("messages",), ("tools",))
INSTRUCTION = DatasetFormat("instruction", ("prompt", "completion"))
GENERAL = DatasetFormat("general", ("text",))
PREFERENCE = DatasetFormat("preference", ("input", "preferred_output", "non_preferred_output"))

DATASET_FORMATS: tuple[DatasetFormat, ...] = (CONVERSATION, INSTRUCTION, GENERAL, PREFERENCE)


def find_format(
    record: dict[str, object], rules: RuleSet, problems: Problems
) -> DatasetFormat | None:
    """Return the one format that a record's keys fit; note what is wrong with its keys."""
    fitting = [f for f in DATASET_FORMATS if all(key in record for key in f.required)]
    if not fitting:
        problems.add(
            None,
            "format.unknown",
            "expected the keys of one format (messages; prompt and completion; text; or input, "
            f"preferred_output and non_preferred_output), found {show_keys(list(record))}",
        )
        return None
    if len(fitting) > 1:
        names = " and ".join(f.name for f in fitting)
        problems.add(
            None,
            "format.ambiguous",
            f"expected the keys of one format, found those of {names}",
        )
        return None
    allowed = fitting[0].allowed(rules)
    for key in record:
        if key not in allowed:
            problems.add(
                key_path(key),
                "format.extra_key",
                f"expected no keys but {', '.join(allowed)} in a record of the format "
                f"{fitting[0].name}, found {show_keys([key])}",
            )
    return fitting[0]
