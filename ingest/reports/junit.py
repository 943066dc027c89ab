"""The report as JUnit XML: a test case for each file, which is what most CI systems can show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from ingest.files import FileReport, Purpose, RuleSet
from ingest.reports.places import counted, place, sentence, shown_name


def junit_report(
    reports: Sequence[FileReport],
    rules: RuleSet,
    purpose: Purpose,
    engine: str,
    root: Path | None = None,
) -> str:
    """Render one suite; an invalid file is a failed case whose text lists its problems."""
    root = root or Path.cwd()
    failures = sum(not report.valid for report in reports)
    counts = {"tests": str(len(reports)), "failures": str(failures), "errors": "0"}
    suites = ElementTree.Element("testsuites", {"name": "ingest check", **counts})
    suite = ElementTree.SubElement(suites, "testsuite", {"name": "ingest check", **counts})
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (("rules", rules), ("purpose", purpose), ("engine", engine)):
        ElementTree.SubElement(properties, "property", {"name": name, "value": value})
    for report in reports:
        suite.append(_test_case(report, root))
    ElementTree.indent(suites)
    body = ElementTree.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _test_case(report: FileReport, root: Path) -> ElementTree.Element:
    name = shown_name(report, root)
    case = ElementTree.Element("testcase", {"classname": "ingest.check", "name": name})
    if report.valid:
        return case
    first = report.problems[0].code if report.problems else "invalid"
    summary = counted(report.problem_count, "problem")
    failure = ElementTree.SubElement(case, "failure", {"type": first, "message": summary})
    lines = [f"{place(name, found)}: {found.code}: {sentence(found)}" for found in report.problems]
    unlisted = report.problem_count - len(report.problems)
    if unlisted:
        lines.append(f"and {unlisted:,} more")
    failure.text = "\n".join(lines)
    return case
