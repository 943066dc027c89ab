"""``find_duplicates``: records of JSON Lines files that are there more than once, in any file.

Called by the driver for ``--duplicates``, behind validation. A 128-bit hash of each record goes
into an SQLite table on disk, and sorting that is SQLite's part: its caches have a fixed size, so
memory does not grow with the number of records. Disk does, by about 40 bytes a record.

Records are the same if their bytes are, without the line's end. Blank lines are none.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from ingest.files import Problem, RuleSet, SourceFile
from ingest.sources import open_source
from ingest.validation.lines import LineBatch, read_batches

CODE = "warn.duplicate_record"

_BRACE = ord("{")
_CACHE_KIB = 64 * 1024
_TABLES = f"""
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA temp_store = FILE;
    PRAGMA cache_size = -{_CACHE_KIB};
    CREATE TABLE records (id INTEGER PRIMARY KEY, hash BLOB, file INT, line INT, record INT);
    CREATE TABLE repeated (hash BLOB PRIMARY KEY, first INT) WITHOUT ROWID;
"""
_FIND = """
    INSERT INTO repeated
    SELECT hash, min(id) FROM records GROUP BY hash HAVING count(*) > 1
"""
# A cross join is not reordered: one pass over the records, in source order.
_LIST = """
    SELECT again.file, again.line, again.record, once.file, once.line
    FROM records AS again
    CROSS JOIN repeated ON repeated.hash = again.hash
    CROSS JOIN records AS once ON once.id = repeated.first
    WHERE again.id > once.id
    ORDER BY again.id
"""


@dataclass(slots=True)
class Repeated:
    """The repeated records of one file.

    Attributes:
        count: all of them; the first of several is none.
        warnings: the first of them, in source order.
    """

    count: int = 0
    warnings: list[Problem] = field(default_factory=list)


def find_duplicates(
    sources: Sequence[SourceFile],
    rules: RuleSet,
    max_warnings: int,
    on_read: Callable[[int], None] = lambda size_bytes: None,
) -> dict[str, Repeated]:
    """Find the records that an earlier line, or an earlier file, has already.

    Args:
        sources: JSON Lines files, in the order in which they count.
        rules: as they were checked; under ``basic`` blank lines have no record number.
        max_warnings: how many warnings are kept of each file.
        on_read: told how many bytes have been read since the last call; what it raises ends
            the search.

    Returns:
        What was found, by URI; files without repeated records are left out.

    Raises:
        SourceChanged: a source is not what it was.
        SourceError: it can no longer be read.
        Retryable: its store has a passing fault.
    """
    with (
        tempfile.TemporaryDirectory(prefix="ingest-") as folder,
        closing(sqlite3.connect(Path(folder) / "records.db")) as database,
    ):
        database.executescript(_TABLES)
        for number, source in enumerate(sources):
            for rows in _hashed(source, rules, on_read):
                database.executemany(
                    "INSERT INTO records (hash, file, line, record) VALUES (?, ?, ?, ?)",
                    ((digest, number, line, record) for digest, line, record in rows),
                )
        return _listed(database, sources, max_warnings)


def _hashed(
    source: SourceFile, rules: RuleSet, on_read: Callable[[int], None]
) -> Iterator[list[tuple[bytes, int, int]]]:
    """Yield the hash, line and record number of each record, a batch at a time."""
    line = record = 0
    with open_source(source) as stream:
        for batch in read_batches(stream, 0, source.size_bytes, source.size_bytes):
            rows = []
            for content in _contents(batch):
                line += 1
                is_blank = _is_blank(content)
                record += not (is_blank and rules == "basic")
                if not is_blank:
                    digest = hashlib.blake2b(content, digest_size=16).digest()
                    rows.append((digest, line, record))
            yield rows
            on_read(batch.borders[-1] - batch.borders[0])


def _contents(batch: LineBatch) -> Iterator[memoryview]:
    """Yield the lines without their ends."""
    data = memoryview(batch.buffer)
    for begin, length in zip(batch.borders, batch.lengths().tolist(), strict=False):
        yield data[begin : begin + length]


def _is_blank(content: memoryview) -> bool:
    # Hardly any line gets past the first byte.
    if len(content) and content[0] == _BRACE:
        return False
    return not str(content, "utf-8", "replace").strip()


def _listed(
    database: sqlite3.Connection, sources: Sequence[SourceFile], max_warnings: int
) -> dict[str, Repeated]:
    found: dict[str, Repeated] = {}
    if not database.execute(_FIND).rowcount:
        return found
    for file, line, record, first_file, first_line in database.execute(_LIST):
        repeated = found.setdefault(sources[file].uri, Repeated())
        repeated.count += 1
        if len(repeated.warnings) < max_warnings:
            elsewhere = "" if first_file == file else f" of {sources[first_file].uri}"
            message = (
                f"expected each record once, found that on line {first_line:,}{elsewhere} again"
            )
            repeated.warnings.append(Problem(line, record, None, CODE, message))
    return found
