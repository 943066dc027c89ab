from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ingest.errors import ManifestError, SourceError
from ingest.run_store import S3RunStore, run_store
from ingest.run_store import s3 as module
from ingest.sources import ObjectExists
from tests.fixtures.s3 import S3Bucket
from tests.records.harness import held_elsewhere

Make = Callable[..., S3RunStore]


@pytest.fixture
def make(s3: S3Bucket) -> Iterator[Make]:
    """Stores of one manifest, as several runs would make them; all are closed in the end."""
    made = []

    def one(heartbeat_s: float = 60.0) -> S3RunStore:
        made.append(S3RunStore(s3.uri("runs/out.jsonl"), s3.endpoint_url, heartbeat_s))
        return made[-1]

    yield one
    for store in made:
        store.close()


@pytest.fixture
def store(make: Make) -> S3RunStore:
    store = make()
    store.open()
    return store


def keys(s3: S3Bucket) -> list[str]:
    found = s3.client.list_objects_v2(Bucket=s3.bucket).get("Contents", [])
    return [item["Key"] for item in found]


def lock(s3: S3Bucket) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(s3.get("runs/out.jsonl.lock"))
    return content


def put_lock(s3: S3Bucket, **owner: Any) -> None:
    """The lock of a run that is on another machine, unless told otherwise."""
    owner = {"host": "elsewhere", "processes": "x", "pid": 1, "run": "r", "beat": 0.0, **owner}
    s3.put("runs/out.jsonl.lock", json.dumps(owner).encode())


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- bytes ----------------------------------------------------------------------------------------


def test_an_s3_uri_is_kept_in_s3(s3: S3Bucket) -> None:
    assert isinstance(run_store(s3.uri("out.jsonl"), s3.endpoint_url), S3RunStore)


def test_manifest_and_journal_are_kept_for_the_next_run(s3: S3Bucket, make: Make) -> None:
    store = make()
    assert store.read_manifest() is None
    store.open()
    store.append(b"one\n")
    store.append(b"two\nthree\n")
    store.replace_manifest(b"first\n")
    store.replace_manifest(b"second\n")
    store.close()
    assert keys(s3) == [
        "runs/out.jsonl",
        "runs/out.jsonl.journal/000000000001.jsonl",
        "runs/out.jsonl.journal/000000000002.jsonl",
    ]

    again = make()
    again.open()
    again.append(b"four\n")

    assert again.read_manifest() == b"second\n"
    assert again.read_journal() == b"one\ntwo\nthree\nfour\n"
    again.clear_journal()
    assert again.read_journal() == b""
    again.append(b"five\n")
    again.close()
    assert again.read_journal() == b"five\n"


def test_no_record_of_another_run_is_overwritten(s3: S3Bucket, store: S3RunStore) -> None:
    s3.put("runs/out.jsonl.journal/000000000001.jsonl", b"theirs\n")

    with pytest.raises(ObjectExists):
        store.append(b"ours\n")
    assert store.read_journal() == b"theirs\n"


@pytest.mark.parametrize("key", ["notes.txt", "1.txt", "x.jsonl"])
def test_a_prefix_that_holds_something_else_is_refused_and_not_locked(
    s3: S3Bucket, make: Make, key: str
) -> None:
    s3.put(f"runs/out.jsonl.journal/{key}", b"")

    with pytest.raises(ManifestError, match="is not a journal of ours"):
        make().open()
    assert "runs/out.jsonl.lock" not in keys(s3)


def test_a_bucket_that_is_not_there_is_told(s3: S3Bucket) -> None:
    with pytest.raises(SourceError, match="no such bucket"):
        S3RunStore("s3://no-such-bucket/out.jsonl", s3.endpoint_url).open()


# --- the lock -------------------------------------------------------------------------------------


def test_a_second_run_is_refused_while_one_is_open(s3: S3Bucket, make: Make) -> None:
    first, second = make(), make()
    first.open()

    with pytest.raises(ManifestError, match=f"another run is open .*process {os.getpid()} on"):
        second.open()
    assert second.in_use()

    first.close()
    assert not second.in_use()
    assert "runs/out.jsonl.lock" not in keys(s3)
    second.open()


def test_a_run_that_was_killed_here_is_taken_over_from_at_once(s3: S3Bucket, make: Make) -> None:
    store = make()
    with held_elsewhere(s3.uri("runs/out.jsonl"), s3.endpoint_url) as process:
        assert store.in_use()
        with pytest.raises(ManifestError, match=f"process {process.pid} on"):
            store.open()
        process.send_signal(signal.SIGKILL)
        process.wait()

        began = time.monotonic()
        assert not store.in_use()
        store.open()
        assert time.monotonic() - began < 5
    assert lock(s3)["pid"] == os.getpid()
    store.append(b"one\n")


@pytest.mark.parametrize(
    "owner",
    [
        pytest.param({}, id="a beat of long ago"),
        pytest.param({"beat": time.time() + 3600}, id="a beat from the future"),
        pytest.param({"beat": "now"}, id="no beat"),
    ],
)
def test_a_lock_whose_heart_stands_still_is_taken_over(
    s3: S3Bucket, make: Make, owner: dict[str, Any]
) -> None:
    put_lock(s3, **owner)
    store = make(0.05)
    assert not store.in_use()

    store.open()

    assert lock(s3)["pid"] == os.getpid()


