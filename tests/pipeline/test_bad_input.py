"""What a user gets wrong: one line that says what to do, the right exit code, and nothing sent."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from ingest.serve import Fault, LocalFilesApi
from tests.pipeline.conftest import Ingest, Result, jsonl, sent, until


@dataclass(frozen=True)
class Case:
    """A command line, and what comes of it."""

    words: str
    code: int
    says: str


_USUAL = "publish data --manifest out.jsonl"
CASES = {
    "a path that is missing": Case("publish none --manifest out.jsonl", 2, "none: expected a file"),
    "one path of two that is missing": Case(
        "publish data none --manifest out.jsonl", 2, "none: expected a file"
    ),
    "a pattern that matches nothing": Case(
        "publish data/*.csv --manifest out.jsonl", 2, "matches no dataset file"
    ),
    "an empty folder": Case("publish empty --manifest out.jsonl", 2, "holds no dataset files"),
    "a URL that is no source": Case(
        "publish https://host/a.jsonl --manifest out.jsonl", 2, "only local paths and s3://"
    ),
    "a folder of mixed types": Case(
        "publish mixed --manifest out.jsonl", 5, "file.unknown_type expected a name that ends in"
    ),
    "an empty file": Case("publish nothing.jsonl --manifest out.jsonl", 5, "file.empty"),
    "no input": Case("publish --manifest out.jsonl", 2, "Missing argument 'INPUT...'"),
    "no manifest": Case("publish data", 2, "--manifest FILE"),
    "a purpose that does not exist": Case(f"{_USUAL} --purpose fun", 2, "'fun' is not one of"),
    "an option that does not exist": Case(f"{_USUAL} --fast", 2, "No such option"),
    "a command that does not exist": Case("upload data", 2, "No such command 'upload'"),
    "the data in place of a manifest": Case(
        "publish data --manifest data/a.jsonl", 2, "data: holds no dataset files"
    ),
    "a manifest that is another file": Case(
        "publish data --manifest notes.txt", 2, "notes.txt:1: is not a manifest of ours"
    ),
    "a manifest of other JSON lines": Case(
        "publish data --manifest other.jsonl", 2, "other.jsonl:1: is not a manifest of ours"
    ),
    "a folder in place of a manifest": Case(
        "publish data --manifest empty", 2, "empty: is a folder; --manifest wants a file"
    ),
    "a manifest below a file": Case(
        "publish data --manifest notes.txt/out.jsonl", 2, "--manifest needs a place"
    ),
    "a journal that is not ours": Case(
        "publish data --manifest foreign.jsonl", 2, "foreign.jsonl.journal:1: is not a journal"
    ),
    "a size that is a word": Case(f"{_USUAL} --part-size banana", 2, "--part-size banana: "),
    "a part size of zero": Case(f"{_USUAL} --part-size 0", 2, "--part-size 0: must be more than 0"),
    "a negative size": Case(f"{_USUAL} --shard-size -5MB", 2, "--shard-size -5MB: "),
    "a part size below the store's": Case(
        f"{_USUAL} --part-size 1MiB --base-url https://api.example.com",
        2,
        "--part-size: object stores refuse parts under 5MiB",
    ),
    "none in flight": Case(f"{_USUAL} --max-in-flight 0", 2, "--max-in-flight 0: "),
    "no workers": Case(f"{_USUAL} --workers 0", 2, "--workers 0: "),
    "no time for a part": Case(f"{_USUAL} --part-timeout 0", 2, "--part-timeout 0"),
    "no bandwidth": Case(f"{_USUAL} --max-bandwidth 0", 2, "--max-bandwidth 0: "),
    "more parts in flight than the API likes": Case(
        f"{_USUAL} --max-parts-per-file 5", 2, "--max-parts-per-file 5: "
    ),
    "a number that is a word": Case(f"{_USUAL} --max-problems few", 2, "'few' is not a valid int"),
    "plain http to another machine": Case(
        f"{_USUAL} --base-url http://api.example.com/v1", 2, "--base-url: plain http would show"
    ),
    "a base URL that is none": Case(
        f"{_USUAL} --base-url api.example.com", 2, "--base-url api.example.com: expected an http(s)"
    ),
    "a key file that is missing": Case(
        f"{_USUAL} --api-key-file none", 2, "--api-key-file none: cannot be read"
    ),
    "a Ray cluster that is not there": Case(
        f"{_USUAL} --address banana", 2, "--address banana: no Ray cluster answers"
    ),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, data: Path) -> Path:
    """A good dataset, and all that the cases name."""
    (data / "a.jsonl").write_bytes(jsonl(1_000))
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "a.jsonl").write_bytes(jsonl(1_000))
    (tmp_path / "mixed" / "readme.md").write_bytes(b"# Read me\n")
    (tmp_path / "nothing.jsonl").touch()
    (tmp_path / "notes.txt").write_bytes(b"Not a manifest.\n")
    (tmp_path / "other.jsonl").write_bytes(jsonl(100))
    (tmp_path / "foreign.jsonl.journal").write_bytes(b"Not a journal.\n")
    return tmp_path


def assert_one_error(result: Result, code: int, says: str) -> None:
    assert result.code == code, result
    assert len(result.errors) == 1, result.err
    assert says in result.errors[0]
    assert "Traceback" not in result.err
    assert result.out == ""


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_is_told_in_one_line_and_nothing_is_sent(
    ingest: Ingest, files_api: LocalFilesApi, folder: Path, case: Case
) -> None:
    before = {path: _content(path) for path in folder.rglob("*") if "files-api" not in path.parts}

    result = ingest(*case.words.split())

    assert_one_error(result, case.code, case.says)
    assert sent(files_api) == []
    after = {path: _content(path) for path in folder.rglob("*") if "files-api" not in path.parts}
    assert after == before, "no file is made, changed or left behind"


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


@pytest.mark.parametrize("more", [(), ("--no-check",), ("--on-invalid", "skip")], ids=str)
def test_a_file_that_may_not_be_read_is_wrong_input_not_invalid_data(
    ingest: Ingest, files_api: LocalFilesApi, data: Path, more: tuple[str, ...]
) -> None:
    (data / "secret.jsonl").write_bytes(jsonl(1_000))
    (data / "secret.jsonl").chmod(0)

    running = ingest.start(*_USUAL.split(), *more, prefix=_HELD_TO_MODES)

    assert_one_error(running.wait(), 2, "secret.jsonl: cannot be read: Permission denied")
    assert sent(files_api) == []


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        ((), 2, "b.jsonl: vanished after it was planned; run again; nothing was sent"),
        (("--on-invalid", "skip"), 5, "1 files are invalid, 1 of 2 files are published"),
        (("--no-check",), 3, "1 files failed, 1 of 2 files are published"),
    ],
    ids=["stop", "skip", "no check"],
)
def test_a_file_that_vanishes_after_it_was_found_is_told(
    ingest: Ingest,
    files_api: LocalFilesApi,
    data: Path,
    more: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    (data / "b.jsonl").write_bytes(jsonl(2_000))
    files_api.script(Fault(where="retrieve", what="latency"))
    running = ingest.start(*_USUAL.split(), *more)
    until(lambda: bool(files_api.requests("retrieve")), "it has looked at the inputs")
    (data / "b.jsonl").unlink()
    files_api.clear_faults()

    result = running.wait()

    assert result.code == code, result.err
    assert says in result.errors[-1]
    assert "Traceback" not in result.err
    names = {seen.name for seen in files_api.requests("create")}
    assert names == ({"a.jsonl"} if more else set())


def test_a_manifest_where_this_user_may_not_write_is_told(
    ingest: Ingest, files_api: LocalFilesApi, folder: Path
) -> None:
    (folder / "empty").chmod(0o500)

    running = ingest.start(
        "publish", "data", "--manifest", "empty/out.jsonl", prefix=_HELD_TO_MODES
    )

    assert_one_error(running.wait(), 2, "--manifest needs a place that this user may write")
    assert sent(files_api) == []


_HELD_TO_MODES: tuple[str, ...] = ()
if os.geteuid() == 0:
    # Root reads and writes whatever the mode says, unless that right is taken away.
    _HELD_TO_MODES = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("wrong-key", "the API answered 401 Invalid API key provided"),
        ("", "no API key: set TOGETHER_API_KEY"),
        ("  ", "no API key: set TOGETHER_API_KEY"),
        ("two words", "the API key holds a blank"),
        ("schlüssel", "the API key holds a blank, a line break or a non-ASCII character"),
    ],
    ids=["wrong", "none", "blank", "two words", "not ASCII"],
)
def test_a_key_that_is_not_accepted_ends_the_run_before_any_work(
    ingest: Ingest,
    files_api: LocalFilesApi,
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    key: str,
    says: str,
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", key)

    result = ingest(*_USUAL.split())

    assert_one_error(result, 4, says)
    assert not key.strip() or key not in result.err
    assert sent(files_api) == []
    assert not (folder / "out.jsonl").exists()
    assert not (folder / "out.jsonl.journal").exists()


def test_an_api_that_cannot_be_reached_is_told_within_seconds(ingest: Ingest) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}/v1"
        began = time.monotonic()

        result = ingest(*_USUAL.split(), "--base-url", url)

    assert_one_error(result, 3, f"at {url}: cannot connect; is the URL right and the network up?")
    assert time.monotonic() - began < 5


def test_a_report_that_cannot_be_written_stops_the_run_before_anything_is_sent(
    ingest: Ingest, files_api: LocalFilesApi
) -> None:
    result = ingest(*_USUAL.split(), "--json", "none/report.json")

    assert_one_error(result, 2, "--json none/report.json: cannot be written")
    assert sent(files_api) == []


def test_a_second_run_on_the_same_manifest_is_kept_out(
    ingest: Ingest, files_api: LocalFilesApi, folder: Path
) -> None:
    with (folder / "out.jsonl.journal").open("ab") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)

        result = ingest(*_USUAL.split())

    assert_one_error(result, 2, "out.jsonl: another run is open on this manifest")
    assert sent(files_api) == []
