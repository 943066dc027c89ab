"""The report for a person: a table, then problems and warnings by rule and what to do about them.

On a terminal it is a table that folds to the window's width. Anywhere else (a pipe, a log, a file)
every row and every problem is one whole line, however long: lines are neither cut nor folded, so
that ``grep`` and a CI log see what a person would.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.filesize import pick_unit_and_suffix
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ingest.files import FileReport, Problem, Purpose, RuleSet
from ingest.reports.places import counted, place, place_in_record, printable, shown_name
from ingest.rules.catalog import find_rule

MAX_ROWS = 200
"""Rows of the table of files; past it, only invalid files have a row of their own."""

MAX_PLACES = 5
"""Places told for one rule. ``--json`` has all that were kept, ``--problems`` all there are."""

_HEADINGS = ("File", "Type", "Format", "Records", "Size", "Verdict")
_NUMERIC = ("Records", "Size")


def text_report(
    reports: Sequence[FileReport],
    rules: RuleSet,
    purpose: Purpose,
    engine: str,
    root: Path | None = None,
) -> str:
    """Render the report as it would appear in a pipe."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=False, no_color=True)
    print_report(console, reports, rules=rules, purpose=purpose, root=root)
    return stream.getvalue()


def print_report(
    console: Console,
    reports: Sequence[FileReport],
    *,
    rules: RuleSet,
    purpose: Purpose,
    root: Path | None = None,
) -> None:
    """Print the report to ``console``; names are told relative to ``root`` (working directory)."""
    root = root or Path.cwd()
    if reports:
        _print_files(console, reports, root)
    found = [(report, problem) for report in reports for problem in report.problems]
    total = sum(report.problem_count for report in reports)
    _print_by_rule(console, found, total, "problem", "bold red", root)
    found = [(report, warning) for report in reports for warning in report.warnings]
    total = sum(report.warning_count for report in reports)
    _print_by_rule(console, found, total, "warning", "bold yellow", root)
    if statistics := _statistics(reports, root):
        _line(console, statistics)
    _line(console, _verdict(reports, rules, purpose))


def _print_files(console: Console, reports: Sequence[FileReport], root: Path) -> None:
    listed = reports
    if len(reports) > MAX_ROWS:
        listed = [report for report in reports if not report.valid][:MAX_ROWS]
    rows = [_row(report, root) for report in listed]
    if rows and console.is_terminal:
        console.print(_table(rows))
    elif rows:
        _print_columns(console, [_HEADINGS, *rows])
        _line(console)
    unlisted = len(reports) - len(listed)
    if unlisted:
        bad = sum(not report.valid for report in reports) - sum(not r.valid for r in listed)
        _line(console, f"{counted(unlisted, 'more file')} not listed: {bad:,} invalid.")
        _line(console)


def _row(report: FileReport, root: Path) -> tuple[str, ...]:
    return (
        shown_name(report, root),
        report.file_type or "-",
        report.dataset_format or "-",
        f"{report.records:,}",
        size_text(report.size_bytes),
        _row_verdict(report),
    )


def _row_verdict(report: FileReport) -> str:
    verdict = "valid" if report.valid else counted(report.problem_count, "problem")
    if report.warning_count:
        verdict += f", {counted(report.warning_count, 'warning')}"
    return verdict


