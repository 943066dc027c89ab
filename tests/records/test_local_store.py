from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.errors import ManifestError
from ingest.run_store import LocalRunStore, run_store
from tests.records.harness import held_elsewhere


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl.journal"


@pytest.fixture
def store(path: Path) -> Iterator[LocalRunStore]:
    store = LocalRunStore(str(path))
    store.open()
    yield store
    store.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_path_is_kept_locally(path: Path) -> None:
    assert isinstance(run_store(str(path)), LocalRunStore)


# --- the lock -------------------------------------------------------------------------------------


def test_a_second_run_is_refused_while_one_is_open(store: LocalRunStore, path: Path) -> None:
    other = LocalRunStore(str(path))

    with pytest.raises(ManifestError, match="another run is open on this manifest"):
        other.open()
    assert other.in_use()
    store.close()
    assert not other.in_use()
    other.open()
    other.close()


def test_a_run_can_begin_while_somebody_looks_whether_one_is_open(path: Path) -> None:
    journal = path.with_name(path.name + ".journal")
    journal.touch()
    with journal.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)  # what `in_use` does, for a moment
        threading.Timer(0.2, fcntl.flock, (looking, fcntl.LOCK_UN)).start()
        store = LocalRunStore(str(path))
        store.open()
    assert store.in_use()
    store.close()


def test_a_second_run_by_way_of_a_link_is_refused_too(
    store: LocalRunStore, path: Path, tmp_path: Path
) -> None:
    link = tmp_path / "elsewhere" / "link.jsonl"
    link.parent.mkdir()
    link.symlink_to(path)
    other = LocalRunStore(str(link))

    assert other.in_use()
    with pytest.raises(ManifestError, match="another run is open on this manifest"):
        other.open()
    assert list(link.parent.iterdir()) == [link]


def test_a_run_in_another_process_is_seen_and_its_death_frees_the_manifest(path: Path) -> None:
    store = LocalRunStore(str(path))
    with held_elsewhere(str(path)) as process:
        assert store.in_use()
        with pytest.raises(ManifestError, match="another run is open"):
            store.open()
        process.send_signal(signal.SIGKILL)
        process.wait()

        assert not store.in_use()
        store.open()
        store.close()


def test_many_runs_that_end_and_begin_at_once_never_overlap(path: Path) -> None:
    program = """
import os, sys
from ingest.errors import ManifestError
from ingest.run_store import LocalRunStore
opened = 0
while opened < 50:
    store = LocalRunStore(sys.argv[1])
    try:
        store.open()
    except ManifestError:
        continue
    fd = os.open(sys.argv[1] + ".held", os.O_CREAT | os.O_EXCL)
    os.close(fd)
    os.unlink(sys.argv[1] + ".held")
    store.close()
    opened += 1
"""
    command = [sys.executable, "-c", program, str(path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]

    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()


def test_nobody_uses_a_manifest_that_is_not_there(path: Path) -> None:
    assert not LocalRunStore(str(path)).in_use()


# --- the journal ----------------------------------------------------------------------------------


def test_the_journal_is_for_its_owner_alone(store: LocalRunStore, journal_path: Path) -> None:
    assert mode(journal_path) == 0o600


def test_a_journal_that_others_could_read_is_closed_to_them(path: Path, journal_path: Path) -> None:
    journal_path.write_bytes(b"")
    journal_path.chmod(0o644)
    store = LocalRunStore(str(path))
    store.open()
    store.append(b"one\n")

    assert mode(journal_path) == 0o600
    store.close()


def test_what_is_appended_is_read_in_order_by_the_next_run(
    store: LocalRunStore, path: Path
) -> None:
    store.append(b"one\n")
    store.append(b"two\nthree\n")
    store.close()

    again = LocalRunStore(str(path))
    again.open()
    again.append(b"four\n")
    assert again.read_journal() == b"one\ntwo\nthree\nfour\n"
    again.close()


def test_what_is_appended_outlives_a_kill(path: Path) -> None:
    program = """
import os, signal, sys
from ingest.run_store import LocalRunStore
store = LocalRunStore(sys.argv[1])
store.open()
store.append(b"one\\n")
os.kill(os.getpid(), signal.SIGKILL)
"""
    died = subprocess.run([sys.executable, "-c", program, str(path)], check=False)

    assert died.returncode == -signal.SIGKILL
    assert LocalRunStore(str(path)).read_journal() == b"one\n"


@pytest.mark.parametrize("torn", [b"tw", b"\0\0\0\0", b'{"event":"x"}'], ids=repr)
def test_a_torn_line_is_cut_off_before_the_next_one(
    path: Path, journal_path: Path, torn: bytes
) -> None:
    journal_path.write_bytes(b"one\n" + torn)
    store = LocalRunStore(str(path))
    store.open()
    store.append(b"three\n")

    assert journal_path.read_bytes() == b"one\nthree\n"
    store.close()


@pytest.mark.parametrize("content", [b"Dear diary", b"Dear diary\n", b"a\nb"], ids=repr)
def test_a_file_of_the_users_is_left_as_it_was(
    path: Path, journal_path: Path, content: bytes
) -> None:
    journal_path.write_bytes(content)
    journal_path.chmod(0o644)
    store = LocalRunStore(str(path))
    store.open()
    assert store.read_journal() == content
    store.close()

    assert journal_path.read_bytes() == content
    assert mode(journal_path) == 0o644


def test_an_empty_journal_is_not_left_behind(store: LocalRunStore, journal_path: Path) -> None:
    store.append(b"one\n")
    store.clear_journal()
    assert store.read_journal() == b""
    store.append(b"two\n")
    assert store.read_journal() == b"two\n"
    store.clear_journal()

    store.close()

    assert not journal_path.exists()
    store.close()  # twice is no error


# --- the manifest ---------------------------------------------------------------------------------


def test_a_manifest_is_replaced_whole(store: LocalRunStore, path: Path, tmp_path: Path) -> None:
    assert store.read_manifest() is None
    store.replace_manifest(b"one\n")
    store.replace_manifest(b"two\n")

    assert store.read_manifest() == path.read_bytes() == b"two\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.jsonl", "out.jsonl.journal"]


