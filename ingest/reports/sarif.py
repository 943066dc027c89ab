"""The report as SARIF 2.1.0 (OASIS): for GitHub code scanning, GitLab, and editors that show it.

The rule descriptors are the catalogue's, so a reader sees what to do about a problem without this
package at hand. Paths are relative to the checkout, which is what code scanning matches on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ingest import __version__
from ingest.files import FileReport, Problem, Purpose, RuleSet
from ingest.reports.places import (
    checkout_root,
    counted,
    file_uri,
    printable,
    sentence,
    uri_reference,
)
from ingest.rules.catalog import RULES, find_rule
from ingest.rules.rule import Rule

SCHEMA_URI = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
MAX_RESULTS = 25_000
"""Results in one run above which GitHub refuses the upload."""

_ROOT_ID = "%SRCROOT%"


def sarif_report(
    reports: Sequence[FileReport],
    rules: RuleSet,
    purpose: Purpose,
    engine: str,
    root: Path | None = None,
) -> str:
    """Render one run with a result for each listed problem, then for each listed warning.

    ``root`` is the repository's folder.
    """
    root = root or checkout_root()
    found = {p.code for report in reports for p in (*report.problems, *report.warnings)}
    codes = sorted(found | {rule.code for rule in RULES if rule.severity == "error"})
    index = {code: number for number, code in enumerate(codes)}
    results = list(
        islice(
            chain(
                _results(reports, [r.problems for r in reports], "error", index, root),
                _results(reports, [r.warnings for r in reports], "warning", index, root),
            ),
            MAX_RESULTS,
        )
    )
    run = {
        "tool": {
            "driver": {
                "name": "together-bulk-ingest",
                "version": __version__,
                "rules": [_descriptor(code, find_rule(code)) for code in codes],
            }
        },
        "invocations": [_invocation(reports, len(results))],
        "originalUriBaseIds": {_ROOT_ID: {"uri": file_uri(root).rstrip("/") + "/"}},
        "columnKind": "unicodeCodePoints",
        "results": results,
        "properties": {"rules": rules, "purpose": purpose, "engine": engine},
    }
    document = {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=2) + "\n"


def _descriptor(code: str, rule: Rule | None) -> dict[str, Any]:
    if rule is None:
        return {"id": code}
    return {
        "id": code,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.explanation},
        "help": {"text": rule.advice},
        "defaultConfiguration": {"level": rule.severity},
    }


def _invocation(reports: Sequence[FileReport], listed: int) -> dict[str, Any]:
    # Problems are results, not failures: the tool itself did its work.
    invocation: dict[str, Any] = {"executionSuccessful": True}
    unlisted = sum(r.problem_count + r.warning_count for r in reports) - listed
    if unlisted:
        text = f"{counted(unlisted, 'further problem')} counted, but not listed as results."
        invocation["toolExecutionNotifications"] = [{"level": "note", "message": {"text": text}}]
    return invocation


def _results(
    reports: Sequence[FileReport],
    found: Sequence[Sequence[Problem]],
    level: str,
    index: dict[str, int],
    root: Path,
) -> Iterator[dict[str, Any]]:
    for report, problems in zip(reports, found, strict=True):
        uri, is_relative = uri_reference(report, root)
        artifact = {"uri": uri, "uriBaseId": _ROOT_ID} if is_relative else {"uri": uri}
        for problem in problems:
            yield {
                "ruleId": problem.code,
                "ruleIndex": index[problem.code],
                "level": level,
                "message": {"text": sentence(problem)},
                "locations": [_location(artifact, problem)],
            }


def _location(artifact: dict[str, str], problem: Problem) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": artifact}
    if problem.line is not None:
        physical["region"] = {"startLine": problem.line}
    location: dict[str, Any] = {"physicalLocation": physical}
    if problem.path:
        location["logicalLocations"] = [{"fullyQualifiedName": printable(problem.path)}]
    return location
