from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest
import requests

from ingest.watched_http import Watchdog, WatchedAdapter, caused_by, thread_session
from tests.fixtures.raw_http import RawServer, Request, reply


@pytest.fixture
def session() -> Iterator[requests.Session]:
    session = requests.Session()
    session.mount("http://", WatchedAdapter())
    yield session
    session.close()


@pytest.fixture
def held() -> Iterator[RawServer]:
    """Takes requests and answers none until the test is over."""
    over = threading.Event()

    def hold(_: Request) -> bytes:
        over.wait(20)
        return reply(200)

    with RawServer(hold) as server:
        yield server
        over.set()


def test_a_call_is_cut_at_its_deadline(session: requests.Session, held: RawServer) -> None:
    began = time.monotonic()
    watchdog = Watchdog(began + 0.2)

    with pytest.raises(requests.ConnectionError), watchdog:
        session.get(held.url)

    assert watchdog.fired
    assert 0.2 <= time.monotonic() - began < 3.0


def test_a_call_after_the_deadline_is_cut_at_once(
    session: requests.Session, held: RawServer
) -> None:
    watchdog = Watchdog(time.monotonic() - 1.0)

    with watchdog:
        while not watchdog.fired:
            time.sleep(0.001)
        with pytest.raises(requests.ConnectionError):
            session.get(held.url)


def test_a_call_in_time_is_left_alone_and_one_thread_looks_after_all(
    session: requests.Session,
) -> None:
    with RawServer(lambda _: reply(200, b"ok")) as server:
        for _ in range(20):
            watchdog = Watchdog(time.monotonic() + 60.0)
            with watchdog:
                assert session.get(server.url).content == b"ok"
            assert not watchdog.fired
    assert [thread.name for thread in threading.enumerate()].count("watchdog") == 1


def test_a_call_is_cut_a_little_after_the_run_was_stopped(
    session: requests.Session, held: RawServer
) -> None:
    stop = threading.Event()
    stop.set()
    began = time.monotonic()

    with pytest.raises(requests.ConnectionError), Watchdog(began + 60.0, stop, grace_s=0.1):
        session.get(held.url)
    assert 0.1 < time.monotonic() - began < 3.0


def test_all_calls_of_one_owner_can_be_cut_at_once(held: RawServer) -> None:
    outcomes: list[str] = []
    closed = threading.Event()

    def call() -> None:
        with Watchdog(time.monotonic() + 60.0, closed):
            try:
                thread_session().get(held.url)
            except requests.ConnectionError:
                outcomes.append("cut")

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(held.requests) < 4:
        time.sleep(0.01)
    closed.set()
    for thread in threads:
        thread.join(5)
    assert outcomes == ["cut"] * 4


def test_the_call_of_another_thread_is_not_cut(session: requests.Session) -> None:
    both = threading.Barrier(2, timeout=10)

    def meet(_: Request) -> bytes:
        both.wait()
        time.sleep(0.2)
        return reply(200, b"ok")

    statuses: list[int] = []
    with RawServer(meet) as server:
        free = threading.Thread(target=lambda: statuses.append(session.get(server.url).status_code))
        free.start()
        watchdog = Watchdog(time.monotonic() + 60)
        threading.Timer(0.1, watchdog.fire).start()
        with pytest.raises(requests.ConnectionError), watchdog:
            session.get(server.url)
        free.join()
    assert statuses == [200]


def test_a_call_through_a_proxy_is_cut_too(session: requests.Session, held: RawServer) -> None:
    session.proxies = {"http": held.url}

    with pytest.raises(requests.ConnectionError), Watchdog(time.monotonic() + 0.2):
        session.get("http://store.example/k")
    assert [request.target for request in held.requests] == ["http://store.example/k"]


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_what_is_on_this_machine_is_not_asked_for_through_a_proxy(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The proxy would be given all that is sent, the key too, and look on a machine of its own."""
    with RawServer(lambda _: reply(200)) as proxy, RawServer(lambda _: reply(200)) as server:
        monkeypatch.setenv(variable, proxy.url)
        session.get(f"{server.url}/here")
        session.get("http://elsewhere.example/there")
    assert [request.target for request in server.requests] == ["/here"]
    assert [request.target for request in proxy.requests] == ["http://elsewhere.example/there"]


def test_each_thread_has_a_session_of_its_own() -> None:
    sessions = [thread_session(), thread_session()]
    other = threading.Thread(target=lambda: sessions.append(thread_session()))
    other.start()
    other.join()

    assert sessions[0] is sessions[1]
    assert sessions[0] is not sessions[2]


def test_no_query_is_logged_at_debug_level(
    session: requests.Session, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with RawServer(lambda _: reply(200)) as server:
        session.put(f"{server.url}/k?X-Amz-Signature=5ec7e7&a=b", data=b"x")

    assert '"PUT /k?... HTTP/1.1" 200' in caplog.text
    assert "5ec7e7" not in caplog.text


@pytest.mark.parametrize(
    ("reply_bytes", "expected"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, id="whole"),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n", 204, id="after a 100"
        ),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", 200, id="bare line feeds"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", None, id="no blank line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", None, id="half a name"),
        pytest.param(b"HTTP/1.1 200 OK", None, id="half a status line"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", None, id="only a 100"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_only_a_whole_head_is_a_reply(
    session: requests.Session, reply_bytes: bytes, expected: int | None
) -> None:
    with RawServer(lambda _: reply_bytes) as server:
        if expected is not None:
            assert session.get(server.url).status_code == expected
        else:
            with pytest.raises(requests.ConnectionError):
                session.get(server.url)


def test_the_root_of_an_error_is_found_however_it_was_wrapped() -> None:
    root = TimeoutError()
    error = KeyError("outer")
    error.__cause__ = ValueError("inner", root)

    assert caused_by(error, TimeoutError)
    assert not caused_by(error, ConnectionError)
