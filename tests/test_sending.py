"""The queue in front of an engine, with workers whose bodies end when the test says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import pytest

from ingest.errors import IngestError, Retryable
from ingest.files import Segment, SourceFile
from ingest.secrets import PresignedUrl
from ingest.throttle import Throttle
from ingest.transfer import PutResult, PutTask, put_body
from jobs.sending import Sending
from tests.fixtures.raw_http import RawServer, Request, reply

ARRIVED = PutResult(etag="e", md5="", sent_bytes=1, seconds=0.1, opaque_etag=False)


def task(file: str, part: int = 1, length: int = 1) -> PutTask:
    source = SourceFile(f"/{file}", file, 100, "v1")
    return PutTask(
        label=f"{file} {part}",
        segments=(Segment(source, 0, 100),),
        offset=0,
        length=length,
        url=PresignedUrl("http://127.0.0.1/"),
        timeout_s=300,
    )


class Workers:
    """An engine's ``put``: remembers what it was handed, in order."""

    def __init__(self) -> None:
        self._handed: SimpleQueue[tuple[PutTask, Future[PutResult]]] = SimpleQueue()

    def put(self, task: PutTask) -> Future[PutResult]:
        future: Future[PutResult] = Future()
        future.set_running_or_notify_cancel()
        self._handed.put((task, future))
        return future

    def next(self) -> tuple[PutTask, Future[PutResult]]:
        """The next body that is handed over; waits for it."""
        return self._handed.get(timeout=10)

    def is_idle(self) -> bool:
        return self._handed.empty()


@pytest.fixture
def workers() -> Workers:
    return Workers()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.throttle.backoff_s", lambda _attempt: 0.05)


@pytest.fixture
def sending(workers: Workers) -> Iterator[Sending]:
    with Sending(workers.put, Throttle(2)) as sending:
        yield sending


def test_no_more_bodies_are_in_flight_than_may_be(sending: Sending, workers: Workers) -> None:
    futures = [sending.send(task("a", n)) for n in range(3)]
    first, second = workers.next(), workers.next()

    first[1].set_result(ARRIVED)

    assert futures[0].result(10) is ARRIVED
    assert workers.next()[0].label == "a 2"
    assert second[0].label == "a 1"
    assert workers.is_idle()


def test_a_file_that_was_begun_goes_before_one_that_was_not(
    sending: Sending, workers: Workers
) -> None:
    for part in (1, 2):
        sending.send(task("a", part))
    in_flight = [workers.next(), workers.next()]
    sending.send(task("b"))
    sending.send(task("c"))
    sending.send(task("a", 3))
    # Nothing can be handed out before these end, whenever the queue comes to see the notes.
    for _, future in in_flight:
        future.set_result(ARRIVED)

    assert [workers.next()[0].label, workers.next()[0].label] == ["a 3", "b 1"]


def test_a_body_that_was_cancelled_while_it_waited_is_not_sent(
    sending: Sending, workers: Workers
) -> None:
    for part in (1, 2):
        sending.send(task("a", part))
    in_flight = [workers.next(), workers.next()]
    waiting = sending.send(task("a", 3))
    assert waiting.cancel()
    sending.send(task("a", 4))
    in_flight[0][1].set_result(ARRIVED)

    assert workers.next()[0].label == "a 4"
    assert workers.is_idle()


def test_an_error_is_passed_on_and_frees_the_place(sending: Sending, workers: Workers) -> None:
    failed = sending.send(task("a", 1))
    workers.next()[1].set_exception(IngestError("broke"))

    with pytest.raises(IngestError, match="broke"):
        failed.result(10)
    for part in (2, 3):
        sending.send(task("a", part))
    assert [workers.next()[0].label, workers.next()[0].label] == ["a 2", "a 3"]


def test_an_engine_that_takes_nothing_fails_the_body_not_the_queue(workers: Workers) -> None:
    def put(body: PutTask) -> Future[PutResult]:
        if body.label == "a 1":
            raise RuntimeError("cannot schedule")
        return workers.put(body)

    with Sending(put, Throttle(2)) as sending:
        refused = sending.send(task("a", 1))
        with pytest.raises(RuntimeError, match="cannot schedule"):
            refused.result(10)
        sending.send(task("a", 2))
        assert workers.next()[0].label == "a 2"


