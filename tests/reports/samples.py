"""Reports to render: one of each kind, and one with everything that could break a format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ingest.files import FileReport, Problem, Statistics

ROOT = Path("/work tree/repo")


def problem(
    code: str = "message.role",
    line: int | None = 3,
    path: str | None = "messages[1].role",
    message: str = "expected system, user, assistant or tool, found 'human'",
) -> Problem:
    return Problem(line, line, path, code, message)


def report(
    uri: str = f"{ROOT}/data/train.jsonl", *problems: Problem, unlisted: int = 0
) -> FileReport:
    count = len(problems) + unlisted
    return FileReport(uri, 40_000_000, "jsonl", "conversation", 12_345, count, problems)


GOOD = report()
BAD = report(
    f"{ROOT}/data/bad.jsonl",
    problem(),
    problem("json.malformed", 7, None, "expected ',' at column 12, found the line's end"),
)
WHOLE_FILE = FileReport(
    f"{ROOT}/data/empty.jsonl",
    0,
    "jsonl",
    None,
    0,
    1,
    (problem("file.empty", None, None, "expected at least one byte, found none"),),
)
IN_S3 = report("s3://corpus/set 1/ä.jsonl", problem())
OUTSIDE = report("/srv/other data/x.jsonl", problem())
TRUNCATED = report(f"{ROOT}/many.jsonl", *(problem(line=line) for line in range(1, 8)), unlisted=93)
HOSTILE = report(
    f"{ROOT}/100% [red]:a,b\n\x1b[2J\udcff#?.jsonl",
    problem(
        path="messages[0].\x00key",
        message="found '\x1b]0;title\x07' and \ud800, \ufffe,\r\n::error::<![CDATA[ & 50% :,",
    ),
)
ODD = replace(
    report(f"{ROOT}/odd.jsonl"),
    warning_count=9,
    warnings=(
        problem("warn.untrimmed_key", 4, 'messages[1]["role "]', "expected a trimmed key"),
        problem("warn.tools", 5, "tools", "expected a list of functions, found \x1b[2J &"),
    ),
    statistics=Statistics(24_690, (("user", 12_345), ("assistant", 12_344)), 3, 20_480, 17),
)
EVERYTHING = [GOOD, BAD, WHOLE_FILE, IN_S3, OUTSIDE, TRUNCATED, ODD, HOSTILE]
