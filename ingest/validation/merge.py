"""``merge_slices``: the results of all slices of a file, joined to its report.

Called by the driver once a file is read to its end. Pure: no I/O, and the same report however
the file was cut. The rules that need the whole file are applied here: one format for all records
(``format.mixed``), no ``custom_id`` twice, at most 50,000 requests, at least one record.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from ingest.files import FileReport, FileType, Problem, Purpose, RuleSet, SourceFile
from ingest.rules.batch import MAX_REQUESTS
from ingest.rules.verdict import show
from ingest.validation.findings import SliceResult


def merge_slices(
    source: SourceFile,
    file_type: FileType,
    purpose: Purpose,
    rules: RuleSet,
    max_problems: int,
    results: Sequence[SliceResult],
    file_problems: Sequence[Problem] = (),
) -> FileReport:
    """Join the results of a file's slices.

    Args:
        source: the file that was read.
        file_type: as it was read.
        purpose: as in the tasks.
        rules: as in the tasks.
        max_problems: how many problems the report carries at the most; at most that of the tasks.
        results: of every slice of the file, in source order.
        file_problems: what its name and size told (``ingest.rules.file_level``); they come
            first in the report.

    Returns:
        The report: problems of the file as a whole, then those of records in source order.
    """
    whole = [*file_problems, *_whole_file_problems(source, purpose, results, file_problems)]
    located = _Located(results)
    located.add_records()
    dataset_format = located.add_mixed_formats()
    located.add_repeated_ids()
    located.problems.sort(key=lambda problem: problem.line or 0)  # stable: rule order in a line
    return FileReport(
        uri=source.uri,
        size_bytes=source.size_bytes,
        file_type=file_type,
        dataset_format=dataset_format,
        records=sum(result.records for result in results),
        problem_count=len(whole) + located.count,
        problems=tuple(chain(whole, located.problems))[:max_problems],
    )


def _whole_file_problems(
    source: SourceFile,
    purpose: Purpose,
    results: Sequence[SliceResult],
    known: Sequence[Problem],
) -> list[Problem]:
    """The problems that have no line, besides those already known."""
    found: list[Problem] = []

    def add(code: str, message: str) -> None:
        if all(problem.code != code for problem in known):
            found.append(Problem(line=None, record=None, path=None, code=code, message=message))

    fault = next((result.utf8_fault for result in results if result.utf8_fault), None)
    if fault is not None:
        lines = sum(result.not_utf8_lines for result in results)
        add(
            "file.not_utf8",
            f"expected UTF-8, found the byte 0x{fault.byte:02x} at offset {fault.offset:,} "
            f"({fault.reason}); {lines:,} {'line is' if lines == 1 else 'lines are'} not UTF-8",
        )
    records = sum(result.records for result in results)
    # A file that could not be read as what it is (no CSV header, no Parquet) holds no records
    # for that reason, which is already told.
    if source.size_bytes == 0:
        add("file.empty", "expected at least one record, found a file of 0 bytes")
    elif records == 0 and not any(result.problem_count for result in results):
        add("file.no_records", "expected at least one record, found none")
    if purpose == "batch-api" and records > MAX_REQUESTS:
        add(
            "batch.too_many",
            f"expected at most {MAX_REQUESTS:,} requests, found {records:,}",
        )
    return found


class _Located:
    """The problems of a file's records, with absolute line and record numbers."""

    def __init__(self, results: Sequence[SliceResult]) -> None:
        self.problems: list[Problem] = []
        self.count = 0
        self._placed: list[tuple[SliceResult, int, int]] = []
        lines = records = 0
        for result in results:
            self._placed.append((result, lines, records))
            lines += result.lines
            records += result.records

    def add_records(self) -> None:
        """Take over the problems that the slices found."""
        for result, lines, records in self._placed:
            self.count += result.problem_count
            self.problems.extend(
                Problem(
                    None if problem.line is None else problem.line + lines,
                    None if problem.record is None else problem.record + records,
                    problem.path,
                    problem.code,
                    problem.message,
                )
                for problem in result.problems
            )

    def add_mixed_formats(self) -> str | None:
        """Add ``format.mixed``, and return the format of the first record that has one."""
        first = min(
            (
                (lines + found.lines[0], found.name)
                for result, lines, _ in self._placed
                for found in result.formats
                if found.lines
            ),
            default=None,
        )
        if first is None:
            return None
        first_line, name = first
        for result, lines, records in self._placed:
            for found in result.formats:
                if found.name == name:
                    continue
                self.count += found.records
                self.problems.extend(
                    Problem(
                        lines + line,
                        records + line,
                        None,
                        "format.mixed",
                        f"expected the format {name} like the first record (line {first_line:,}), "
                        f"found {found.name}",
                    )
                    for line in found.lines
                )
        return name

    def add_repeated_ids(self) -> None:
        """Add ``batch.custom_id`` for every id that an earlier request has."""
        first_lines: dict[str, int] = {}
        for result, lines, records in self._placed:
            for request in result.request_ids:
                if records + request.record > MAX_REQUESTS:
                    return
                line = lines + request.line
                first_line = first_lines.setdefault(request.custom_id, line)
                if first_line != line:
                    self.count += 1
                    self.problems.append(
                        Problem(
                            line,
                            records + request.record,
                            "custom_id",
                            "batch.custom_id",
                            f"expected a custom_id that no other request has, "
                            f"found {show(request.custom_id)} on line {first_line:,} "
                            f"and line {line:,}",
                        )
                    )