def test_a_refusal_of_one_slows_all_down_until_others_arrive(workers: Workers) -> None:
    throttle = Throttle(4)
    with Sending(workers.put, throttle) as sending:
        for part in range(20):
            sending.send(task("a", part))
        in_flight = [workers.next() for _ in range(4)]
        in_flight[0][1].set_exception(Retryable("503", None, True))
        for _, future in in_flight[1:]:
            future.set_result(ARRIVED)

        slowed = [workers.next(), workers.next()]  # after the pause, two at a time

        assert throttle.limit == 2
        assert workers.is_idle()
        handed = 6
        while throttle.limit < 4:
            slowed.pop()[1].set_result(ARRIVED)
            slowed.append(workers.next())
            handed += 1
        assert handed < 20


def test_a_fault_that_is_no_refusal_slows_nobody_down(workers: Workers) -> None:
    throttle = Throttle(4)
    with Sending(workers.put, throttle) as sending:
        failed = sending.send(task("a"))
        workers.next()[1].set_exception(Retryable("reset"))
        with pytest.raises(Retryable):
            failed.result(10)
    assert (throttle.limit, throttle.opens_in_s()) == (4, 0)


@pytest.mark.parametrize("max_bandwidth", [None, 50.0])
def test_a_body_that_comes_just_as_a_pause_ends_is_not_forgotten(
    workers: Workers, max_bandwidth: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.throttle.backoff_s", lambda _attempt: 0.002)
    throttle = Throttle(1)
    with Sending(workers.put, throttle, max_bandwidth) as sending:
        for number in range(300):
            throttle.slow_down(throttle.clock(), None)
            while throttle.opens_in_s() > number * 1e-6:
                pass
            sent = sending.send(task("a", number))
            workers.next()[1].set_result(ARRIVED)  # waits for 10 s at the most
            assert sent.result(10) is ARRIVED


def test_bodies_that_wait_when_the_run_ends_fail_as_retryable(workers: Workers) -> None:
    with Sending(workers.put, Throttle(1)) as sending:
        sending.send(task("a", 1))
        workers.next()
        waiting = sending.send(task("a", 2))
    with pytest.raises(Retryable, match="a 2: the run has ended"):
        waiting.result(10)


def test_the_bandwidth_is_shared_by_those_that_are_there(workers: Workers) -> None:
    with Sending(workers.put, Throttle(4), max_bandwidth=1000.0) as sending:
        sending.send(task("a", 1))
        alone, future = workers.next()
        assert alone.rate_bytes_s == 1000
        for part in (2, 3):
            sending.send(task("a", part))
        future.set_result(ARRIVED)

        rates = [workers.next()[0].rate_bytes_s for _ in range(2)]

    assert rates == [500, 500]


@pytest.mark.parametrize(("count", "length"), [(8, 64 << 10), (1, 512 << 10)])
def test_bytes_arrive_no_faster_than_the_bandwidth_allows(
    tmp_path: Path, count: int, length: int
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(bytes(length))
    status = path.stat()
    source = SourceFile(str(path), "a.jsonl", length, f"{status.st_mtime_ns}-{status.st_ino}")

    def accept(_: Request) -> bytes:
        return reply(200)

    with RawServer(accept) as server, ThreadPoolExecutor(4) as pool:
        body = PutTask(
            label="a",
            segments=(Segment(source, 0, length),),
            offset=0,
            length=length,
            url=PresignedUrl(server.url),
            timeout_s=30,
            local=True,
            insecure=True,
        )
        with Sending(lambda t: pool.submit(put_body, t), Throttle(4), 1 << 20) as sending:
            began = time.monotonic()
            for future in [sending.send(body) for _ in range(count)]:
                future.result(10)
            took_s = time.monotonic() - began
    # Half a MiB at 1 MiB a second; the last block of each of four is on its way early.
    assert took_s > 0.25
