from __future__ import annotations

import io
import random
import tracemalloc
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from ingest.errors import SourceChanged
from ingest.files import RuleSet, SliceTask
from ingest.validation import parquet_rows
from ingest.validation.parquet_rows import check_parquet
from tests.validation.in_memory import MemoryStream, codes, report_of_whole, source_of

IDS = [[1, 2], [3]]


def parquet(columns: dict[str, Any] | pa.Table, **options: Any) -> bytes:
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"input_ids": IDS}, id="ids-alone"),
        pytest.param({"labels": IDS, "input_ids": IDS, "attention_mask": IDS}, id="any-order"),
        pytest.param({"input_ids": [[], [1]]}, id="empty-list"),
        pytest.param({"input_ids": pa.array(IDS, pa.large_list(pa.uint8()))}, id="large-list"),
        pytest.param(
            {"input_ids": pa.array([[1, 2], [3, 4]], pa.list_(pa.int32(), 2))}, id="fixed-size"
        ),
        pytest.param(
            {
                "input_ids": pa.array([[1, 2], [3, 4]], pa.list_(pa.int32(), 2)),
                "labels": pa.array([[1, 2], [3, 4]], pa.large_list(pa.int64())),
            },
            id="two-kinds-of-list",
        ),
    ],
)
@pytest.mark.parametrize("rules", ["strict", "standard", "basic"])
def test_lists_of_integers_of_one_length_are_valid(columns: dict[str, Any], rules: RuleSet) -> None:
    report = report_of_whole(parquet(columns), "parquet", rules=rules)
    assert report.valid, report
    assert (report.records, report.dataset_format) == (2, "tokenized")


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        pytest.param({"text": ["a"]}, ["missing_input_ids", "extra_column"], id="text"),
        pytest.param({"labels": IDS}, ["missing_input_ids"], id="no-ids"),
        pytest.param({"input_ids": IDS, "Labels": IDS}, ["extra_column"], id="other-case"),
        pytest.param({"input_ids": [1, 2]}, ["column_type"], id="no-lists"),
        pytest.param({"input_ids": [["a"]]}, ["column_type"], id="lists-of-strings"),
        pytest.param({"input_ids": [[1.0]]}, ["column_type"], id="lists-of-floats"),
        pytest.param({"input_ids": [[True]]}, ["column_type"], id="lists-of-booleans"),
        pytest.param({"input_ids": [[[1]]]}, ["column_type"], id="lists-of-lists"),
        pytest.param({"input_ids": [{"a": 1}]}, ["column_type"], id="structs"),
        pytest.param({"input_ids": IDS, "labels": [[1], [3]]}, ["length_mismatch"], id="shorter"),
        pytest.param({"input_ids": IDS, "labels": [None, [3]]}, ["length_mismatch"], id="null"),
        pytest.param({"input_ids": [None, [3]]}, ["length_mismatch"], id="null-ids"),
        pytest.param(
            {"input_ids": [None, [1]], "labels": [[1], [1]]}, ["length_mismatch"], id="told-once"
        ),
        pytest.param(
            {"input_ids": [None, [1]], "labels": [None, [1]]}, ["length_mismatch"] * 2, id="both"
        ),
    ],
)
def test_other_columns_and_rows_are_problems(columns: dict[str, Any], found: list[str]) -> None:
    report = report_of_whole(parquet(columns), "parquet")
    assert codes(report) == [f"parquet.{code}" for code in found]


def test_position_ids_are_an_extra_column_in_strict_alone() -> None:
    data = parquet({"input_ids": IDS, "position_ids": IDS})
    assert report_of_whole(data, "parquet").valid
    assert codes(report_of_whole(data, "parquet", rules="strict")) == ["parquet.extra_column"]


def test_a_file_without_rows_has_no_records() -> None:
    assert codes(report_of_whole(parquet({"input_ids": []}), "parquet")) == ["file.no_records"]


def test_a_row_is_told_by_its_number_and_column() -> None:
    columns = {
        "input_ids": [[1]] * 5 + [[1, 2]],
        "attention_mask": [[1]] * 4 + [None, [1, 1, 1]],
        "labels": [[1]] * 5 + [[1]],
    }
    report = report_of_whole(parquet(columns, row_group_size=2), "parquet")
    found = [(p.line, p.record, p.path, p.message) for p in report.problems]
    assert found == [
        (None, 5, "attention_mask", "expected 1 values like input_ids, found null"),
        (None, 6, "attention_mask", "expected 2 values like input_ids, found 3"),
        (None, 6, "labels", "expected 2 values like input_ids, found 1"),
    ]


