"""What `ingest check` writes: the same for any slicing, every problem, warnings, statistics."""

from __future__ import annotations

import contextlib
import io
import json
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ingest.reports import render
from ingest.serve import LocalFilesApi
from ingest.settings import CheckSettings
from jobs import duplicates
from jobs.checking import check as check_files
from jobs.cli import main
from jobs.commands import output
from jobs.progress import Silent
from tests.check.conftest import Check
from tests.differential.generate import generate_jsonl
from tests.fixtures.ray_cluster import RayCluster

CHAT = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
ODD = CHAT.replace(b'"b"', b'"b", "note ": 1')
BAD = CHAT.replace(b'"user"', b'"human"')


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Good and bad files of some kilobytes, with problems and warnings all over."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for seed in range(8):
        (folder / f"{seed}.jsonl").write_bytes(generate_jsonl(random.Random(seed)).data)
    (folder / "chat.jsonl").write_bytes((CHAT * 5 + ODD + BAD) * 60)
    return folder


def report(corpus: Path, slice_bytes: int, workers: int, **more: object) -> str:
    settings = CheckSettings.model_validate(
        {"inputs": (str(corpus),), "slice_size": slice_bytes, "workers": workers, **more}
    )
    result = check_files(settings, Silent(), threading.Event())
    return render("json", result.reports, rules="standard", purpose="fine-tune", engine="any")


def test_the_report_is_the_same_byte_for_byte_for_any_slices_and_workers(corpus: Path) -> None:
    whole = report(corpus, 2**30, 1)
    assert json.loads(whole)["files"][-1]["warning_count"] == 60
    for slice_bytes, workers in ((97, 1), (1000, 2), (4096, 3), (20_000, 2)):
        assert report(corpus, slice_bytes, workers) == whole, (slice_bytes, workers)


@pytest.mark.parametrize("max_problems", [1, 7])
def test_a_short_report_is_the_same_too(corpus: Path, max_problems: int) -> None:
    whole = report(corpus, 2**30, 1, max_problems=max_problems)
    assert report(corpus, 777, 2, max_problems=max_problems) == whole


@pytest.mark.ray
def test_the_report_is_the_same_on_ray(corpus: Path, ray_cluster: RayCluster) -> None:
    """In a process of its own, which joins a cluster: this one has none, and shall have none."""
    words = ["check", str(corpus), "--json", "-"]
    engines = (["--engine", "local"], ["--address", ray_cluster.address])
    local, ray = (_documents(words + engine) for engine in engines)
    assert (local.pop("engine"), ray.pop("engine")) == ("local", "ray")
    assert ray == local


def _documents(words: list[str]) -> dict[str, object]:
    done = subprocess.run(
        [Path(sys.executable).with_name("ingest"), *words], capture_output=True, text=True
    )
    assert done.returncode == 5, done.stderr
    document: dict[str, object] = json.loads(done.stdout)
    return document


