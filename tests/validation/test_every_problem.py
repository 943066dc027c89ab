"""Every problem of a file, found again: what the report would hold if it kept them all."""

from __future__ import annotations

import io
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.errors import SourceChanged
from ingest.files import FileReport, FileType, Purpose, RuleSet, SliceTask
from ingest.sources import stat_source
from ingest.validation import jsonl, merge, merge_slices, validate_slice
from ingest.validation.every_problem import iter_problems

GOOD = b'{"text": "a"}\n'
BAD = b'{"text": 5, "a": 1}\n'
CHAT = b'{"messages": [{"role": "assistant", "content": "a"}]}\n'
REQUEST = b'{"custom_id": "1", "body": {"model": "m"}}\n'


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


def report_of(
    path: Path, file_type: FileType, purpose: Purpose, rules: RuleSet, max_problems: int
) -> FileReport:
    source = stat_source(str(path), path.name)
    task = SliceTask(source, file_type, purpose, rules, 0, source.size_bytes, max_problems)
    return merge_slices(source, file_type, purpose, rules, max_problems, [validate_slice(task)])


ROWS = [[1, 2]] * 5000
FILES: dict[str, tuple[bytes, FileType, Purpose, RuleSet]] = {
    "jsonl": ((BAD + GOOD) * 500, "jsonl", "fine-tune", "standard"),
    "mixed formats": ((GOOD + CHAT + BAD) * 500, "jsonl", "fine-tune", "strict"),
    "not UTF-8": ((GOOD + b"\xff\n" + BAD) * 500, "jsonl", "fine-tune", "standard"),
    "blank lines": ((b"\n[]\n" + GOOD) * 500, "jsonl", "fine-tune", "basic"),
    "byte-order mark": (b"\xef\xbb\xbf" + BAD * 200, "jsonl", "fine-tune", "standard"),
    "batch": (REQUEST * 1500, "jsonl", "batch-api", "standard"),
    "csv": (b"a,b\n" + b"1,2\n1\n\xff,2,3\n" * 500, "csv", "eval", "standard"),
    "csv without a header": (b"\n1,2\n", "csv", "eval", "standard"),
    "parquet": (
        parquet({"input_ids": ROWS, "labels": [[1]] * 5000, "x": [1] * 5000}, row_group_size=700),
        "parquet",
        "fine-tune",
        "standard",
    ),
    "no parquet": (b"PAR1", "parquet", "fine-tune", "standard"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("max_problems", [1, 7])
def test_all_problems_are_those_of_a_report_that_keeps_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, max_problems: int
) -> None:
    for module in (jsonl, merge):
        monkeypatch.setattr(module, "MAX_REQUESTS", 1000)
    data, file_type, purpose, rules = FILES[name]
    path = tmp_path / f"data.{file_type}"
    path.write_bytes(data)
    everything = report_of(path, file_type, purpose, rules, 10**9)
    report = report_of(path, file_type, purpose, rules, max_problems)

    found = list(iter_problems(report, purpose, rules))

    assert len(found) == report.problem_count > 0
    assert tuple(found) == everything.problems
    assert tuple(found[:max_problems]) == report.problems


def test_memory_does_not_grow_with_the_number_of_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.validation.lines.MAX_LINES_PER_BATCH", 1000)
    peaks = []
    for lines in (2_000, 16_000):
        path = tmp_path / f"{lines}.jsonl"
        path.write_bytes(b"[]\n" * lines)
        report = report_of(path, "jsonl", "eval", "standard", 1)
        tracemalloc.start()
        assert sum(1 for _ in iter_problems(report, "eval", "standard")) == lines
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_a_file_that_has_changed_since_is_not_told_of(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(BAD * 9)
    report = report_of(path, "jsonl", "fine-tune", "standard", 2)
    os.truncate(path, 40)
    with pytest.raises(SourceChanged):
        list(iter_problems(report, "fine-tune", "standard"))
