from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ingest.serve import joining
from ingest.serve.joining import JoinStopped, join_files

CONTENTS = [b"a" * 1000, b"b" * 700, b"c" * 1000, b"d"]


def lay_out(directory: Path) -> list[tuple[Path, int]]:
    parts = []
    for number, content in enumerate(CONTENTS, start=1):
        path = directory / f"part-{number}"
        path.write_bytes(content)
        parts.append((path, len(content)))
    return parts


def test_parts_are_joined_in_order_and_used_up(tmp_path: Path) -> None:
    parts = lay_out(tmp_path)

    join_files(parts, tmp_path / "joined", threading.Event())

    assert (tmp_path / "joined").read_bytes() == b"".join(CONTENTS)
    assert [path.name for path in tmp_path.iterdir()] == ["joined"]


@pytest.mark.parametrize("killed_at", range(0, sum(map(len, CONTENTS)) + 1, 50))
def test_a_join_that_was_killed_anywhere_is_finished_by_the_next(
    tmp_path: Path, killed_at: int
) -> None:
    parts = lay_out(tmp_path)
    killed_at = max(killed_at, len(CONTENTS[0]))  # part 1 is the file that grows
    with parts[0][0].open("wb") as grown:
        grown.write(b"".join(CONTENTS)[:killed_at])
    end = len(CONTENTS[0])
    for path, size in parts[1:]:
        end += size
        if end < killed_at:
            path.unlink()  # appended in whole, and dropped

    join_files(parts, tmp_path / "joined", threading.Event())

    assert (tmp_path / "joined").read_bytes() == b"".join(CONTENTS)


def test_a_join_that_was_killed_after_its_rename_is_done(tmp_path: Path) -> None:
    parts = lay_out(tmp_path)
    join_files(parts, tmp_path / "joined", threading.Event())

    join_files(parts, tmp_path / "joined", threading.Event())

    assert (tmp_path / "joined").read_bytes() == b"".join(CONTENTS)


def test_a_join_that_is_stopped_goes_on_later(tmp_path: Path) -> None:
    parts = lay_out(tmp_path)
    stop = threading.Event()
    stop.set()
    with pytest.raises(JoinStopped):
        join_files(parts, tmp_path / "joined", stop)

    join_files(parts, tmp_path / "joined", threading.Event())

    assert (tmp_path / "joined").read_bytes() == b"".join(CONTENTS)


def test_parts_are_joined_where_the_kernel_cannot_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(joining.os, "copy_file_range")
    parts = lay_out(tmp_path)

    join_files(parts, tmp_path / "joined", threading.Event())

    assert (tmp_path / "joined").read_bytes() == b"".join(CONTENTS)