def test_a_reader_never_sees_half_a_manifest(store: LocalRunStore, path: Path) -> None:
    whole = {bytes([letter]) * 200_000 for letter in b"ab"}
    store.replace_manifest(min(whole))
    program = """
import sys
seen = set()
while sys.stdin is not None and len(seen) < 2:
    seen.add(open(sys.argv[1], "rb").read())
print(sorted({(len(s), len(set(s))) for s in seen}))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    ) as reader:
        deadline = time.monotonic() + 20
        while reader.poll() is None and time.monotonic() < deadline:
            for content in whole:
                store.replace_manifest(content)
        assert reader.communicate(timeout=20)[0] == "[(200000, 1)]\n"


@pytest.mark.parametrize("before", [0o600, 0o640, 0o644, 0o664], ids=oct)
def test_a_manifest_keeps_its_mode(store: LocalRunStore, path: Path, before: int) -> None:
    path.write_bytes(b"")
    path.chmod(before)

    store.replace_manifest(b"one\n")

    assert mode(path) == before


def test_a_new_manifest_has_the_mode_of_any_new_file(store: LocalRunStore, path: Path) -> None:
    umask = os.umask(0o027)
    try:
        store.replace_manifest(b"one\n")
    finally:
        os.umask(umask)

    assert mode(path) == 0o640


def test_what_a_crash_left_of_a_manifest_is_gone_after_the_next(
    store: LocalRunStore, path: Path, tmp_path: Path
) -> None:
    (tmp_path / "out.jsonl.tmp").write_bytes(b"half a li")

    store.replace_manifest(b"one\n")

    assert path.read_bytes() == b"one\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.jsonl", "out.jsonl.journal"]


def test_a_link_in_the_way_of_a_manifest_is_not_written_through(
    store: LocalRunStore, path: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "out.jsonl.tmp").symlink_to(victim)

    store.replace_manifest(b"one\n")

    assert (path.read_bytes(), victim.read_bytes()) == (b"one\n", b"mine")
    assert not path.is_symlink()


def test_a_manifest_for_its_owner_alone_is_never_open_to_others(
    store: LocalRunStore, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(b"")
    path.chmod(0o600)
    modes: list[int] = []
    fchmod = os.fchmod

    def look(fd: int, mode: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(fd).st_mode))
        fchmod(fd, mode)

    monkeypatch.setattr(os, "fchmod", look)
    store.replace_manifest(b"one\n")

    assert modes == [0o600]
    assert mode(path) == 0o600


def test_a_manifest_behind_a_link_stays_there(
    store: LocalRunStore, path: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "real.jsonl"
    target.write_bytes(b"zero\n")
    path.symlink_to(target)

    store.replace_manifest(b"one\n")

    assert path.is_symlink()
    assert target.read_bytes() == b"one\n"


def test_a_manifest_that_cannot_be_written_leaves_the_old_one_and_no_rest(
    store: LocalRunStore, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.replace_manifest(b"one\n")

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ManifestError, match=r"cannot be written \(No space left on device\)"):
        store.replace_manifest(b"two\n")

    assert path.read_bytes() == b"one\n"
    assert not (tmp_path / "out.jsonl.tmp").exists()


def test_folders_are_made_for_a_manifest(tmp_path: Path) -> None:
    store = LocalRunStore(str(tmp_path / "a" / "b" / "out.jsonl"))
    store.open()
    store.replace_manifest(b"one\n")
    store.close()

    assert (tmp_path / "a" / "b" / "out.jsonl").read_bytes() == b"one\n"


# --- what cannot be used --------------------------------------------------------------------------


def one_line(error: ManifestError, place: Path) -> None:
    assert str(place) in str(error)
    assert "\n" not in str(error)
    assert "Errno" not in str(error)


def test_a_folder_is_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is a folder; --manifest wants a file") as caught:
        LocalRunStore(str(tmp_path)).open()
    one_line(caught.value, tmp_path)


def test_a_place_below_a_file_is_no_place_for_a_manifest(path: Path) -> None:
    path.write_bytes(b"")

    with pytest.raises(ManifestError, match="cannot be written") as caught:
        LocalRunStore(str(path / "out.jsonl")).open()
    one_line(caught.value, path)


_AS_NOBODY = """
import os, sys
from ingest.errors import ManifestError
from ingest.run_store import LocalRunStore
os.setgid(65534)
os.setuid(65534)
try:
    LocalRunStore(sys.argv[1]).open()
except ManifestError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("folder_mode", [0o700, 0o755], ids=oct)
def test_a_folder_that_this_user_may_not_write_is_told_in_one_line(
    folder_mode: int,
) -> None:
    # Not in tmp_path, which is hidden from other users as a whole.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(folder_mode)
        result = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, f"{folder}/out.jsonl"],
            capture_output=True,
            text=True,
            check=False,
        )

    assert result.stderr == ""
    assert result.stdout.count("\n") == 1
    assert "cannot be written (Permission denied)" in result.stdout
