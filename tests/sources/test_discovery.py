"""What the user names on a disk becomes sources, reasons to skip, and problems."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.sources import discover
from ingest.sources.discovery import Discovery


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``make(tree, ...)`` fills it; it is the working directory."""
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.chdir(root)
    return root


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def names(found: Discovery) -> list[str]:
    return [source.name for source in found.files]


def codes(found: Discovery) -> list[tuple[str, str]]:
    return [(uri, problem.code) for uri, problem in found.problems]


# --- files and folders ----------------------------------------------------------------------------


def test_a_file_is_named_by_its_base_name_and_found_by_its_absolute_path(tree: Path) -> None:
    make(tree, "data/a.jsonl")
    found = discover(["data/a.jsonl"])
    (source,) = found.files
    assert (source.uri, source.name) == (str(tree / "data/a.jsonl"), "a.jsonl")
    assert source.size_bytes == len("data/a.jsonl")
    assert not found.skipped
    assert not found.problems


def test_a_folder_gives_all_files_below_it_sorted_whatever_their_suffix(tree: Path) -> None:
    make(tree, "data/z.jsonl", "data/train/b.parquet", "data/train/a.jsonl", "data/readme.md")
    found = discover(["data/"])
    assert names(found) == ["readme.md", "train/a.jsonl", "train/b.parquet", "z.jsonl"]


def test_hidden_names_in_a_folder_are_skipped_with_a_reason(tree: Path) -> None:
    make(tree, "d/a.jsonl", "d/.DS_Store", "d/_SUCCESS", "d/.git/config", "d/_tmp/b.jsonl")
    found = discover(["d"])
    assert names(found) == ["a.jsonl"]
    assert {os.path.basename(skipped.uri) for skipped in found.skipped} == {  # noqa: PTH119
        ".DS_Store",
        "_SUCCESS",
        ".git",
        "_tmp",
    }
    assert all("hidden" in skipped.reason for skipped in found.skipped)


def test_a_hidden_name_that_is_given_itself_is_taken(tree: Path) -> None:
    make(tree, "_out/a.jsonl", ".b.jsonl")
    assert names(discover(["_out", ".b.jsonl"])) == ["a.jsonl", ".b.jsonl"]


def test_a_folder_called_like_a_file_is_a_folder(tree: Path) -> None:
    make(tree, "x.jsonl/part.jsonl")
    assert names(discover(["x.jsonl"])) == ["part.jsonl"]


def test_inputs_keep_their_order_and_a_file_is_taken_once(tree: Path) -> None:
    make(tree, "b/1.jsonl", "a/2.jsonl", "a/3.jsonl")
    found = discover(["b", "a/3.jsonl", "./a/../a", "a"])
    assert names(found) == ["1.jsonl", "3.jsonl", "2.jsonl"]
    assert not found.skipped


def test_a_file_reached_by_a_link_from_another_input_is_taken_once_and_told(tree: Path) -> None:
    make(tree, "data/a.jsonl")
    (tree / "link").symlink_to("data")
    found = discover(["data", "link"])
    assert [source.uri for source in found.files] == [str(tree / "data/a.jsonl")]
    (skipped,) = found.skipped
    assert skipped.uri == str(tree / "link/a.jsonl")
    assert skipped.reason == f"the same file as {tree / 'data/a.jsonl'}"


def test_links_to_files_and_folders_are_followed(tree: Path) -> None:
    make(tree, "blobs/1", "blobs/more/2.jsonl", "d/c.jsonl")
    (tree / "d/a.jsonl").symlink_to("../blobs/1")
    (tree / "d/sub").symlink_to("../blobs/more")
    found = discover(["d"])
    assert names(found) == ["a.jsonl", "c.jsonl", "sub/2.jsonl"]
    assert found.files[0].uri == str(tree / "d/a.jsonl")


@pytest.mark.parametrize("pattern", ["d", "d/**", "d/**/*.jsonl"])
def test_a_loop_of_folders_ends(pattern: str, tree: Path) -> None:
    make(tree, "d/sub/a.jsonl")
    (tree / "d/sub/up").symlink_to("..")
    (tree / "d/self").symlink_to(".")
    assert names(discover([pattern])) == ["sub/a.jsonl"]


# --- problems -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["missing.jsonl", "missing/", "a.jsonl/below", "*.csv", "nothing/*.jsonl", "[x].jsonl"]
)
def test_what_does_not_exist_is_a_problem(text: str, tree: Path) -> None:
    make(tree, "a.jsonl")
    found = discover([text, "a.jsonl"])
    assert codes(found) == [(str(tree / text).rstrip("/"), "file.not_found")]
    assert found.problems[0][1].line is None
    assert names(found) == ["a.jsonl"]


def test_a_foreign_scheme_is_told_what_can_be_read(tree: Path) -> None:
    ((uri, problem),) = discover(["gs://bucket/a.jsonl"]).problems
    assert uri == "gs://bucket/a.jsonl"
    assert "only local paths and s3://" in problem.message


@pytest.mark.parametrize("held", [[], ["d/_SUCCESS", "d/.hidden/a.jsonl"]])
def test_a_folder_without_dataset_files_is_a_problem(held: list[str], tree: Path) -> None:
    (tree / "d").mkdir()
    make(tree, *held)
    found = discover(["d"])
    assert codes(found) == [(str(tree / "d"), "file.not_found")]
    assert "the folder holds no dataset files" in found.problems[0][1].message


def bind_socket(path: Path) -> None:
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{short}/s")  # Unix socket names are limited to about 100 bytes
        os.rename(f"{short}/s", path)  # noqa: PTH104


