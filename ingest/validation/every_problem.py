"""``iter_problems``: every problem of a file, in the order and the words of its report.

Called by the driver for ``--problems``. Reports keep the first problems of a file and count the
others, so that results stay small on their way through processes and Ray. For the few files that
have more than were kept, all of them are found again, by reading those files once more, a batch
at a time: what is kept in memory is the problems of one batch of lines, whatever their number in
the file. (Had the workers kept them all, one bad file could fill the memory of the driver.)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from ingest.files import FileReport, Problem, Purpose, RuleSet, SliceTask
from ingest.sources import open_source
from ingest.validation.csv_rows import iter_csv_problems
from ingest.validation.jsonl import iter_jsonl
from ingest.validation.merge import Places
from ingest.validation.parquet_rows import iter_parquet_problems


def iter_problems(report: FileReport, purpose: Purpose, rules: RuleSet) -> Iterator[Problem]:
    """Yield the problems that ``report`` counts; its own come first.

    Args:
        report: of a file that is as it was when it was read.
        purpose: as it was checked.
        rules: as it was checked.

    Raises:
        SourceChanged: the file is not what it was.
        SourceError: it can no longer be read.
        Retryable: its store has a passing fault.
    """
    source, file_type = report.source, report.file_type
    if source is None or file_type is None or len(report.problems) == report.problem_count:
        yield from report.problems
        return
    task = SliceTask(source, file_type, purpose, rules, 0, source.size_bytes, sys.maxsize)
    yield from report.file_problems
    with open_source(source) as stream:
        if file_type == "parquet":
            yield from iter_parquet_problems(task, stream)
        elif file_type == "csv":
            yield from iter_csv_problems(task, stream)
        else:
            places = Places()
            for result in iter_jsonl(task, stream):
                yield from places.add(result)[0]
