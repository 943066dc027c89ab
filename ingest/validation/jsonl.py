"""JSON Lines: the lines of one slice, batch by batch, against the rules.

Called by ``slices.py``. Three steps, each for what the one before has left over:

1. Arrow checks that a whole batch of lines is UTF-8, at memory speed;
2. the fast path (``fast.py``) accepts most valid lines without decoding their text;
3. ``ingest.rules.check_line``, which alone can reject a line, says what is wrong with it.

One bad line therefore costs one slow check, whatever is around it. A very long one is checked as a
text of one byte a character, so that its memory stays within three times its length; only batch
requests, whose ids are compared, are not: their files are small.
"""

from __future__ import annotations

import codecs
import io
import itertools
from collections.abc import Iterator

from ingest.files import SliceTask
from ingest.rules.batch import MAX_BATCH_FILE_BYTES, MAX_REQUESTS
from ingest.rules.records import check_line
from ingest.validation.fast import FastPath
from ingest.validation.findings import Findings, RequestId, SliceResult
from ingest.validation.lines import BLOCK_BYTES, LineBatch, read_batches
from ingest.validation.shapes import LONG_LINE_BYTES

_BOM = codecs.BOM_UTF8


def check_jsonl(
    task: SliceTask, stream: io.RawIOBase, block_bytes: int = BLOCK_BYTES
) -> SliceResult:
    """Check the lines that a slice owns.

    Args:
        task: the slice.
        stream: the open source.
        block_bytes: how much is read at once; the result does not depend on it.
    """
    check = _JsonlCheck(task)
    for batch in read_batches(stream, task.start, task.end, task.source.size_bytes, block_bytes):
        check.add_batch(batch)
    return check.findings.result()


def iter_jsonl(
    task: SliceTask, stream: io.RawIOBase, block_bytes: int = BLOCK_BYTES
) -> Iterator[SliceResult]:
    """Check the lines that a slice owns, and yield the result of one batch after another.

    Each is what ``check_jsonl`` would say if the batch were a slice.

    Args:
        task: the slice.
        stream: the open source.
        block_bytes: how much is read at once.
    """
    check = _JsonlCheck(task)
    for batch in read_batches(stream, task.start, task.end, task.source.size_bytes, block_bytes):
        check.add_batch(batch)
        yield check.findings.result()
        check.findings = Findings(task.max_problems)


class _JsonlCheck:
    """The state of one slice's check."""

    def __init__(self, task: SliceTask) -> None:
        self.findings = Findings(task.max_problems)
        self._rules = task.rules
        self._purpose = task.purpose
        self._fast = FastPath(task.rules, task.purpose)
        self._last_format: str | None = None
        self._skipped: list[int] = []  # lines of the batch that are no records

    def add_batch(self, batch: LineBatch) -> None:
        """Check the lines of a batch and count them."""
        borders = batch.borders
        first = 0
        lines_before = self.findings.lines
        self._skipped.clear()
        if batch.is_utf8:
            # The first line that fits a format tells the fast path which one to look for.
            while not self._fast.is_ready and first < len(batch):
                if self._fast.expect_long(batch.buffer, borders[first], borders[first + 1]):
                    break
                self._check_exactly(batch, borders, first)
                first += 1
                self._expect_last_format()
            rejected = self._fast.rejected(batch.buffer, borders[first:])
        else:
            # Which of its lines are not UTF-8 is seen one by one.
            rejected = list(range(len(batch)))
        accepted_from = first
        for index in rejected:
            index += first
            self._count_accepted(index - accepted_from)
            self._check_exactly(batch, borders, index)
            accepted_from = index + 1
        self._count_accepted(len(batch) - accepted_from)
        if len(rejected) == len(batch):
            # Not the format that was looked for, by all appearances. A single record of another
            # format among others changes nothing.
            self._expect_last_format()
        self._add_statistics(batch, lines_before)

    def _add_statistics(self, batch: LineBatch, lines_before: int) -> None:
        self.findings.add_parts(self._fast.take_parts())
        if batch.longest_bytes <= self.findings.longest_bytes:
            return
        lengths = batch.lengths()
        lengths[self._skipped] = -1
        longest = int(lengths.argmax())
        if lengths[longest] >= 0:
            self.findings.add_longest(int(lengths[longest]), lines_before + longest + 1)

    def _expect_last_format(self) -> None:
        if self._last_format is not None:
            self._fast.expect(self._last_format)

    def _count_accepted(self, lines: int) -> None:
        """Count lines that the fast path has accepted, which come next."""
        if lines and self._fast.dataset_format is not None:
            following = itertools.count(self.findings.lines + 1)
            self.findings.add_format(self._fast.dataset_format, lines, following)
        self.findings.lines += lines
        self.findings.records += lines

    def _check_exactly(self, batch: LineBatch, borders: list[int], index: int) -> None:
        """Check one line by the rules themselves, and count it."""
        findings = self.findings
        findings.lines += 1
        offset = batch.offset + borders[index] - borders[0]
        begin, end = borders[index], borders[index + 1]
        is_long = end - begin > LONG_LINE_BYTES and self._purpose != "batch-api"
        try:
            text = batch.narrow_text(begin, end) if is_long else batch.text(begin, end)
        except UnicodeDecodeError as error:
            findings.records += 1
            findings.add_not_utf8(offset, error)
            return
        has_bom = offset == 0 and batch.buffer.startswith(_BOM, begin)
        if has_bom:
            text = text[1:]
        verdict = check_line(text, self._rules, self._purpose, with_warnings=True)
        if verdict.skipped and not has_bom:
            self._skipped.append(index)
            return
        findings.records += 1
        if has_bom:
            findings.add(
                "file.bom",
                "expected no byte-order mark, found one at the start of the file",
                line=findings.lines,
                record=findings.records,
                path=None,
            )
        findings.add_verdict(verdict, findings.lines, findings.records)
        if verdict.dataset_format is not None:
            findings.add_format(verdict.dataset_format, 1, [findings.lines])
            self._last_format = verdict.dataset_format
        # Ids are kept for as much as a valid file may hold; past that the file is invalid anyway.
        if (
            verdict.custom_id is not None
            and findings.records <= MAX_REQUESTS
            and offset < MAX_BATCH_FILE_BYTES
        ):
            findings.add_request_id(RequestId(findings.lines, findings.records, verdict.custom_id))