THREE_FILES = """
import json, resource, sys
from pathlib import Path
from jobs.cli import main
try:
    main(["check", "a.jsonl", "b.jsonl", "c.jsonl"])
except SystemExit as end:
    children = Path(f"/proc/self/task/{__import__('os').getpid()}/children").read_text().split()
    waited_for = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps([end.code, "ray" in sys.modules, children, waited_for]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_three_small_files_take_neither_ray_nor_another_process(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_bytes(CHAT * 100)
    done = subprocess.run(
        [sys.executable, "-c", THREE_FILES], cwd=tmp_path, capture_output=True, text=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, False, [], 0], done.stderr


def test_every_problem_is_written_and_the_first_ones_are_the_reports(
    check: Check, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_bytes((CHAT + BAD + b"[]\n") * 52_000)
    (tmp_path / "b.jsonl").write_bytes(CHAT)
    (tmp_path / "c.jsonl").write_bytes(BAD)

    result = check("a.jsonl", "b.jsonl", "c.jsonl", "--json", "-", "--problems", "all.jsonl")

    assert result.code == 5
    first = result.files["a.jsonl"]
    assert first["problem_count"] == 104_000
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_bytes().splitlines()]
    assert len(lines) == 104_001
    assert list(lines[0]) == ["uri", "line", "record", "path", "code", "message"]
    of_first = [{**line, "uri": None} for line in lines if line["uri"] == first["uri"]]
    assert of_first[:100] == [{"uri": None, **problem} for problem in first["problems"]]
    assert [line["line"] for line in of_first] == sorted(line["line"] for line in of_first)
    assert lines[-1]["uri"].endswith("c.jsonl")


def test_a_file_that_changes_before_all_its_problems_are_written_is_told_among_them(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(BAD * 200)
    (tmp_path / "b.jsonl").write_bytes(BAD)
    write = output.write_file

    def write_and_change(*words: str) -> None:
        write(*words)
        path.write_bytes(BAD)

    monkeypatch.setattr(output, "write_file", write_and_change)
    result = check("a.jsonl", "b.jsonl", "--json", "r.json", "--problems", "all.jsonl")

    assert result.code == 5
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_bytes().splitlines()]
    assert [line["code"] for line in lines] == ["file.unreadable", "message.role"]


def test_warnings_leave_the_exit_code_alone_and_are_in_every_format(
    check: Check, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_bytes(CHAT + ODD)
    for name, says in (
        ("text", "warn.untrimmed_key  1 warning in 1 file."),
        ("json", '"code": "warn.untrimmed_key"'),
        ("github", "::warning file=a.jsonl,line=2,title=warn.untrimmed_key::"),
        ("sarif", '"level": "warning"'),
        ("junit", "a.jsonl:2: warn.untrimmed_key: "),
    ):
        result = check("a.jsonl", "--format", name)
        assert result.code == 0, result.err
        assert says in result.out


def test_repeated_records_are_warnings_over_all_files(check: Check, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(CHAT + ODD + CHAT)
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "b"}\n' + CHAT[:-1])
    (tmp_path / "c.parquet").write_bytes(b"no Parquet")

    result = check("a.jsonl", "b.jsonl", "c.parquet", "--duplicates", "--json", "-")

    assert result.code == 5
    found = {
        name: [(w["line"], w["code"]) for w in file["warnings"]]
        for name, file in result.files.items()
    }
    assert found == {
        "a.jsonl": [(2, "warn.untrimmed_key"), (3, "warn.duplicate_record")],
        "b.jsonl": [(2, "warn.duplicate_record")],
        "c.parquet": [],
    }
    assert [file["warning_count"] for file in result.files.values()] == [2, 1, 0]
    assert not check("b.jsonl", "--json", "-").files["b.jsonl"]["warnings"]
    once = check("a.jsonl", "--duplicates", "--json", "-", "--max-problems", "1")
    assert once.files["a.jsonl"]["warning_count"] == 2
    assert len(once.files["a.jsonl"]["warnings"]) == 1


def test_a_file_that_changes_before_its_repeated_records_are_looked_for_is_wrong_input(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(CHAT)
    find = duplicates.find_duplicates

    def change_and_find(*words: Any) -> Any:
        path.write_bytes(CHAT * 2)
        return find(*words)

    monkeypatch.setattr(duplicates, "find_duplicates", change_and_find)
    result = check("a.jsonl", "--duplicates")
    assert result.code == 2
    assert "--duplicates: " in result.err
    assert "changed after it was planned" in result.err


def test_statistics_are_in_the_report(check: Check, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(CHAT * 3 + ODD)
    (tmp_path / "e.csv").write_bytes(b"a,b\n1,2\n")
    statistics = check("a.jsonl", "--json", "-").files["a.jsonl"]["statistics"]
    assert statistics == {
        "records": 4,
        "bytes": len(CHAT * 3 + ODD),
        "messages": 8,
        "roles": {"user": 4, "assistant": 4},
        "images": 0,
        "longest_record": {"bytes": len(ODD) - 1, "line": 4},
    }
    says = f"8 messages (user 4, assistant 4); longest record {len(ODD) - 1} B (a.jsonl:4)"
    assert says in check("a.jsonl").out
    eval_file = check("e.csv", "--purpose", "eval", "--json", "-").files["e.csv"]
    assert eval_file["statistics"] == {
        "records": 1,
        "bytes": 8,
        "messages": None,
        "roles": None,
        "images": None,
        "longest_record": None,
    }


def test_the_manifest_has_the_statistics_of_each_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files_api: LocalFilesApi
) -> None:
    monkeypatch.setenv("TOGETHER_BASE_URL", files_api.base_url)
    monkeypatch.setenv("TOGETHER_API_KEY", files_api.api_key)
    monkeypatch.chdir(tmp_path)
    data = CHAT * 10 + ODD + CHAT * 9
    (tmp_path / "a.jsonl").write_bytes(data)
    words = "publish a.jsonl --manifest out.jsonl --shard-size 1000"
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        pytest.raises(SystemExit) as end,
    ):
        main(words.split())
    assert end.value.code == 0

    entries = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]

    assert len(entries) > 1
    for entry in entries:
        offset = entry["sources"][0]["offset"]
        lines = data[offset : offset + entry["bytes"]].splitlines()
        longest = max(lines, key=len)
        assert entry["statistics"] == {
            "records": len(lines),
            "bytes": entry["bytes"],
            "messages": 2 * len(lines),
            "roles": {"user": len(lines), "assistant": len(lines)},
            "images": 0,
            "longest_record": {"bytes": len(longest), "line": lines.index(longest) + 1},
        }
