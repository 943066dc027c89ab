"""Seeded random Parquet files: tokenised data, and everything that is not."""

from __future__ import annotations

import io
import random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.files import Purpose
from tests.differential.generate import DatasetFile

COLUMNS = ("input_ids", "attention_mask", "labels", "position_ids", "text", "Input_ids", "")
TYPES = (
    pa.list_(pa.int32()),
    pa.list_(pa.int64()),
    pa.large_list(pa.uint16()),
    pa.list_(pa.int8(), 3),
    pa.list_(pa.float32()),
    pa.int64(),
    pa.string(),
)


def generate_parquet(rng: random.Random) -> DatasetFile:
    """Make one Parquet file: its columns, types, lengths, layout and bytes are random."""
    names = ["input_ids"] if rng.random() < 0.9 else []
    weights = [8, 8, 8, 4, 2, 1, 1]
    names += rng.choices(COLUMNS, weights, k=rng.choice((0, 1, 2, 3)))
    if rng.random() < 0.9:
        names = list(dict.fromkeys(names))
    rng.shuffle(names)
    rows = rng.choice((0, 1, 2, 10, 50))
    arrays = [_column(rows, rng) for _ in names]
    table = pa.Table.from_arrays(arrays, names=names)
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        row_group_size=rng.choice((1, 7, 1000)),
        compression=rng.choice(("none", "snappy", "zstd")),
        data_page_version=rng.choice(("1.0", "2.0")),
    )
    data = sink.getvalue()
    kind = rng.random()
    if kind < 0.08:
        data = data[: rng.randrange(len(data))]
    elif kind < 0.12:
        data = b"PAR1" + data
    elif kind < 0.14:
        data = rng.choice((b"", b"PAR1", b"PAR1PAR1", b'{"text": "a"}\n'))
    purpose: Purpose = "eval" if rng.random() < 0.05 else "fine-tune"
    return DatasetFile(".parquet", purpose, data)


def _column(rows: int, rng: random.Random) -> Any:
    kind = TYPES[0] if rng.random() < 0.8 else rng.choice(TYPES)
    length = rng.choice((3, 3, 3, 3, 0, 5))
    null_share = 0.1 if rng.random() < 0.1 else 0.0
    values: list[Any] = []
    for _ in range(rows):
        if rng.random() < null_share:
            values.append(None)
        elif not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
            values.append([1] * 3 if pa.types.is_fixed_size_list(kind) else _scalar(kind))
        else:
            values.append([1] * length)
    return pa.array(values, kind)


def _scalar(kind: Any) -> Any:
    return "1" if pa.types.is_string(kind) else 1
