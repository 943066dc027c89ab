from __future__ import annotations

import random
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.errors import Interrupted
from ingest.files import SourceFile
from ingest.sources import stat_source
from ingest.validation import duplicates
from ingest.validation.duplicates import find_duplicates

Write = Callable[[str, bytes], SourceFile]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_one(name: str, data: bytes) -> SourceFile:
        path = tmp_path / name
        path.write_bytes(data)
        return stat_source(str(path), name)

    return write_one


def test_a_record_is_repeated_whatever_its_line_end_and_the_first_one_is_not(write: Write) -> None:
    source = write("a.jsonl", b'{"a": 1}\n{"b": 1}\r\n{"a": 1}\r\n{"b":1}\n{"b": 1}\r{"a": 1}')
    found = find_duplicates([source], "standard", 100)[source.uri]
    assert found.count == 3
    assert [(w.line, w.record) for w in found.warnings] == [(3, 3), (5, 5), (6, 6)]
    assert [w.message for w in found.warnings] == [
        f"expected each record once, found that on line {line} again" for line in (1, 2, 1)
    ]
    assert {w.code for w in found.warnings} == {"warn.duplicate_record"}


def test_a_record_of_another_file_is_told_with_that_files_name(write: Write) -> None:
    first = write("a.jsonl", b'{"a": 1}\n')
    second = write("b.jsonl", b'{"b": 1}\n{"a": 1}\n')
    found = find_duplicates([first, second], "standard", 100)
    assert list(found) == [second.uri]
    (warning,) = found[second.uri].warnings
    assert warning.line == 2
    assert warning.message.endswith(f"found that on line 1 of {first.uri} again")


def test_all_are_counted_and_the_first_are_kept(write: Write) -> None:
    source = write("a.jsonl", b"{}\n" * 1000)
    found = find_duplicates([source], "standard", 3)[source.uri]
    assert found.count == 999
    assert [w.line for w in found.warnings] == [2, 3, 4]


def test_blank_lines_are_no_records_but_have_numbers_where_the_rules_say_so(write: Write) -> None:
    source = write("a.jsonl", "\n\n \u3000\n{}\n\n{}\n".encode())
    for rules, record in (("basic", 2), ("standard", 6)):
        found = find_duplicates([source], rules, 9)[source.uri]  # type: ignore[arg-type]
        assert [(w.line, w.record) for w in found.warnings] == [(6, record)]


def test_what_is_found_is_what_a_dictionary_finds(write: Write) -> None:
    rng = random.Random(5)
    files = [[str(rng.randrange(3000)) for _ in range(2000)] for _ in range(3)]
    sources = [
        write(f"{number}.jsonl", "\n".join(lines).encode()) for number, lines in enumerate(files)
    ]
    seen: set[str] = set()
    expected = []
    for lines in files:
        expected.append([n for n, line in enumerate(lines, 1) if line in seen or seen.add(line)])  # type: ignore[func-returns-value]
    found = find_duplicates(sources, "standard", 10**6)
    assert [[w.line for w in found[source.uri].warnings] for source in sources] == expected


def test_what_its_caller_raises_ends_the_search_and_leaves_nothing_behind(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    source = write("a.jsonl", b"{}\n")

    def stop(size_bytes: int) -> None:
        raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        find_duplicates([source], "standard", 9, stop)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.jsonl"]


def test_memory_does_not_grow_with_the_number_of_records(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "_TABLES", duplicates._TABLES.replace("65536", "1024"))
    source = write("a.jsonl", b"".join(b"%d\n" % number for number in range(200_000)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert find_duplicates([source], "standard", 9) == {}
    # 200,000 hashes and numbers take 30 MB as Python objects.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024
