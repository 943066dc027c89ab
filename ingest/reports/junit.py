"""The report as JUnit XML: a test case for each file, which is what most CI systems can show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from ingest.files import FileReport, Problem, Purpose, RuleSet
from ingest.reports.places import counted, place, sentence, shown_name


def junit_report(
    reports: Sequence[FileReport],
    rules: RuleSet,
    purpose: Purpose,
    engine: str,
    root: Path | None = None,
) -> str:
    """Render one suite; an invalid file is a failed case whose text lists its problems.

    Warnings are what a case wrote to its output.
    """
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
    if not report.valid:
        first = report.problems[0].code if report.problems else "invalid"
        summary = counted(report.problem_count, "problem")
        failure = ElementTree.SubElement(case, "failure", {"type": first, "message": summary})
        failure.text = _listed(name, report.problems, report.problem_count)
    if report.warning_count:
        out = ElementTree.SubElement(case, "system-out")
        summary = counted(report.warning_count, "warning")
        out.text = f"{summary}\n{_listed(name, report.warnings, report.warning_count)}"
    return case


def _listed(name: str, found: Sequence[Problem], total: int) -> str:
    lines = [f"{place(name, each)}: {each.code}: {sentence(each)}" for each in found]
    if total > len(found):
        lines.append(f"and {total - len(found):,} more")
    return "\n".join(lines)