@pytest.mark.parametrize("max_problems", [0, 1, 5, 100])
def test_all_rows_are_counted(max_problems: int) -> None:
    data = parquet({"input_ids": IDS * 30, "labels": [[1], [3]] * 30}, row_group_size=7)
    report = report_of_whole(data, "parquet", max_problems=max_problems)
    assert report.problem_count == 30
    assert [p.record for p in report.problems] == list(range(1, 60, 2))[:max_problems]


def encrypted() -> bytes:
    class Wrapping(pe.KmsClient):  # type: ignore[misc]
        def wrap_key(self, key: bytes, name: str) -> str:
            return key.hex()

        def unwrap_key(self, wrapped: str, name: str) -> bytes:
            return bytes.fromhex(wrapped)

    factory = pe.CryptoFactory(lambda config: Wrapping())
    config = pe.EncryptionConfiguration(footer_key="key", uniform_encryption=True)
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
    return parquet({"input_ids": IDS}, encryption_properties=properties)


def with_a_repeated_column() -> bytes:
    columns = [pa.array(IDS), pa.array(IDS)]
    return parquet(pa.Table.from_arrays(columns, names=["input_ids", "input_ids"]))


def with_a_damaged_page() -> bytes:
    data = bytearray(parquet({"input_ids": [list(range(1000))] * 9}, compression="snappy"))
    data[200:300] = b"\xff" * 100
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"PAR1", id="magic-alone"),
        pytest.param(b"not parquet at all", id="something-else"),
        pytest.param(b'{"text": "a"}\n' * 99, id="json-lines"),
        pytest.param(parquet({"input_ids": IDS})[:-1], id="cut-off"),
        pytest.param(parquet({"input_ids": IDS})[4:], id="beginning-lost"),
        pytest.param(b"PAR1" + bytes(20) + b"\xff\xff\xff\x7fPAR1", id="footer-longer-than-file"),
        pytest.param(encrypted(), id="encrypted"),
        pytest.param(with_a_repeated_column(), id="repeated-column"),
        pytest.param(with_a_damaged_page(), id="damaged-page"),
    ],
)
def test_what_arrow_cannot_read_is_a_problem(data: bytes) -> None:
    report = report_of_whole(data, "parquet")
    assert codes(report)[0] == "parquet.unreadable"
    assert "\n" not in report.problems[0].message
    assert len(report.problems[0].message) < 150


def test_damaged_files_never_raise() -> None:
    rng = random.Random(1)
    whole = parquet({"input_ids": IDS * 50, "labels": IDS * 50}, row_group_size=20)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(4, len(data) - 4)] = rng.randrange(256)
        report = report_of_whole(bytes(data), "parquet")
        assert report.valid == (not report.problems)


class ChangingStream(MemoryStream):
    """A stream whose source changes after a number of reads."""

    def __init__(self, data: bytes, reads: int) -> None:
        super().__init__(data)
        self._reads = reads

    def readinto(self, buffer: Any, /) -> int:
        self._reads -= 1
        if self._reads < 0:
            raise SourceChanged("changed")
        return super().readinto(buffer)


@pytest.mark.parametrize("reads", range(4))
def test_a_source_that_changes_while_arrow_reads_it_is_no_problem_of_the_data(reads: int) -> None:
    data = parquet({"input_ids": [list(range(99))] * 2000}, row_group_size=500)
    task = SliceTask(source_of(data, "a.parquet"), "parquet", "fine-tune", "basic", 0, len(data))
    with pytest.raises(SourceChanged):
        check_parquet(task, ChangingStream(data, reads))


def test_memory_does_not_grow_with_the_row_group(monkeypatch: pytest.MonkeyPatch) -> None:
    # 40 million values: 320 MB once decoded, a few kB in the file.
    ids = pa.array([[7] * 4000] * 100, pa.list_(pa.int64()))
    table = pa.table({"input_ids": pa.chunked_array([ids] * 100)})
    data = parquet(table, row_group_size=10_000)
    assert pq.ParquetFile(io.BytesIO(data)).num_row_groups == 1
    del table, ids
    before = pa.total_allocated_bytes()
    peak = 0
    check = parquet_rows._check_lengths

    def watched(batch: Any, findings: Any) -> None:
        nonlocal peak
        peak = max(peak, pa.total_allocated_bytes() - before)
        check(batch, findings)

    monkeypatch.setattr(parquet_rows, "_check_lengths", watched)
    tracemalloc.start()
    report = report_of_whole(data, "parquet")
    python_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.valid
    assert report.records == 10_000
    assert peak < 64 * 2**20
    assert python_peak < 16 * 2**20
