"""Reading local files: the right bytes, of one version, or a clear error."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.errors import SourceChanged, SourceError
from ingest.sources import open_source, stat_source

DATA = bytes(range(256)) * 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_bytes(DATA)
    return path


def test_a_source_is_described_by_path_size_mtime_and_inode(path: Path) -> None:
    source = stat_source(str(path), "sub/a.jsonl")
    status = path.stat()
    assert (source.uri, source.name, source.size_bytes) == (str(path), "sub/a.jsonl", len(DATA))
    assert source.version == f"{status.st_mtime_ns}-{status.st_ino}"
    assert source.endpoint_url is None


def test_a_relative_path_becomes_absolute_and_keeps_its_links(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path.parent / "link.jsonl").symlink_to(path)
    monkeypatch.chdir(path.parent)
    assert stat_source("./x/../link.jsonl", "link.jsonl").uri == str(path.parent / "link.jsonl")


def test_reads_seeks_and_tells_as_any_file(path: Path) -> None:
    with open_source(stat_source(str(path), "a")) as stream:
        assert (stream.readable(), stream.seekable(), stream.writable()) == (True, True, False)
        assert stream.read(10) == DATA[:10]
        assert stream.seek(-10, os.SEEK_END) == len(DATA) - 10
        assert stream.read(100) == DATA[-10:]
        assert stream.read(100) == b""
        assert stream.seek(1000) == stream.tell() == 1000
        assert stream.seek(24, os.SEEK_CUR) == 1024
        assert stream.read() == DATA[1024:]
        assert stream.seek(len(DATA) + 5) == len(DATA) + 5
        assert stream.read(1) == b""
    assert stream.closed
    with pytest.raises(ValueError, match="closed"):
        stream.read(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda p: p.write_bytes(DATA + b"x"), "bytes were planned", id="longer"),
        pytest.param(lambda p: p.write_bytes(DATA[:-1]), "bytes were planned", id="shorter"),
        pytest.param(lambda p: os.utime(p, ns=(1, 1)), "version", id="touched"),
        pytest.param(lambda p: p.unlink(), "vanished", id="gone"),
    ],
)
def test_a_file_that_changed_before_it_is_opened_is_refused(change, message, path) -> None:  # type: ignore[no-untyped-def]
    source = stat_source(str(path), "a")
    change(path)
    with pytest.raises(SourceChanged, match=message):
        open_source(source)


def test_a_file_replaced_by_another_of_the_same_size_and_time_is_refused(path: Path) -> None:
    source = stat_source(str(path), "a")
    other = path.with_name("b")
    other.write_bytes(DATA[::-1])
    status = path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    with pytest.raises(SourceChanged, match="version"):
        open_source(source)


def test_a_file_written_to_while_it_is_read_is_told_at_close(path: Path) -> None:
    stream = open_source(stat_source(str(path), "a"))
    assert stream.read() == DATA
    path.write_bytes(DATA[::-1])
    os.utime(path, ns=(1, 1))
    with pytest.raises(SourceChanged, match="changed after it was planned"):
        stream.close()
    assert stream.closed
    stream.close()  # once is enough


def test_a_file_cut_short_while_it_is_read_is_told_by_the_read(path: Path) -> None:
    stream = open_source(stat_source(str(path), "a"))
    stream.read(10)
    os.truncate(path, 20)
    with pytest.raises(SourceChanged, match="it has 20"):
        stream.read(100)
    with pytest.raises(SourceChanged):
        stream.close()


def test_bytes_that_were_appended_are_never_read(path: Path) -> None:
    stream = open_source(stat_source(str(path), "a"))
    with path.open("ab") as file:
        file.write(b"more")
    assert stream.read() == DATA
    with pytest.raises(SourceChanged):
        stream.close()


def test_leaving_by_an_exception_keeps_that_exception(path: Path) -> None:
    def fail_while_the_file_changes() -> None:
        with open_source(stat_source(str(path), "a")):
            path.write_bytes(b"changed")
            raise RuntimeError("first")

    with pytest.raises(RuntimeError, match="first"):
        fail_while_the_file_changes()


def test_a_forgotten_stream_of_a_changed_file_ends_quietly(path: Path) -> None:
    stream = open_source(stat_source(str(path), "a"))
    path.write_bytes(b"changed")
    del stream
    gc.collect()  # an exception in __del__ would be a warning, and so an error here


def make_socket(path: Path) -> None:
    # Unix socket names are limited, so it is bound by a relative name.
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda p: None, "No such file", id="missing"),
        pytest.param(lambda p: p.mkdir(), "found a folder", id="folder"),
        pytest.param(os.mkfifo, "found a FIFO", id="FIFO"),
        pytest.param(make_socket, "found a socket", id="socket"),
        pytest.param(lambda p: p.symlink_to("/dev/null"), "found a device", id="device"),
        pytest.param(lambda p: p.symlink_to(p), "loop of symbolic links", id="loop of links"),
    ],
)
def test_what_is_no_regular_file_is_an_error_and_never_waits(make, message, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "x"
    make(path)
    with pytest.raises(SourceError, match=message):
        stat_source(str(path), "x")


def test_a_null_byte_in_a_path_is_an_error() -> None:
    with pytest.raises(SourceError, match="null"):
        stat_source("a\0b", "x")


def test_importing_sources_imports_neither_boto3_nor_pyarrow() -> None:
    code = (
        "import sys, ingest.sources, ingest.planning, ingest.borders\n"
        "heavy = {'boto3', 'botocore', 'pyarrow', 'ray', 'urllib3'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
