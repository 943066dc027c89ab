"""``merge_slices``: the results of all slices of a file, joined to its report.

Called by the driver once a file is read to its end. Pure: no I/O, and the same report however
the file was cut. The rules that need the whole file are applied here: one format for all records
(``format.mixed``), no ``custom_id`` twice, at most 50,000 requests, at least one record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from ingest.files import (
    FileReport,
    FileType,
    Problem,
    Purpose,
    RuleSet,
    SourceFile,
    Statistics,
)
from ingest.rules.batch import MAX_REQUESTS
from ingest.rules.verdict import show
from ingest.validation.findings import SliceResult, in_usual_order


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
        max_problems: how many problems the report carries at the most, and how many warnings; at
            most that of the tasks.
        results: of every slice of the file, in source order.
        file_problems: what its name and size told (``ingest.rules.file_level``); they come
            first in the report.

    Returns:
        The report: problems of the file as a whole, then those of records in source order.
    """
    whole = (*file_problems, *_whole_file_problems(source, purpose, results, file_problems))
    problems, warnings = list(whole), list[Problem]()
    places = Places()
    for result in results:
        problems_there, warnings_there = places.add(result)
        problems += problems_there[: max(0, max_problems - len(problems))]
        warnings += warnings_there[: max(0, max_problems - len(warnings))]
    return FileReport(
        uri=source.uri,
        size_bytes=source.size_bytes,
        file_type=file_type,
        dataset_format=places.dataset_format,
        records=places.records,
        problem_count=len(whole) + places.problem_count,
        problems=tuple(problems[:max_problems]),
        warning_count=sum(result.warning_count for result in results),
        warnings=tuple(warnings),
        statistics=join_statistics(results),
        source=source,
        file_problems=whole,
    )


def join_statistics(results: Iterable[SliceResult]) -> Statistics:
    """The statistics of consecutive slices; lines count from the first one's start."""
    lines = messages = images = longest = 0
    longest_line: int | None = None
    roles: Counter[str] = Counter()
    for result in results:
        part = result.statistics
        messages += part.messages
        images += part.images
        roles.update(dict(part.roles))
        if part.longest_record_line is not None and (
            longest_line is None or part.longest_record_bytes > longest
        ):
            longest = part.longest_record_bytes
            longest_line = lines + part.longest_record_line
        lines += result.lines
    return Statistics(messages, in_usual_order(roles), images, longest, longest_line)


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


class Places:
    """Puts the findings of slices, added in source order, in their places in the file.

    Attributes:
        records: of the slices added so far.
        problem_count: their broken rules, those among them that several slices break together.
        dataset_format: of the first record that has one.
    """

    def __init__(self) -> None:
        self.records = 0
        self.problem_count = 0
        self.dataset_format: str | None = None
        self._lines = 0
        self._first_line_of_format = 0
        self._first_line_of_id: dict[str, int] = {}

    def add(self, result: SliceResult) -> tuple[list[Problem], list[Problem]]:
        """Return the next slice's problems and warnings, as far as kept, in source order."""
        problems = [
            *self._placed(result.problems),
            *self._mixed_formats(result),
            *self._repeated_ids(result),
        ]
        problems.sort(key=lambda problem: problem.line or 0)  # stable: rule order in a line
        self.problem_count += result.problem_count
        warnings = list(self._placed(result.warnings))
        self.records += result.records
        self._lines += result.lines
        return problems, warnings

    def _placed(self, found: Iterable[Problem]) -> Iterator[Problem]:
        for problem in found:
            yield Problem(
                None if problem.line is None else problem.line + self._lines,
                None if problem.record is None else problem.record + self.records,
                problem.path,
                problem.code,
                problem.message,
            )

    def _mixed_formats(self, result: SliceResult) -> Iterator[Problem]:
        """Yield ``format.mixed`` for records of another format than the file's first."""
        met = [found for found in result.formats if found.lines]
        if self.dataset_format is None and met:
            first = min(met, key=lambda found: found.lines[0])
            self.dataset_format = first.name
            self._first_line_of_format = self._lines + first.lines[0]
        for found in met:
            if found.name == self.dataset_format:
                continue
            self.problem_count += found.records
            for line in found.lines:
                yield Problem(
                    self._lines + line,
                    self.records + line,
                    None,
                    "format.mixed",
                    f"expected the format {self.dataset_format} like the first record "
                    f"(line {self._first_line_of_format:,}), found {found.name}",
                )

    def _repeated_ids(self, result: SliceResult) -> Iterator[Problem]:
        """Yield ``batch.custom_id`` for every id that an earlier request has."""
        for request in result.request_ids:
            record, line = self.records + request.record, self._lines + request.line
            if record > MAX_REQUESTS:
                return
            first_line = self._first_line_of_id.setdefault(request.custom_id, line)
            if first_line != line:
                self.problem_count += 1
                yield Problem(
                    line,
                    record,
                    "custom_id",
                    "batch.custom_id",
                    f"expected a custom_id that no other request has, "
                    f"found {show(request.custom_id)} on line {first_line:,} and line {line:,}",
                )
