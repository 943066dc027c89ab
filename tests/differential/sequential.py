"""The simplest reader there can be: the whole file in memory, one line after the other.

It shares the rules with the real readers and nothing else, so a difference between the two is a
fault of reading, and a difference between this one and the vendor's client is a fault of a rule.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ingest.files import Purpose, RuleSet
from ingest.rules.records import check_line


@dataclass(frozen=True, slots=True)
class Finding:
    """Where a problem is and which: what two readers must agree on."""

    line: int | None
    record: int | None
    path: str | None
    code: str


def check_jsonl(data: bytes, rules: RuleSet, purpose: Purpose) -> tuple[list[Finding], int]:
    """Return all problems of a JSON Lines file, and how many records it holds."""
    if not data:
        return [Finding(None, None, None, "file.empty")], 0
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return [Finding(None, None, None, "file.not_utf8")], 0
    lines = re.split("\r\n|\r|\n", text)
    if not lines[-1]:
        lines.pop()
    findings: list[Finding] = []
    first_format: str | None = None
    record = 0
    for number, line in enumerate(lines, start=1):
        has_bom = number == 1 and line.startswith("\ufeff")
        if has_bom:
            findings.append(Finding(1, 1, None, "file.bom"))
        verdict = check_line(line[has_bom:], rules, purpose)
        if verdict.skipped and not has_bom:
            continue
        record += 1
        first_format = first_format or verdict.dataset_format
        if verdict.dataset_format not in (None, first_format):
            findings.append(Finding(number, record, None, "format.mixed"))
        findings += [Finding(number, record, p.path, p.code) for p in verdict.problems]
    if not record:
        findings.append(Finding(None, None, None, "file.no_records"))
    return findings, record
