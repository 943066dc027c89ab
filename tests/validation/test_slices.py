"""Through the public interface: real files, in this process and in others."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from ingest.errors import SourceChanged, SourceError
from ingest.files import FileType, SliceTask, SourceFile
from ingest.sources import stat_source
from ingest.validation import SliceResult, merge_slices, validate_slice

RECORD = b'{"text": "a"}\n'


def task_of(path: Path, file_type: FileType = "jsonl") -> SliceTask:
    source = stat_source(str(path), path.name)
    return SliceTask(source, file_type, "fine-tune", "standard", 0, source.size_bytes)


@pytest.mark.parametrize("file_type", ["jsonl", "csv", "parquet"])
def test_an_empty_file_is_a_result(tmp_path: Path, file_type: FileType) -> None:
    path = tmp_path / f"data.{file_type}"
    path.touch()
    task = task_of(path, file_type)
    result = validate_slice(task)
    assert result == SliceResult()
    report = merge_slices(task.source, file_type, "eval", "standard", 9, [result])
    assert [problem.code for problem in report.problems] == ["file.empty"]


def truncate(path: Path) -> None:
    os.truncate(path, 5)


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + RECORD)


def replace(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    other.replace(path)


@pytest.mark.parametrize("file_type", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("change", [truncate, append, replace, Path.unlink])
def test_a_source_that_changed_since_it_was_planned_is_not_judged(
    tmp_path: Path, file_type: FileType, change: Callable[[Path], None]
) -> None:
    path = tmp_path / f"data.{file_type}"
    path.write_bytes(RECORD * 9)
    task = task_of(path, file_type)
    change(path)
    with pytest.raises((SourceChanged, SourceError)):
        validate_slice(task)


def test_a_slice_is_validated_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(RECORD * 9)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        result = pool.submit(validate_slice, task_of(path)).result()
    assert result.records == 9
    assert pickle.loads(pickle.dumps(result)) == result


def peak_memory_of(task: SliceTask) -> tuple[SliceResult, int]:
    result = validate_slice(task)
    return result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


LONG = 120 * 2**20


@pytest.mark.parametrize(
    ("file_type", "beginning", "end", "valid"),
    [
        pytest.param("jsonl", b'{"text": "', b'"}\n', True, id="valid"),
        pytest.param("jsonl", '{"text": "😀'.encode(), b'"}\n', True, id="wide-characters"),
        pytest.param("jsonl", b'{"text": ["', b'"]}\n', False, id="invalid"),
        pytest.param("jsonl", b"", b"\n", False, id="no-json"),
        pytest.param("jsonl", "😀".encode(), b"\n", False, id="no-json-wide-characters"),
        pytest.param(
            "jsonl", '{"text": ["😀'.encode(), b'"]}\n', False, id="invalid-wide-characters"
        ),
        pytest.param(
            "jsonl",
            '{"text": "😀", "a": ['.encode() + b"[]," * 1000 + b'"',
            b'"]}\n',
            False,
            id="many-brackets",
        ),
        pytest.param("csv", "😀".encode(), b"\n", True, id="csv-field"),
        pytest.param("csv", b'"\n"",', b",", True, id="csv-field-of-an-open-quote"),
    ],
)
def test_a_line_of_over_a_hundred_mebibytes_takes_bounded_memory(
    tmp_path: Path, file_type: FileType, beginning: bytes, end: bytes, valid: bool
) -> None:
    path = tmp_path / f"long.{file_type}"
    with path.open("wb") as file:
        file.write((RECORD if file_type == "jsonl" else b"a\n1\n") + beginning)
        for _ in range(LONG // 2**20):
            file.write(b"a" * 2**20)
        file.write(end + (RECORD if file_type == "jsonl" else b""))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        result, peak_bytes = pool.submit(peak_memory_of, task_of(path, file_type)).result()
    assert result.records == (3 if file_type == "jsonl" else 2)
    assert result.problem_count == (not valid)
    assert peak_bytes < 300 * 2**20 + 3 * LONG


def test_a_source_is_told_by_its_version_and_not_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(RECORD)
    task = task_of(path)
    source = SourceFile(task.source.uri, "other", task.source.size_bytes, "0-0")
    with pytest.raises(SourceChanged, match="changed after it was planned"):
        validate_slice(SliceTask(source, "jsonl", "fine-tune", "standard", 0, 14))
