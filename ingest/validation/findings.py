"""What a worker finds in one slice, in the small form that travels to the driver.

Filled by the readers through ``Findings``, read by ``merge.py``. All numbers count from the start
of the slice, since a worker cannot know how many lines come before it. Nothing here grows with
the slice: counts are exact, but only the first few places of each kind are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from ingest.files import NO_STATISTICS, Problem, Statistics
from ingest.rules.conversation import ROLES_STANDARD
from ingest.rules.verdict import LineVerdict, RecordProblem
from ingest.validation.counted import Parts


@dataclass(frozen=True, slots=True)
class Utf8Fault:
    """The first byte of a slice that is not UTF-8.

    Attributes:
        offset: in the source file, not in the slice.
        reason: what Python's decoder says about it.
    """

    offset: int
    byte: int
    reason: str


@dataclass(frozen=True, slots=True)
class FormatCount:
    """How many records of a slice fit one dataset format.

    Attributes:
        lines: the first lines of them. Where formats apply, every line is a record, so these
            are record numbers too.
    """

    name: str
    records: int
    lines: tuple[int, ...]


class RequestId(NamedTuple):
    """The ``custom_id`` of a batch-api request, and where it stands."""

    line: int
    record: int
    custom_id: str


@dataclass(frozen=True, slots=True)
class SliceResult:
    """All that ``merge_slices`` needs to know about one slice.

    Attributes:
        records: how many records (lines, or rows) the slice holds.
        lines: how many lines it holds; records and blank lines.
        problem_count: the broken rules of its records; those that only a whole file can break
            are not among them.
        problems: the first of them; line and record count from 1 at the slice's first line.
        formats: the dataset formats met, each with its count and first lines.
        utf8_fault: the first byte that is not UTF-8, if there is one.
        not_utf8_lines: how many lines are not UTF-8.
        request_ids: of batch-api requests, as far as a valid file could reach.
        warning_count: the oddities of its records.
        warnings: the first of them, as many as there may be problems.
        statistics: what was counted besides.
    """

    records: int = 0
    lines: int = 0
    problem_count: int = 0
    problems: tuple[Problem, ...] = ()
    formats: tuple[FormatCount, ...] = ()
    utf8_fault: Utf8Fault | None = None
    not_utf8_lines: int = 0
    request_ids: tuple[RequestId, ...] = ()
    warning_count: int = 0
    warnings: tuple[Problem, ...] = ()
    statistics: Statistics = NO_STATISTICS


class Findings:
    """Collects the result of a slice while it is read, in bounded memory.

    Args:
        max_problems: how many problems are kept, and how many warnings.

    Attributes:
        records: of the slice so far; also ``lines`` and ``not_utf8_lines``.
        longest_bytes: the length of the longest record that was noted.
    """

    def __init__(self, max_problems: int) -> None:
        self.records = 0
        self.lines = 0
        self.not_utf8_lines = 0
        self._utf8_fault: Utf8Fault | None = None
        self._max_problems = max_problems
        # The first line of a format decides which format the file has, so one is always kept.
        self._max_format_lines = max(1, max_problems)
        self._problem_count = 0
        self._problems: list[Problem] = []
        self._format_records: dict[str, int] = {}
        self._format_lines: dict[str, list[int]] = {}
        self._request_ids: list[RequestId] = []
        self._warning_count = 0
        self._warnings: list[Problem] = []
        self._messages = self._images = 0
        self._roles: Counter[str] = Counter()
        self.longest_bytes = 0
        self._longest_line: int | None = None

    def add(
        self, code: str, message: str, *, line: int | None, record: int | None, path: str | None
    ) -> None:
        """Note one broken rule."""
        self._problem_count += 1
        if len(self._problems) < self._max_problems:
            self._problems.append(Problem(line, record, path, code, message))

    def take_problems(self) -> list[Problem]:
        """Return the problems that were kept, and make room for as many others."""
        taken, self._problems = self._problems, []
        return taken

    @property
    def room(self) -> int:
        """How many more problems will be kept."""
        return max(0, self._max_problems - len(self._problems))

    def count_more(self, problems: int) -> None:
        """Count problems that there is no room for."""
        self._problem_count += problems

    def add_from(self, other: Findings) -> None:
        """Note the broken rules that ``other`` has found, behind those noted here."""
        self._problem_count += other._problem_count
        self._problems.extend(other._problems[: self.room])

    def add_verdict(self, verdict: LineVerdict, line: int, record: int) -> None:
        """Note the broken rules of one record, its oddities, and what it is made of."""
        self._problem_count += len(verdict.problems)
        self._problems.extend(_placed(verdict.problems[: self.room], line, record))
        if verdict.warnings:
            room = max(0, self._max_problems - len(self._warnings))
            self._warning_count += len(verdict.warnings)
            self._warnings.extend(_placed(verdict.warnings[:room], line, record))
        if verdict.parts is not None:
            self._messages += verdict.parts.messages
            self._images += verdict.parts.images
            self._roles.update(verdict.parts.roles)

    def add_parts(self, parts: Parts) -> None:
        """Note what accepted records are made of."""
        self._roles.update(parts.roles())
        self._messages += parts.messages
        self._images += parts.images

    def add_longest(self, size_bytes: int, line: int) -> None:
        """Note the longest record of some that come behind all that were noted before."""
        if size_bytes > self.longest_bytes or self._longest_line is None:
            self.longest_bytes, self._longest_line = size_bytes, line

    def add_not_utf8(self, line_offset: int, error: UnicodeDecodeError) -> None:
        """Note a line that is not UTF-8; ``error.start`` counts from ``line_offset``."""
        self.not_utf8_lines += 1
        if self._utf8_fault is None:
            self._utf8_fault = Utf8Fault(
                line_offset + error.start, error.object[error.start], error.reason
            )

    def add_format(self, name: str, records: int, lines: Iterable[int]) -> None:
        """Note records of one format; ``lines`` are theirs, in order, and may be endless."""
        self._format_records[name] = self._format_records.get(name, 0) + records
        kept = self._format_lines.setdefault(name, [])
        kept.extend(islice(lines, min(records, self._max_format_lines - len(kept))))

    def add_request_id(self, request_id: RequestId) -> None:
        """Note the ``custom_id`` of a request. Keeping their number in bounds is the caller's."""
        self._request_ids.append(request_id)

    def result(self) -> SliceResult:
        """Freeze what was found."""
        return SliceResult(
            records=self.records,
            lines=self.lines,
            problem_count=self._problem_count,
            problems=tuple(self._problems),
            formats=tuple(
                FormatCount(name, records, tuple(self._format_lines[name]))
                for name, records in self._format_records.items()
            ),
            utf8_fault=self._utf8_fault,
            not_utf8_lines=self.not_utf8_lines,
            request_ids=tuple(self._request_ids),
            warning_count=self._warning_count,
            warnings=tuple(self._warnings),
            statistics=Statistics(
                messages=self._messages,
                roles=in_usual_order(self._roles),
                images=self._images,
                longest_record_bytes=self.longest_bytes,
                longest_record_line=self._longest_line,
            ),
        )


def in_usual_order(roles: Counter[str]) -> tuple[tuple[str, int], ...]:
    """The roles that were counted, in the order in which the rules name them."""
    return tuple((role, roles[role]) for role in ROLES_STANDARD if roles[role])


def _placed(found: Iterable[RecordProblem], line: int, record: int) -> Iterator[Problem]:
    return (Problem(line, record, each.path, each.code, each.message) for each in found)