def _table(rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in _HEADINGS:
        table.add_column(
            heading,
            justify="right" if heading in _NUMERIC else "left",
            overflow="fold",
            no_wrap=heading != "File",
        )
    for row in rows:
        *cells, verdict = (Text(cell) for cell in row)
        verdict.stylize("green" if row[-1].startswith("valid") else "red")
        table.add_row(*cells, verdict)
    return table


def _print_columns(console: Console, rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows:
        cells = []
        for heading, cell, width in zip(_HEADINGS, row, widths, strict=True):
            space = " " * (width - cell_len(cell))
            cells.append(space + cell if heading in _NUMERIC else cell + space)
        _line(console, "  ".join(cells).rstrip())


def _print_by_rule(
    console: Console,
    all_found: Sequence[tuple[FileReport, Problem]],
    total: int,
    noun: str,
    style: str,
    root: Path,
) -> None:
    by_code: dict[str, list[tuple[FileReport, Problem]]] = {}
    for report, problem in all_found:
        by_code.setdefault(problem.code, []).append((report, problem))
    # The rule that is broken most is the one to read about first.
    for code, found in sorted(by_code.items(), key=lambda item: (-len(item[1]), item[0])):
        _line(console, _heading(code, found, noun, style))
        for report, problem in found[:MAX_PLACES]:
            _line(console, _place(report, problem, root), indent=2)
        if len(found) > MAX_PLACES:
            _line(console, f"... and {len(found) - MAX_PLACES:,} more", indent=2)
        if rule := find_rule(code):
            _line(console, Text(f"What to do: {rule.advice}", "italic"), indent=2)
        _line(console)
    unlisted = total - len(all_found)
    if unlisted:
        further = counted(unlisted, f"further {noun}")
        _line(console, f"{further} counted, but not kept: --max-problems sets how many are.")


def _heading(code: str, found: Sequence[tuple[FileReport, Problem]], noun: str, style: str) -> Text:
    files = len({report.uri for report, _ in found})
    heading = Text(code, style)
    heading.append(f"  {counted(len(found), noun)} in {counted(files, 'file')}", "not bold")
    if rule := find_rule(code):
        heading.append(f". Rule: {rule.summary}", "not bold")
    return heading


def _place(report: FileReport, problem: Problem, root: Path) -> Text:
    line = Text(place(shown_name(report, root), problem), "bold")
    if inside := place_in_record(problem):
        line.append("  " + inside, "not bold cyan")
    line.append("  " + printable(problem.message), "not bold")
    return line


def _statistics(reports: Sequence[FileReport], root: Path) -> str:
    """One line about all files, of what there is to say; empty if that is nothing."""
    messages = sum(report.statistics.messages for report in reports)
    images = sum(report.statistics.images for report in reports)
    roles: Counter[str] = Counter()
    for report in reports:
        roles.update(dict(report.statistics.roles))
    said = []
    if messages:
        by_role = ", ".join(f"{role} {number:,}" for role, number in roles.items())
        said.append(counted(messages, "message") + (f" ({by_role})" if by_role else ""))
    if images:
        said.append(counted(images, "image"))
    longest = max(
        (report for report in reports if report.statistics.longest_record_line is not None),
        key=lambda report: report.statistics.longest_record_bytes,
        default=None,
    )
    if longest is not None:
        size = size_text(longest.statistics.longest_record_bytes)
        where = f"{shown_name(longest, root)}:{longest.statistics.longest_record_line}"
        said.append(f"longest record {size} ({where})")
    return "; ".join(said)


def _verdict(reports: Sequence[FileReport], rules: RuleSet, purpose: Purpose) -> Text:
    held_against = f"(rules: {rules}, purpose: {purpose})"
    bad = sum(not report.valid for report in reports)
    if not bad:
        records = counted(sum(report.records for report in reports), "record")
        return Text(
            f"{counted(len(reports), 'file')} valid, {records} {held_against}", "bold green"
        )
    problems = counted(sum(report.problem_count for report in reports), "problem")
    are = "is" if bad == 1 else "are"
    return Text(
        f"{bad:,} of {counted(len(reports), 'file')} {are} invalid: {problems} {held_against}",
        "bold red",
    )


def _line(console: Console, text: Text | str = "", indent: int = 0) -> None:
    """Print one line: folded on a terminal, whole anywhere else; never read as markup."""
    if isinstance(text, str):
        text = Text(text)
    if console.is_terminal:
        console.print(Padding(text, (0, 0, 0, indent)) if indent else text)
    else:
        console.print(Text(" " * indent) + text, soft_wrap=True)


def size_text(size_bytes: int) -> str:
    """Return a size as ``17 B`` or ``38.1 MiB``."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    unit, suffix = pick_unit_and_suffix(size_bytes, ["B", "KiB", "MiB", "GiB", "TiB"], 1024)
    return f"{size_bytes / unit:,.1f} {suffix}"
