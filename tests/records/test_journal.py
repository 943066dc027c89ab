from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field

import pytest

from ingest.errors import ManifestError
from ingest.journal import Attempt, Journal, Phase, PlannedFile, SentPart, replay
from ingest.run_store import LocalRunStore, RunStore
from ingest.secrets import PresignedUrl

URLS = (PresignedUrl("https://s/1?x=1", {"x-a": "b"}), PresignedUrl("https://s/2?x=2"))


@dataclass
class MemoryStore:
    """Keeps what it was given; fails, or takes its time, on demand."""

    location: str = "out.jsonl"
    appended: list[bytes] = field(default_factory=list)
    delay_s: float = 0.0
    fail_at: int | None = None
    failure: BaseException = field(default_factory=lambda: OSError(28, "No space left on device"))
    calls: int = 0
    in_append: int = 0

    def append(self, lines: bytes) -> None:
        self.calls += 1
        self.in_append += 1
        assert self.in_append == 1, "two threads append at once"
        try:
            time.sleep(self.delay_s)
            if self.fail_at is not None and self.calls >= self.fail_at:
                self.appended.append(lines[: len(lines) // 2])  # a full disk takes a part
                raise self.failure
            self.appended.append(lines)
        finally:
            self.in_append -= 1

    @property
    def content(self) -> bytes:
        return b"".join(self.appended)


def journal_of(store: MemoryStore) -> Journal:
    as_store: RunStore = store  # type: ignore[assignment]
    return Journal(as_store)


def attempt(attempt_id: str = "a1", num_parts: int = 2) -> Attempt:
    return Attempt(attempt_id, "a.jsonl", "sha purpose url 2x5", num_parts, "https://api/v1")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def journal(store: MemoryStore) -> Journal:
    return journal_of(store)


# --- replay ---------------------------------------------------------------------------------------


def test_every_event_is_read_as_it_was_written(journal: Journal, store: MemoryStore) -> None:
    going, failed, single = attempt("a1"), attempt("a2"), attempt("a3", 0)
    journal.record_run("https://api/v1", [PlannedFile("a.jsonl", 10, 2)])
    journal.record("hashed", key="k", sha256="0" * 64)
    for each in (going, failed, single):
        journal.record_initiating(each)
    journal.record_initiated(going, "file-1", "u-1", URLS)
    journal.record_part(going, SentPart(2, "e2", "m2"))
    journal.record_part(going, SentPart(1, "e1", "m1"))
    journal.record_initiated(single, "file-3")
    journal.record_phase(single, Phase.COMPLETING)
    journal.record_phase(single, Phase.COMPLETED)
    journal.record_initiated(failed, "file-2", "u-2", URLS)
    journal.record_phase(failed, Phase.FAILED, "it broke")

    state = replay(store.content, "out.jsonl")

    assert state.base_url == "https://api/v1"
    assert state.planned == {"a.jsonl": PlannedFile("a.jsonl", 10, 2)}
    assert state.digests == {"k": "0" * 64}
    assert state.attempts == {"a1": going, "a2": failed, "a3": single}
    assert [each.open_at_server for each in state.attempts.values()] == [True, True, False]
    assert state.attempts["a1"].urls == URLS
    assert state.attempts["a2"].error == "it broke"
    assert [each.attempt_id for each in state.attempts_by_name()["a.jsonl"]] == ["a1", "a2", "a3"]


@pytest.mark.parametrize("phase", list(Phase))
def test_an_attempt_is_open_at_the_server_until_it_is_completed_or_aborted(phase: Phase) -> None:
    each = attempt()
    each.upload_id, each.phase = "u", phase

    assert each.open_at_server is (phase not in (Phase.COMPLETED, Phase.ABORTED))
    each.upload_id = None
    assert not each.open_at_server


def test_the_digests_and_attempts_of_several_runs_add_up(
    journal: Journal, store: MemoryStore
) -> None:
    for number in (1, 2):
        journal.record_run("https://api/v1", [PlannedFile(f"{number}.jsonl", 10, 0)])
        journal.record("hashed", key=f"k{number}", sha256="0" * 64)
        journal.record_initiating(attempt(f"a{number}"))

    state = replay(store.content, "out.jsonl")

    assert (set(state.digests), set(state.attempts)) == ({"k1", "k2"}, {"a1", "a2"})
    assert set(state.planned) == {"2.jsonl"}


def test_a_journal_cut_at_any_byte_is_read_up_to_its_last_whole_line(
    journal: Journal, store: MemoryStore
) -> None:
    each = attempt()
    journal.record_initiating(each)
    journal.record_initiated(each, "file-1", "u-1", URLS)
    journal.record_part(each, SentPart(1, "e1", "m1"))
    whole = store.content

    for cut in range(len(whole) + 1):
        state = replay(whole[:cut], "out.jsonl")
        found = [state.attempts.get("a1")] if state.attempts else []
        lines = whole[:cut].count(b"\n")
        expected = [None, Phase.INITIATING, Phase.INITIATED, Phase.INITIATED][lines]
        if found and found[0] is not None:
            # A line without its end may be whole; then it counts already.
            assert expected is None or found[0].phase in (expected, Phase.INITIATED)
        else:
            assert expected is None


@pytest.mark.parametrize(
    "tail", [b"\0" * 100, b'{"event":"hash', b'{"ev', b"{"], ids=["zeros", "half", "name", "brace"]
)
def test_what_a_crash_leaves_at_the_end_is_passed_over(tail: bytes) -> None:
    line = b'{"event":"hashed","key":"k","sha256":"0"}\n'

    assert replay(line + tail, "out.jsonl").digests == {"k": "0"}


@pytest.mark.parametrize(
    ("content", "number"),
    [
        (b"Dear diary\n", 1),
        (b"Dear diary", 1),
        (b"\x89PNG\r\n\x1a\n", 1),
        (b'{"text": "a dataset"}', 1),
        (b'{"event":"hashed","key":"k","sha256":"0"}\nDear diary', 2),
        (b'{"event":"hashed","key":"k"\n{"event":"hashed","key":"k","sha256":"0"}\n', 1),
        (b'{"event":"completed","attempt":"unknown"}\n', 1),
        (b'{"event":"initiating","attempt":"a"}\n', 1),
        (b'{"event":7}\n', 1),
        (b'["event"]\n', 1),
        (b'"event"\n', 1),
        (b"7\n", 1),
        (b"null\n", 1),
    ],
    ids=repr,
)
def test_a_file_that_is_no_journal_is_refused_in_one_line(content: bytes, number: int) -> None:
    with pytest.raises(ManifestError) as caught:
        replay(content, "out.jsonl")

    message = str(caught.value)
    assert message.startswith(f"out.jsonl.journal:{number}: is not a journal of ours")
    assert "\n" not in message


def test_an_event_of_a_newer_version_is_refused() -> None:
    content = (
        b'{"event":"initiating","attempt":"a","name":"n","identity":"i","num_parts":1,'
        b'"base_url":"u"}\n{"event":"paused","attempt":"a"}\n'
    )

    with pytest.raises(ManifestError, match=r"out\.jsonl\.journal:2"):
        replay(content, "out.jsonl")


# --- writing --------------------------------------------------------------------------------------


def test_each_record_is_durable_when_it_returns(store: MemoryStore) -> None:
    store.delay_s = 0.005
    journal = journal_of(store)
    lost: list[str] = []

    def write(thread: int) -> None:
        for number in range(20):
            key = f"{thread}-{number}"
            journal.record("hashed", key=key, sha256="0")
            if f'"{key}"'.encode() not in store.content:
                lost.append(key)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert lost == []
    lines = [json.loads(line)["key"] for line in store.content.splitlines()]
    assert len(lines) == len(set(lines)) == 320
    for n in range(16):  # of one thread they are in order
        assert [k for k in lines if k.startswith(f"{n}-")] == [f"{n}-{i}" for i in range(20)]
    assert store.calls < 160, "threads that wait at the same time share a sync"


def test_a_lone_record_is_written_at_once(journal: Journal, store: MemoryStore) -> None:
    journal.record("hashed", key="k", sha256="0")

    assert (store.calls, store.content) == (1, b'{"event":"hashed","key":"k","sha256":"0"}\n')


def test_a_failure_is_told_to_every_thread_and_nothing_is_written_after_it(
    store: MemoryStore,
) -> None:
    store.delay_s, store.fail_at = 0.02, 3
    journal = journal_of(store)
    told: list[ManifestError] = []
    done: list[str] = []

    def write(thread: int) -> None:
        try:
            for number in range(20):
                journal.record("hashed", key=f"{thread}-{number}", sha256="0")
                done.append(f"{thread}-{number}")
        except ManifestError as error:
            told.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()

    assert len(told) == 8
    assert all("No space left on device" in str(error) for error in told)
    with pytest.raises(ManifestError, match=r"the journal of out\.jsonl cannot be written"):
        journal.record("hashed", key="late", sha256="0")
    assert store.calls == 3
    # What was acknowledged can be read, and half a line is only at the end.
    assert set(done) <= set(replay(store.content, "out.jsonl").digests)


def test_a_signal_in_the_middle_of_a_write_leaves_nobody_waiting(store: MemoryStore) -> None:
    store.fail_at, store.failure = 1, KeyboardInterrupt()
    journal = journal_of(store)

    with pytest.raises(KeyboardInterrupt):
        journal.record("hashed", key="k", sha256="0")
    with pytest.raises(ManifestError):
        journal.record("hashed", key="k", sha256="0")


def test_the_journal_on_disk_is_what_was_recorded(tmp_path: object) -> None:
    store = LocalRunStore(f"{tmp_path}/out.jsonl")
    store.open()
    journal = Journal(store)
    each = attempt()
    journal.record_initiating(each)
    journal.record_initiated(each, "file-1", "u-1", URLS)

    assert replay(store.read_journal(), store.location).attempts == {"a1": each}
    store.close()


def test_what_announces_nothing_goes_with_the_next_event_or_within_a_second(
    journal: Journal, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.record_lazily("hashed", key="a", sha256="1")
    journal.record_lazily("hashed", key="b", sha256="2")
    assert store.calls == 0

    journal.record("run", schema=1, base_url="", files=[])

    assert store.calls == 1
    monkeypatch.setattr("ingest.journal._LAZY_S", -1.0)
    journal.record_lazily("hashed", key="c", sha256="3")
    assert store.calls == 2
    assert replay(store.content, "out").digests == {"a": "1", "b": "2", "c": "3"}


def test_threads_that_wait_are_served_whatever_is_written_lazily_beside_them(
    journal: Journal, store: MemoryStore
) -> None:
    store.delay_s = 0.001

    def write(thread: int) -> None:
        for number in range(30):
            journal.record_lazily("hashed", key=f"lazy-{thread}-{number}", sha256="0")
            journal.record("hashed", key=f"{thread}-{number}", sha256="0")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert len(replay(store.content, "out").digests) == 2 * 8 * 30


def test_the_slowest_link_that_was_met_is_known_again() -> None:
    lines = [b'{"event":"slow_link","bytes_s":%d}' % rate for rate in (30, 10, 20)]
    assert replay(b"\n".join(lines), "out").link_bytes_s == 10
    assert replay(b"", "out").link_bytes_s is None
