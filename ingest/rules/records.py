"""``check_line``: the exact rules for one line of a JSON Lines file.

Called by the readers in ``ingest.validation`` for every line that their fast path does not
accept, and by nothing faster: this is the one place that says what a record must be, so it is
written to be read. It finds all problems of a record, in document order, and never raises.
"""

from __future__ import annotations

from ingest.files import Purpose, RuleSet
from ingest.rules.advisories import find_warnings
from ingest.rules.batch import check_request
from ingest.rules.content import check_content
from ingest.rules.conversation import check_conversation
from ingest.rules.formats import CONVERSATION, PREFERENCE, DatasetFormat, find_format
from ingest.rules.json_text import JsonFault, read_json
from ingest.rules.parts import count_parts
from ingest.rules.preference import check_preference
from ingest.rules.verdict import LineVerdict, Problems, RecordProblem, show

__all__ = ["LineVerdict", "RecordProblem", "check_line"]


def check_line(
    text: str, rules: RuleSet, purpose: Purpose, *, with_warnings: bool = False
) -> LineVerdict:
    """Check one line against the rules.

    Args:
        text: the line, decoded from valid UTF-8, without its line end (LF, CRLF or CR) and, on
            the first line, without a byte-order mark.
        rules: the rule set; it decides about blank lines, white space and formats.
        purpose: formats are for ``fine-tune``; ``batch-api`` has rules of its own; ``eval`` and
            ``calibration`` ask for an object on each line and no more.
        with_warnings: whether to look for oddities as well, which never change the verdict.

    Returns:
        The verdict, with all problems of the line.
    """
    if rules == "basic":
        # The 3.x client strips and skips in Python's sense of white space, which is wider than
        # JSON's.
        text = text.strip()
        if not text:
            return LineVerdict(skipped=True)
    value = read_json(text)
    if isinstance(value, JsonFault):
        return LineVerdict(problems=(RecordProblem(None, value.code, value.message),))
    if not isinstance(value, dict):
        message = f"expected an object, found {show(value)}"
        return LineVerdict(problems=(RecordProblem(None, "json.not_object", message),))
    problems = Problems()
    custom_id: str | None = None
    dataset_format: DatasetFormat | None = None
    if purpose == "batch-api":
        custom_id = check_request(value, problems)
    elif purpose == "fine-tune" and rules != "basic":
        dataset_format = find_format(value, rules, problems)
        if dataset_format is not None:
            _check_values(value, dataset_format, rules, problems)
    return LineVerdict(
        dataset_format=dataset_format.name if dataset_format else None,
        problems=problems.as_tuple(),
        custom_id=custom_id,
        warnings=find_warnings(value, rules, purpose) if with_warnings else (),
        parts=count_parts(value, dataset_format) if dataset_format else None,
    )


def _check_values(
    record: dict[str, object], dataset_format: DatasetFormat, rules: RuleSet, problems: Problems
) -> None:
    if dataset_format is CONVERSATION:
        check_conversation(record["messages"], rules, "messages", problems, needs_assistant=True)
    elif dataset_format is PREFERENCE:
        check_preference(record, rules, problems)
    else:
        for key in dataset_format.required:
            role = "assistant" if key == "completion" else "user"
            check_content(record[key], role, key, problems)