@pytest.mark.parametrize(
    ("create", "message"),
    [
        pytest.param(os.mkfifo, "found a FIFO", id="FIFO"),
        pytest.param(bind_socket, "found a socket", id="socket"),
        pytest.param(lambda p: p.symlink_to("/dev/zero"), "found a device", id="device"),
        pytest.param(lambda p: p.symlink_to("nowhere"), "leads to nothing", id="dangling link"),
        pytest.param(lambda p: p.symlink_to(p), "loop", id="link to itself"),
    ],
)
@pytest.mark.parametrize("by", ["name", "folder", "glob"])
def test_what_is_no_regular_file_is_a_problem(
    by: str, create: Callable[[Path], None], message: str, tree: Path
) -> None:
    (tree / "d").mkdir()
    create(tree / "d/x.jsonl")
    found = discover([{"name": "d/x.jsonl", "folder": "d", "glob": "d/*.jsonl"}[by]])
    assert codes(found) == [(str(tree / "d/x.jsonl"), "file.unreadable")]
    assert message in found.problems[0][1].message
    assert str(tree) not in found.problems[0][1].message  # the report names the file already


def test_a_name_that_is_not_utf8_is_a_problem_that_can_be_printed(tree: Path) -> None:
    make(tree, "d/ü.jsonl")
    with open(os.path.join(os.fsencode(tree), b"d", b"\xff.jsonl"), "wb"):  # noqa: PTH118, PTH123
        pass
    found = discover(["d", os.fsdecode(b"d/\xff.jsonl"), os.fsdecode(b"\xfe.jsonl")])
    assert names(found) == ["ü.jsonl"]
    assert codes(found) == [
        (f"{tree}/d/\\xff.jsonl", "file.unreadable"),
        (f"{tree}/\\xfe.jsonl", "file.not_found"),
    ]
    assert "not UTF-8" in found.problems[0][1].message
    str(found).encode()


def test_what_this_user_may_not_read_is_a_problem() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    # The test's own temporary folder is closed to other users.
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        make(root, "d/open.jsonl", "d/secret.jsonl", "d/closed/a.jsonl")
        (root / "d/secret.jsonl").chmod(0)
        (root / "d/closed").chmod(0)
        code = (
            "import json, os, sys\n"
            "from ingest.sources import discover\n"
            "os.setgid(65534); os.setuid(65534)\n"
            "found = discover([sys.argv[1] + '/d', sys.argv[1] + '/d/closed/a.jsonl'])\n"
            "print(json.dumps([[s.name for s in found.files],"
            " [(uri, p.code, p.message) for uri, p in found.problems]]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, folder],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )
    files, problems = json.loads(done.stdout)
    assert files == ["open.jsonl"]
    assert [(uri.removeprefix(folder), code) for uri, code, _ in problems] == [
        ("/d/closed", "file.unreadable"),
        ("/d/secret.jsonl", "file.unreadable"),
        ("/d/closed/a.jsonl", "file.unreadable"),
    ]
    assert all("Permission denied" in message for *_, message in problems)


# --- globs ----------------------------------------------------------------------------------------

GLOB_TREE = (
    "a.jsonl",
    "b.jsonl",
    "c.csv",
    "_d.jsonl",
    ".e.jsonl",
    "sub/f.jsonl",
    "sub/deep/g.jsonl",
    "sub/_tmp/h.jsonl",
    "other/deep/i.jsonl",
)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jsonl", ["a.jsonl", "b.jsonl"]),
        ("[ab].*", ["a.jsonl", "b.jsonl"]),
        ("[!a].jsonl", ["b.jsonl"]),
        ("?.csv", ["c.csv"]),
        ("*", ["a.jsonl", "b.jsonl", "c.csv"]),
        ("_*.jsonl", ["_d.jsonl"]),
        ("sub/*.jsonl", ["f.jsonl"]),
        ("*/*.jsonl", ["sub/f.jsonl"]),
        ("*/deep/*.jsonl", ["other/deep/i.jsonl", "sub/deep/g.jsonl"]),
        (
            "**/*.jsonl",
            ["a.jsonl", "b.jsonl", "other/deep/i.jsonl", "sub/deep/g.jsonl", "sub/f.jsonl"],
        ),
        ("**/deep/**", ["other/deep/i.jsonl", "sub/deep/g.jsonl"]),
        ("sub/**", ["deep/g.jsonl", "f.jsonl"]),
        ("**/**/g.jsonl", ["sub/deep/g.jsonl"]),
        ("./sub/../sub/d*/*", ["deep/g.jsonl"]),
    ],
)
def test_globs(pattern: str, expected: list[str], tree: Path) -> None:
    make(tree, *GLOB_TREE)
    found = discover([pattern])
    assert names(found) == expected
    assert not found.problems
    assert names(discover([f"{tree}/{pattern}"])) == expected


def test_a_folder_that_a_glob_matches_is_skipped_with_advice(tree: Path) -> None:
    make(tree, "a.jsonl", "sub/b.jsonl")
    (skipped,) = discover(["*"]).skipped
    assert skipped.uri == str(tree / "sub")
    assert "use **" in skipped.reason


def test_a_path_that_exists_wins_over_its_meaning_as_a_glob(tree: Path) -> None:
    make(tree, "a[1].jsonl", "a1.jsonl", "[x]/b.jsonl", "x/c.jsonl")
    assert names(discover(["a[1].jsonl"])) == ["a[1].jsonl"]
    assert names(discover(["[x]"])) == ["b.jsonl"]


def test_a_bracket_in_the_working_directory_is_no_pattern(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tree, "run[1]/a.jsonl")
    monkeypatch.chdir(tree / "run[1]")
    assert names(discover(["*.jsonl"])) == ["a.jsonl"]
