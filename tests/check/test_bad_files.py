"""Files that are not what their names say, or not what they were: told, and the others go on."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from ingest.sources.local import LocalStream
from tests.check.conftest import Check

GOOD = b'{"text": "a"}\n'


@pytest.fixture(autouse=True)
def _good(tmp_path: Path) -> None:
    """A file that must be reported whatever is wrong with its neighbour."""
    (tmp_path / "good.jsonl").write_bytes(GOOD)
    (tmp_path / "good.csv").write_bytes(b"a,b\n1,2\n")


def _table() -> pa.Table:
    return pa.table({"input_ids": [[number, number + 1] for number in range(2000)]})


def _parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def _with_a_corrupt_page() -> bytes:
    data = bytearray(_parquet(_table(), compression="zstd", use_dictionary=False))
    data[200:600] = bytes(400)
    return bytes(data)


def _encrypted() -> bytes:
    class _Keys(pe.KmsClient):
        def __init__(self, _config: pe.KmsConnectionConfig) -> None:
            super().__init__()

        def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
            return key_bytes

        def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
            return wrapped_key

    properties = pe.CryptoFactory(_Keys).file_encryption_properties(
        pe.KmsConnectionConfig(),
        pe.EncryptionConfiguration(footer_key="footer", uniform_encryption=True),
    )
    return _parquet(_table(), encryption_properties=properties)


CONTENTS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "a corrupt page": ("x.parquet", _with_a_corrupt_page, "parquet.unreadable"),
    "encrypted": ("x.parquet", _encrypted, "parquet.unreadable"),
    "no rows": ("x.parquet", lambda: _parquet(_table().slice(0, 0)), "file.no_records"),
    "cut short": ("x.parquet", lambda: _parquet(_table())[:-100], "parquet.unreadable"),
    "JSON Lines named .parquet": ("x.parquet", lambda: GOOD, "parquet.unreadable"),
    "gzip named .jsonl": ("x.jsonl", lambda: gzip.compress(GOOD * 99), "file.not_utf8"),
    "Parquet named .jsonl": ("x.jsonl", lambda: _parquet(_table()), "file.not_utf8"),
    "UTF-16 named .jsonl": ("x.jsonl", lambda: GOOD.decode().encode("utf-16"), "file.not_utf8"),
    "NULs in JSON Lines": ("x.jsonl", lambda: GOOD + bytes(100), "json.malformed"),
    "no bytes": ("x.jsonl", bytes, "file.empty"),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_content_that_is_not_what_the_name_says_is_a_problem(
    check: Check, tmp_path: Path, case: str
) -> None:
    name, content, code = CONTENTS[case]
    (tmp_path / name).write_bytes(content())

    result = check("good.jsonl", name, "--json", "-")

    assert result.code == 5, result.err
    assert result.codes(name)[0] == code
    assert result.files["good.jsonl"]["valid"]
    assert "Traceback" not in result.err


def test_a_nul_in_a_csv_is_data(check: Check, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"a,b\n\0,2\n1\0\n")
    result = check("good.csv", "x.csv", "--purpose", "eval", "--json", "-")
    assert result.code == 5
    assert [(p["line"], p["code"]) for p in result.files["x.csv"]["problems"]] == [
        (3, "csv.row_width")
    ]
    assert result.files["good.csv"]["valid"]


def test_a_folder_named_like_a_file_is_a_folder(check: Check, tmp_path: Path) -> None:
    folder = tmp_path / "x.jsonl"
    folder.mkdir()
    empty = check("good.jsonl", "x.jsonl", "--json", "-")
    assert empty.code == 2
    assert empty.codes("x.jsonl") == ["file.not_found"]
    assert "dataset files" in empty.files["x.jsonl"]["problems"][0]["message"]
    assert empty.files["good.jsonl"]["valid"]

    (folder / "inner.jsonl").write_bytes(b"[]\n")
    result = check("good.jsonl", "x.jsonl", "--rules", "basic", "--json", "-")
    assert result.code == 5
    assert result.codes("inner.jsonl") == ["json.not_object"]
    assert result.files["good.jsonl"]["valid"]


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(GOOD)


def _shrink(path: Path) -> None:
    os.truncate(path, 20)


def _rewrite(path: Path) -> None:
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b'"a"', b'"b"'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def _replace(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def _to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


CONTENT = {
    "x.jsonl": GOOD * 100,
    "x.csv": b"a,b\n" + b"1,2\n" * 100,
    "x.parquet": _parquet(_table()),
}


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("change", [_append, _shrink, _rewrite])
def test_a_file_that_changes_while_it_is_read_is_unreadable(
    check: Check,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    change: Callable[[Path], None],
) -> None:
    path = tmp_path / name
    path.write_bytes(CONTENT[name])
    read, todo = LocalStream.readinto, [change]

    def read_and_change(stream: LocalStream, buffer: Any, /) -> int:
        count = read(stream, buffer)
        if stream._source.name == name and todo:
            todo.pop()(path)
        return count

    monkeypatch.setattr(LocalStream, "readinto", read_and_change)
    _assert_unreadable(check, name, "run again when nothing writes to it")


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (Path.unlink, "vanished after it was planned"),
        (_replace, "changed after it was planned"),
        (_shrink, "changed after it was planned"),
        (_to_folder, ""),
    ],
)
def test_a_file_that_changes_or_vanishes_before_it_is_read_is_unreadable(
    check: Check,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    change: Callable[[Path], None],
    says: str,
) -> None:
    path = tmp_path / name
    path.write_bytes(CONTENT[name])
    begin, todo = LocalStream.__init__, [change]

    def change_and_begin(stream: LocalStream, source: Any) -> None:
        if source.name == name and todo:
            todo.pop()(path)
        begin(stream, source)

    monkeypatch.setattr(LocalStream, "__init__", change_and_begin)
    _assert_unreadable(check, name, says)


def _assert_unreadable(check: Check, name: str, says: str) -> None:
    good = "good.csv" if name.endswith(".csv") else "good.jsonl"
    purpose = "eval" if name.endswith(".csv") else "fine-tune"

    result = check(good, name, "--purpose", purpose, "--json", "-")

    assert result.code == 2, result.err
    (problem,) = result.files[name]["problems"]
    assert problem["code"] == "file.unreadable"
    assert says in problem["message"]
    assert result.files[good]["valid"]
    assert "Traceback" not in result.err


def test_what_is_missing_is_told_beside_what_is_there(check: Check) -> None:
    result = check("good.jsonl", "none.jsonl", "--json", "-")
    assert result.code == 2
    assert result.codes("none.jsonl") == ["file.not_found"]
    assert result.files["good.jsonl"]["valid"]
