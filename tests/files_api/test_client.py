"""The calls of the API, and what no run shows of their faults (``tests/faults`` has the table)."""

from __future__ import annotations

import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ingest.errors import (
    IngestError,
    Interrupted,
    NotAuthorised,
    OutcomeUnknown,
    Permanent,
    Retryable,
)
from ingest.files_api import Existing, FilesApi, MultipartTicket, SingleTicket
from ingest.files_api.wire import RefusedTicket
from ingest.retries import ATTEMPTS
from ingest.serve import Fault, LocalFilesApi
from ingest.serve.calls import Where
from ingest.settings import normalise_base_url
from tests.fixtures.files_api import API_KEY, MIN_PART_SIZE_BYTES
from tests.fixtures.raw_http import RawServer, Request, reply
from tests.serve.wire import Wire, jsonl, put, sha256

DATA = jsonl(3000)
NO_ID = "file-00000000-0000-0000-0000-000000000000"


@pytest.fixture
def wire(files_api: LocalFilesApi) -> Wire:
    return Wire(files_api)


@pytest.fixture
def nowhere() -> Iterator[str]:
    """A base URL at which every connection is refused."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and does not listen
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1"


def client_of(base_url: str, **kwargs: Any) -> FilesApi:
    return FilesApi(base_url, SecretStr(API_KEY), **kwargs)


def create(client: FilesApi, data: bytes = DATA) -> SingleTicket | Existing:
    return client.create("a.jsonl", "jsonl", "fine-tune", sha256(data))


def initiate(client: FilesApi, data: bytes = DATA, num_parts: int = 1) -> Any:
    return client.initiate("a.jsonl", "jsonl", "fine-tune", sha256(data), len(data), num_parts)


def stored(client: FilesApi) -> str:
    """A file whose bytes are in storage, and which is not preprocessed."""
    ticket = create(client)
    assert isinstance(ticket, SingleTicket)
    assert put(ticket.url.url, DATA).status_code == 200
    return ticket.file_id


def parts_stored(client: FilesApi) -> tuple[str, str, list[str]]:
    """The arguments of a ``complete`` that will succeed."""
    ticket = initiate(client)
    assert isinstance(ticket, MultipartTicket)
    etag = put(ticket.urls[0].url, DATA).headers["ETag"].strip('"')
    return ticket.upload_id, ticket.file_id, [etag]


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + str(error)


# --- the calls ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_the_base_url_works_with_and_without_v1(files_api: LocalFilesApi, suffix: str) -> None:
    client = client_of(normalise_base_url(files_api.origin + suffix))

    client.check_key()
    assert client.list_files() == []
    client.close()


def test_a_single_upload_goes_through(client: FilesApi, files_api: LocalFilesApi) -> None:
    file_id = stored(client)
    assert client.find(file_id) is None  # not before it is preprocessed

    remote = client.preprocess(file_id)

    assert (remote.id, remote.bytes, remote.purpose) == (file_id, len(DATA), "fine-tune")
    assert client.find(file_id) is not None
    assert [file.id for file in client.list_files()] == [file_id]
    assert b"".join(client.content(file_id)) == files_api.stored_bytes(file_id) == DATA


def test_a_multipart_upload_goes_through(client: FilesApi, files_api: LocalFilesApi) -> None:
    data = jsonl(6000)
    cut = MIN_PART_SIZE_BYTES
    ticket = initiate(client, data, 2)
    etags = [
        put(url.url, body).headers["ETag"].strip('"')
        for url, body in zip(ticket.urls, (data[:cut], data[cut:]), strict=True)
    ]

    remote = client.complete(ticket.upload_id, ticket.file_id, etags)

    assert remote.bytes == len(data)
    assert files_api.stored_bytes(remote.id) == data


def test_a_file_that_is_there_is_named_by_both_ways_to_begin(
    client: FilesApi, files_api: LocalFilesApi
) -> None:
    file_id = client.preprocess(stored(client)).id
    files_api.clear_requests()

    assert create(client) == initiate(client) == Existing(file_id)
    assert len(files_api.requests()) == 2


def test_an_upload_can_be_aborted_and_aborted_again(
    client: FilesApi, files_api: LocalFilesApi
) -> None:
    upload_id, file_id, etags = parts_stored(client)

    client.abort(upload_id, file_id)
    client.abort(upload_id, file_id)

    with pytest.raises(Permanent, match="404"):
        client.complete(upload_id, file_id, etags)
    assert [seen.status for seen in files_api.requests("abort")] == [200, 404]


# --- statuses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected", "tries"),
    [
        (302, Permanent, 1),
        (307, Permanent, 1),
        (400, Permanent, 1),
        (401, NotAuthorised, 1),
        (403, NotAuthorised, 1),
        (404, Permanent, 1),
        (408, Retryable, ATTEMPTS),
        (409, Retryable, ATTEMPTS),
        (413, Permanent, 1),
        (422, Permanent, 1),
        (425, Retryable, ATTEMPTS),
        (429, Retryable, ATTEMPTS),
        (500, Retryable, ATTEMPTS),
        (502, Retryable, ATTEMPTS),
        (503, Retryable, ATTEMPTS),
        (504, Retryable, ATTEMPTS),
    ],
)
def test_a_status_is_tried_so_often_and_called_so(
    client: FilesApi,
    files_api: LocalFilesApi,
    status: int,
    expected: type[IngestError],
    tries: int,
) -> None:
    files_api.script(Fault(where="list", what="status", status=status, times=None))

    with pytest.raises(IngestError) as caught:
        client.list_files()

    assert type(caught.value) is expected
    assert f"GET /files: the API answered {status} scripted fault: {status}" in str(caught.value)
    assert len(files_api.requests("list")) == tries


def last_step(client: FilesApi, where: Where) -> Callable[[], Any]:
    """A call that makes a file of what was sent, and must not be repeated blindly."""
    if where == "complete":
        arguments = parts_stored(client)
        return lambda: client.complete(*arguments)
    file_id = stored(client)
    return lambda: client.preprocess(file_id)


@pytest.mark.parametrize("where", ["complete", "preprocess"])
def test_a_file_object_with_an_odd_id_is_refused(
    client: FilesApi, files_api: LocalFilesApi, where: Where
) -> None:
    call = last_step(client, where)
    files_api.script(Fault(where=where, what="other_id", value="../../etc"))

    with pytest.raises(Permanent, match="file object is not one we know"):
        call()


def test_json_as_deep_as_a_well_is_not_json(waits: list[float | None]) -> None:
    with RawServer(lambda _: reply(200, b"[" * 200_000)) as server:
        client = client_of(server.url, attempts=2)
        with pytest.raises(Retryable, match="is not JSON"):
            client.list_files()
        client.close()


@pytest.mark.parametrize("what", ["few_parts", "many_parts", "duplicate_parts"])
def test_a_wrong_part_list_is_refused_with_what_it_takes_to_abort_it(
    client: FilesApi, files_api: LocalFilesApi, what: Any
) -> None:
    files_api.script(Fault(where="initiate", what=what))

    with pytest.raises(RefusedTicket, match="would corrupt the file") as caught:
        initiate(client, num_parts=2)

    client.abort(caught.value.ticket.upload_id, caught.value.ticket.file_id)
    assert [seen.status for seen in files_api.requests("abort")] == [200]


@pytest.mark.parametrize(
    "headers", [{"Location": None}, {"X-Together-File-Id": None}, {"X-Together-File-Id": "../x"}]
)
def test_a_302_without_a_place_or_an_id_is_refused(
    client: FilesApi, files_api: LocalFilesApi, headers: dict[str, str | None]
) -> None:
    files_api.script(Fault(where="create", what="reply_headers", headers=headers))

    with pytest.raises(Permanent):
        create(client)
    assert len(files_api.requests("create")) == 1


# --- waiting --------------------------------------------------------------------------------------


def test_retry_after_in_milliseconds_is_honoured(
    client: FilesApi, files_api: LocalFilesApi, waits: list[float | None]
) -> None:
    headers: dict[str, str | None] = {"retry-after-ms": "1500"}
    files_api.script(Fault(where="list", what="status", status=429, headers=headers))

    assert client.list_files() == []
    assert waits == [1.5]


@pytest.mark.parametrize(
    ("status", "wish", "expected", "tries"),
    [(400, "true", Retryable, ATTEMPTS), (503, "false", Permanent, 1)],
)
def test_x_should_retry_overrules_the_status(
    client: FilesApi,
    files_api: LocalFilesApi,
    status: int,
    wish: str,
    expected: type[IngestError],
    tries: int,
) -> None:
    headers: dict[str, str | None] = {"x-should-retry": wish}
    files_api.script(Fault(where="list", what="status", status=status, headers=headers, times=None))

    with pytest.raises(expected):
        client.list_files()
    assert len(files_api.requests("list")) == tries


def test_a_wait_ends_at_once_when_the_run_is_stopped(files_api: LocalFilesApi) -> None:
    stop = threading.Event()
    stop.set()
    client = client_of(files_api.base_url, stop=stop)
    files_api.script(Fault(where="list", what="status", status=429, retry_after="100"))

    with pytest.raises(Interrupted):
        client.list_files()
    client.close()


# --- connections ----------------------------------------------------------------------------------


def test_a_refused_connection_is_tried_again_even_for_a_step_that_must_not_be_repeated(
    nowhere: str, waits: list[float | None]
) -> None:
    client = client_of(nowhere)

    for call in (client.list_files, lambda: client.preprocess("file-1")):
        waits.clear()
        with pytest.raises(Retryable, match="cannot connect"):
            call()
        assert len(waits) == ATTEMPTS - 1
    client.close()


def test_a_name_that_does_not_exist_is_told(waits: list[float | None]) -> None:
    client = client_of("http://no-such-host.invalid/v1", attempts=1)

    with pytest.raises(Retryable, match="cannot connect; is the URL right"):
        client.preprocess("file-1")
    client.close()


def test_a_reply_that_trickles_is_cut_at_the_time_limit(
    client: FilesApi, files_api: LocalFilesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = parts_stored(client)
    monkeypatch.setattr("ingest.files_api.client._CONNECT_TIMEOUT_S", 0.5)
    monkeypatch.setattr("ingest.files_api.client._COMPLETE_TIMEOUT_S", 0.5)
    files_api.script(Fault(where="complete", what="trickle_reply", bytes_per_s=10))
    began = time.monotonic()

    with pytest.raises(OutcomeUnknown):
        client.complete(*arguments)
    assert 1.0 <= time.monotonic() - began < 5.0


def test_a_call_that_hangs_does_not_keep_a_stopped_run(
    files_api: LocalFilesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.files_api.client._STOP_GRACE_S", 0.1)
    stop = threading.Event()
    client = client_of(files_api.base_url, stop=stop)
    files_api.script(Fault(where="list", what="stall_reply"))

    def stop_once_it_hangs() -> None:
        while not files_api.requests("list"):
            time.sleep(0.01)
        stop.set()

    stopper = threading.Thread(target=stop_once_it_hangs)
    stopper.start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        client.list_files()
    stopper.join()
    assert time.monotonic() - began < 5.0
    client.close()


def test_a_certificate_that_is_not_trusted_is_final(
    certificate: Path, waits: list[float | None]
) -> None:
    with RawServer(lambda _: reply(200, b"{}"), tls=certificate) as server:
        client = client_of(server.url)
        with pytest.raises(Permanent, match="its certificate is not trusted"):
            client.preprocess("file-1")
        client.close()
    assert waits == []
    assert server.requests == []


def lose(_: Request) -> bytes:
    raise ConnectionResetError


def give(_: Request) -> bytes:
    return reply(200, b"{}")


@pytest.mark.parametrize(
    ("answer", "garbled"), [(lose, False), (give, True)], ids=["broken off", "garbled"]
)
def test_tls_that_fails_on_the_way_is_a_broken_connection(
    certificate: Path,
    waits: list[float | None],
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[[Request], bytes],
    garbled: bool,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with RawServer(answer, tls=certificate, garbled=garbled) as server:
        client = client_of(server.url)
        with pytest.raises(Retryable):
            client.list_files()
        with pytest.raises(OutcomeUnknown):
            client.preprocess("file-1")
        client.close()
    assert [request.method for request in server.requests] == ["GET"] * ATTEMPTS + ["POST"]


# --- the key --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["create", "initiate", "list", "complete", "preprocess"])
def test_a_redirect_is_never_followed(
    client: FilesApi, files_api: LocalFilesApi, where: Where, status: int
) -> None:
    calls: dict[str, Callable[[], Any]] = {
        "create": lambda: create(client),
        "initiate": lambda: initiate(client),
        "list": client.list_files,
        "complete": lambda: client.complete("u", NO_ID, ["e"]),
        "preprocess": lambda: client.preprocess(NO_ID),
    }
    with RawServer(lambda _: reply(200, b"{}")) as other:
        location = f"{other.url}/v1/files"
        files_api.script(Fault(where=where, what="redirect", status=status, location=location))
        with pytest.raises(Permanent):
            calls[where]()
    assert other.requests == []
    assert len(files_api.requests(where)) == 1


@pytest.mark.parametrize("location", ["https://[broken", "\xff\xfe"])
def test_a_redirect_to_what_is_no_url_is_final(location: str) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: " + location.encode("latin-1") + b"\r\n\r\n"
    with RawServer(lambda _: answer) as server:
        client = client_of(server.url)
        with pytest.raises(Permanent):
            client.preprocess("file-1")
        client.close()
    assert len(server.requests) == 1


def test_the_key_is_sent_to_the_api_and_no_other_credentials_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with RawServer(lambda _: reply(200, b'{"data": []}')) as server:
        client = client_of(f"{server.url}/v1")
        client.list_files()
        client.close()

    (request,) = server.requests
    assert request.target == "/v1/files"
    assert request.headers["authorization"] == f"Bearer {API_KEY}"


def test_a_proxy_is_not_told_the_key(
    monkeypatch: pytest.MonkeyPatch, waits: list[float | None]
) -> None:
    refuse = reply(502)
    with RawServer(lambda _: refuse) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//user:proxypass@"))
        client = client_of("https://api.example/v1", attempts=1)
        with pytest.raises(Retryable) as caught:
            client.list_files()
        client.close()

    (request,) = proxy.requests
    assert (request.method, request.target) == ("CONNECT", "api.example:443")
    assert "authorization" not in request.headers
    assert API_KEY not in str(request)
    assert "proxypass" not in shown(caught.value)


@pytest.mark.parametrize("file_id", ["../files", "..", "a/b", "a?b", "a#b", "a%2Fb", "", "a\nb"])
def test_an_id_that_would_lead_elsewhere_is_not_asked_for(file_id: str) -> None:
    """It may come from a manifest, which is a file that anybody can edit."""
    with RawServer(lambda _: reply(200, b"{}")) as server:
        client = client_of(server.url)
        for call in (client.find, client.preprocess, lambda i: b"".join(client.content(i))):
            with pytest.raises(Permanent, match="a file id that was recorded cannot be one"):
                call(file_id)
        client.close()
    assert server.requests == []


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_server_that_quotes_the_key_does_not_get_it_into_a_message(
    status: int, waits: list[float | None]
) -> None:
    body = b'{"error": {"message": "%s what is %s?"}}' % (b"x" * 280, API_KEY.encode())
    with RawServer(lambda _: reply(status, body)) as server:
        client = client_of(server.url)
        with pytest.raises(IngestError) as caught:
            client.list_files()
        client.close()

    assert API_KEY not in shown(caught.value) + repr(client) + str(vars(client))
    assert "test" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"null", b"{}", b'{"error": {}}', b'{"error": null}', b"\xff\xfe"],
    ids=repr,
)
def test_an_error_in_any_shape_is_told_by_its_status(body: bytes) -> None:
    with RawServer(lambda _: reply(400, body)) as server:
        client = client_of(server.url)
        with pytest.raises(Permanent, match="GET /files: the API answered 400"):
            client.list_files()
        client.close()