def test_a_lock_that_is_no_json_is_taken_over(s3: S3Bucket, make: Make) -> None:
    s3.put("runs/out.jsonl.lock", b"hello")

    make(0.05).open()

    assert lock(s3)["pid"] == os.getpid()


def test_a_lock_that_beats_by_a_wrong_clock_is_respected(s3: S3Bucket, make: Make) -> None:
    put_lock(s3)
    over = threading.Event()

    def beat() -> None:
        for number in range(1000):
            put_lock(s3, beat=float(number))  # an hour after 1970
            if over.wait(0.05):
                return

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        with pytest.raises(ManifestError, match="process 1 on elsewhere"):
            make(0.2).open()
    finally:
        over.set()
        heart.join()


@pytest.mark.parametrize(
    "owner",
    [
        pytest.param({}, id="another machine"),
        pytest.param({"host": "HERE"}, id="a container of the same host name"),
        pytest.param({"host": "HERE", "processes": "HERE", "pid": os.getpid()}, id="alive here"),
    ],
)
def test_a_lock_with_a_fresh_beat_is_respected(
    s3: S3Bucket, make: Make, owner: dict[str, Any]
) -> None:
    store = make(0.05)
    here = {name: store._owner[name] for name in owner if owner[name] == "HERE"}
    put_lock(s3, **{"pid": 2**22 + 1, **owner, **here, "beat": time.time()})

    with pytest.raises(ManifestError, match="another run is open"):
        store.open()
    assert lock(s3)["run"] == "r"


@pytest.mark.parametrize("pid", [2**22 + 1, 0, -1, 10**30, "one", None])
def test_a_process_that_cannot_be_alive_here_is_gone(s3: S3Bucket, make: Make, pid: object) -> None:
    store = make()
    here = {name: store._owner[name] for name in ("host", "processes")}
    put_lock(s3, **here, pid=pid, beat=time.time())

    store.open()

    assert lock(s3)["pid"] == os.getpid()


def test_only_one_of_many_gets_a_stale_lock(s3: S3Bucket, make: Make) -> None:
    put_lock(s3)
    stores = [make(0.05) for _ in range(6)]
    got: list[S3RunStore] = []

    def attempt(store: S3RunStore) -> None:
        try:
            store.open()
        except ManifestError:
            return
        got.append(store)

    threads = [threading.Thread(target=attempt, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(got) == 1
    got[0].append(b"one\n")


def test_the_heart_beats(s3: S3Bucket, make: Make) -> None:
    store = make(0.05)
    store.open()
    first = lock(s3)["beat"]

    until(lambda: lock(s3)["beat"] > first)

    store.append(b"one\n")


def test_a_run_that_lost_its_lock_writes_nothing_more(s3: S3Bucket, make: Make) -> None:
    store = make(0.05)
    store.open()
    store.append(b"one\n")
    put_lock(s3)
    until(lambda: store._lost is not None)

    for write in (
        lambda: store.append(b"two\n"),
        lambda: store.replace_manifest(b"two\n"),
        store.clear_journal,
    ):
        with pytest.raises(ManifestError, match="another run has taken its lock over; run again"):
            write()
    store.close()
    assert store.read_journal() == b"one\n"
    assert lock(s3)["run"] == "r", "the lock of another run was removed"


def test_a_run_that_stood_still_looks_at_its_lock_before_it_writes(
    s3: S3Bucket, store: S3RunStore
) -> None:
    store._renewed_at -= 120
    store.append(b"one\n")  # still ours

    put_lock(s3)
    store._renewed_at -= 120
    with pytest.raises(ManifestError, match="another run has taken its lock over"):
        store.append(b"two\n")


def test_a_lock_that_was_taken_since_the_last_beat_is_not_removed(
    s3: S3Bucket, store: S3RunStore
) -> None:
    put_lock(s3)

    store.close()

    assert lock(s3)["run"] == "r"


def test_a_beat_whose_reply_was_lost_is_known_as_our_own(
    s3: S3Bucket, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make(0.05)
    store.open()
    write = module.write_object
    lost = threading.Event()

    def lose_one_reply(*args: Any, **kwargs: Any) -> str:
        etag = write(*args, **kwargs)
        if not lost.is_set():
            lost.set()
            raise SourceError("the reply was lost")
        return etag

    monkeypatch.setattr(module, "write_object", lose_one_reply)
    until(lost.is_set)
    first = lock(s3)["beat"]
    until(lambda: lock(s3)["beat"] > first)

    store.append(b"one\n")


def test_a_heart_that_cannot_beat_stops_the_run_before_its_lock_is_stale(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STALE_S", 0.4)
    store = make(0.05)
    store.open()

    def unreachable(*_args: Any, **_kwargs: Any) -> str:
        raise SourceError("unreachable")

    monkeypatch.setattr(module, "write_object", unreachable)
    until(lambda: store._lost is not None)

    with pytest.raises(ManifestError, match="cannot be renewed"):
        store.append(b"one\n")


def test_a_store_that_is_gone_does_not_hide_the_error_that_ended_the_run(
    store: S3RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_args: Any, **_kwargs: Any) -> None:
        raise SourceError("unreachable")

    monkeypatch.setattr(module, "delete_object", unreachable)

    store.close()
    store.close()
