"""One attempt to send one body: every way it can go wrong, and what that is called."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import random
import socket
import threading
import time
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
from urllib3.exceptions import LocationParseError

from ingest import transfer
from ingest.errors import (
    IngestError,
    Permanent,
    Retryable,
    SourceChanged,
    TooSlow,
    UrlExpired,
)
from ingest.files import Segment
from ingest.files_api import FilesApi, MultipartTicket, SingleTicket
from ingest.secrets import PresignedUrl
from ingest.serve import Fault, LocalFilesApi
from ingest.sources import stat_source
from ingest.transfer import PutResult, PutTask, put_body
from tests.fixtures.raw_http import Answer, RawServer, Request, reply
from tests.upload.conftest import SegmentOf

DATA = random.Random(1).randbytes(3 * 2**20 + 12345)
LARGE = b"x" * (48 * 2**20)  # more than socket buffers hold: 4 MiB on one side, 32 MiB on the other
SECRET = "?X-Amz-Signature=5ec7e7"
OK = reply(200, ETag='"0123456789abcdef0123456789abcdef"')


@pytest.fixture
def segments(segment_of: SegmentOf) -> tuple[Segment, ...]:
    return segment_of(DATA)


def task_of(segments: tuple[Segment, ...], url: str, **fields: Any) -> PutTask:
    fields = {
        "label": "a.jsonl part 1/1",
        "segments": segments,
        "offset": 0,
        "length": sum(segment.length for segment in segments),
        "url": PresignedUrl(url, fields.pop("headers", {})),
        "timeout_s": 20.0,
        "local": True,
        "insecure": fields.get("local", True),
        **fields,
    }
    return PutTask(**fields)


def part_url(client: FilesApi, data: bytes = DATA) -> str:
    ticket = client.initiate("a.jsonl", "jsonl", "fine-tune", "0" * 64, len(data), 1)
    assert isinstance(ticket, MultipartTicket)
    return ticket.urls[0].url


def assert_hides_the_query(error: BaseException, url: str) -> None:
    """No part of a URL's query is in what a log would show of an error."""
    shown = "".join(traceback.format_exception(error)) + f"{error} {error!r} {error.args}"
    _, _, query = url.partition("?")
    for each in filter(None, [query, *query.split("&")]):
        assert each not in shown


def fails(task: PutTask, expected: type[IngestError], match: str | None = None) -> IngestError:
    """The error of exactly this type that the task ends with."""
    with pytest.raises(IngestError, match=match) as caught:
        put_body(task)
    assert type(caught.value) is expected
    assert "a.jsonl part 1/1" in str(caught.value) or expected is SourceChanged
    assert_hides_the_query(caught.value, task.url.url)
    return caught.value


# --- what arrives ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        pytest.param(0, len(DATA), id="all"),
        pytest.param(0, 1, id="the first byte"),
        pytest.param(len(DATA) - 1, 1, id="the last byte"),
        pytest.param(2**20 - 1, 2**20 + 2, id="across blocks"),
        pytest.param(100, 0, id="nothing"),
    ],
)
def test_exactly_the_planned_bytes_arrive(
    segments: tuple[Segment, ...], offset: int, length: int
) -> None:
    with RawServer(lambda _: OK) as server:
        result = put_body(task_of(segments, f"{server.url}/k", offset=offset, length=length))

    planned = DATA[offset : offset + length]
    (request,) = server.requests
    assert (request.method, request.body) == ("PUT", planned)
    assert request.headers["content-length"] == str(length)
    assert "transfer-encoding" not in request.headers
    assert result.md5 == hashlib.md5(planned).hexdigest()
    assert (result.sent_bytes, result.etag) == (length, "0123456789abcdef0123456789abcdef")


def test_a_range_over_several_sources_arrives_in_order(tmp_path: Path) -> None:
    segments = []
    for number, content in enumerate((b"abcdef", b"\n", b"ghijkl")):
        path = tmp_path / str(number)
        path.write_bytes(content)
        segments.append(Segment(stat_source(str(path), str(number)), 0, len(content)))
    with RawServer(lambda _: OK) as server:
        put_body(task_of(tuple(segments), f"{server.url}/k", offset=4, length=6))

    assert server.requests[0].body == b"ef\nghi"


def test_the_local_api_stores_what_was_sent(
    client: FilesApi, files_api: LocalFilesApi, segments: tuple[Segment, ...]
) -> None:
    ticket = client.create("a.jsonl", "jsonl", "fine-tune", hashlib.sha256(DATA).hexdigest())
    assert isinstance(ticket, SingleTicket)

    result = put_body(task_of(segments, ticket.url.url))

    assert result.etag == result.md5 == hashlib.md5(DATA).hexdigest()
    assert not result.opaque_etag
    assert files_api.stored_bytes(client.preprocess(ticket.file_id).id) == DATA


@pytest.mark.parametrize(
    ("headers", "etag", "opaque"),
    [
        ({"ETag": '"abc"'}, "abc", False),
        ({"ETag": "abc"}, "abc", False),
        ({"etag": 'W/"abc"'}, "abc", False),
        ({}, "", False),
        ({"ETag": '""'}, "", False),
        ({"ETag": '"abc"', "x-amz-server-side-encryption": "aws:kms"}, "abc", True),
        ({"ETag": '"abc"', "x-amz-server-side-encryption": "aws:kms:dsse"}, "abc", True),
        ({"ETag": '"abc"', "x-amz-server-side-encryption": "AES256"}, "abc", False),
        (
            {"ETag": '"abc"', "x-amz-server-side-encryption-customer-algorithm": "AES256"},
            "abc",
            True,
        ),
    ],
    ids=str,
)
def test_the_etag_is_read_unquoted(
    segments: tuple[Segment, ...], headers: dict[str, str], etag: str, opaque: bool
) -> None:
    with RawServer(lambda _: reply(200, **headers)) as server:
        result = put_body(task_of(segments, f"{server.url}/k"))

    assert (result.etag, result.opaque_etag) == (etag, opaque)


def test_the_headers_that_the_url_was_signed_for_are_sent(segments: tuple[Segment, ...]) -> None:
    with RawServer(lambda _: OK) as server:
        put_body(task_of(segments, f"{server.url}/k", headers={"x-amz-acl": "private"}))

    assert server.requests[0].headers["x-amz-acl"] == "private"


def test_no_authorization_is_sent_whatever_netrc_says(
    segments: tuple[Segment, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\ndefault login me password mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("TOGETHER_API_KEY", "test-key")
    with RawServer(lambda _: OK) as server:
        put_body(task_of(segments, f"{server.url}/k"))

    assert "authorization" not in server.requests[0].headers
    assert "cookie" not in server.requests[0].headers


def test_a_bandwidth_is_kept(segment_of: SegmentOf) -> None:
    data = b"x" * (5 * 2**19)
    with RawServer(lambda _: OK) as server:
        result = put_body(task_of(segment_of(data), f"{server.url}/k", rate_bytes_s=4 * 2**20))

    assert 0.5 <= result.seconds < 5.0  # two MiB must be over before the last half is read


# --- redirects ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_a_redirect_gets_the_body_from_its_first_byte(
    segments: tuple[Segment, ...], status: int, kind: str
) -> None:
    def answer(request: Request) -> bytes:
        if request.target == "/moved?s=2":
            return OK
        place = "/moved?s=2" if kind == "relative" else f"{server.url}/moved?s=2"
        return reply(status, Location=place)

    with RawServer(answer) as server:
        put_body(task_of(segments, f"{server.url}/k{SECRET}"))

    assert [request.method for request in server.requests] == ["PUT", "PUT"]
    assert [request.body for request in server.requests] == [DATA, DATA]


def test_a_redirect_to_another_host_gets_the_body_and_no_key(segments: tuple[Segment, ...]) -> None:
    with RawServer(lambda _: OK) as other:
        host = f"localhost:{other.port}"
        place = f"http://{host}/k?s=2"
        with RawServer(lambda _: reply(307, Location=place)) as first:
            put_body(task_of(segments, f"{first.url}/k", headers={"x-amz-acl": "private"}))

    (request,) = other.requests
    assert request.body == DATA
    assert request.headers["host"] == host
    assert "authorization" not in request.headers


@pytest.mark.parametrize(("hops", "arrives"), [(20, True), (21, False)])
def test_20_redirects_are_followed_and_no_more(
    segment_of: SegmentOf, hops: int, arrives: bool
) -> None:
    def answer(request: Request) -> bytes:
        done = int(request.target.rpartition("/")[2])
        return OK if done == hops else reply(307, Location=f"/{done + 1}")

    with RawServer(answer) as server:
        task = task_of(segment_of(b"{}\n"), f"{server.url}/0")
        if arrives:
            put_body(task)
        else:
            fails(task, Permanent, "redirected more than 20 times")
    assert len(server.requests) == 21


@pytest.mark.parametrize("status", [300, 301, 304, 307])
def test_a_redirect_to_nowhere_is_no_success(segments: tuple[Segment, ...], status: int) -> None:
    body = b"<Error><Code>PermanentRedirect</Code><Message>other region</Message></Error>"
    with RawServer(lambda _: reply(status, b"" if status == 304 else body)) as server:
        fails(task_of(segments, f"{server.url}/k{SECRET}"), Permanent, f"answered {status}")


@pytest.mark.parametrize(
    "location",
    ["ftp://store.example/k", "file:///etc/passwd", "https://[broken", "https:///k", "mailto:x"],
)
def test_a_redirect_to_what_cannot_be_sent_to_is_refused(
    segments: tuple[Segment, ...], location: str
) -> None:
    with RawServer(lambda _: reply(307, Location=location)) as server:
        fails(task_of(segments, f"{server.url}/k{SECRET}"), Permanent)


PRIVATE = [
    "https://127.0.0.1/k",
    "https://localhost/k",
    "https://0.0.0.0/k",
    "https://10.0.0.1/k",
    "https://172.16.0.1/k",
    "https://192.168.1.1/k",
    "https://169.254.169.254/latest/meta-data",
    "https://100.64.0.1/k",
    "https://[::1]/k",
    "https://[fd00::1]/k",
    "https://[fe80::1]/k",
    "https://[::ffff:10.0.0.1]/k",
    "https://2130706433/k",
    "https://0x7f.1/k",
    "//127.0.0.1/k",
]


@pytest.mark.parametrize("location", PRIVATE)
def test_a_store_cannot_redirect_into_the_network_of_the_run(
    segments: tuple[Segment, ...],
    location: str,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with RawServer(lambda _: reply(307, Location=location), tls=certificate) as server:
        task = task_of(segments, f"{server.url}/k{SECRET}", local=False)
        fails(task, Permanent, r"the store is at a (private|link-local) address")
    assert len(server.requests) == 1


def test_a_store_cannot_redirect_to_plain_http(
    segments: tuple[Segment, ...], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    location = "http://store.example/k"
    with RawServer(lambda _: reply(307, Location=location), tls=certificate) as server:
        task = task_of(segments, f"{server.url}/k{SECRET}", local=False)
        fails(task, Permanent, "is not https")


@pytest.mark.parametrize("location", ["http://127.0.0.1:1/k", "http://169.254.169.254/k"])
def test_insecure_allows_plain_http_and_not_the_network_of_the_run(
    segments: tuple[Segment, ...], location: str
) -> None:
    with RawServer(lambda _: reply(307, Location=location)) as server:
        task = task_of(segments, f"{server.url}/k{SECRET}", local=False, insecure=True)
        fails(task, Permanent, "the store is at a private address")


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest/meta-data", "http://[::ffff:169.254.169.254]/latest"]
)
def test_nothing_is_sent_to_a_metadata_address_whoever_names_it(
    segments: tuple[Segment, ...], url: str, local: bool
) -> None:
    named = task_of(segments, f"{url}{SECRET}", local=local, insecure=True)
    fails(named, Permanent, "the store is at a link-local address")
    with RawServer(lambda _: reply(307, Location=url)) as server:
        redirected = task_of(segments, f"{server.url}/k{SECRET}", local=local, insecure=True)
        fails(redirected, Permanent, "the store is at a (link-local|private) address")


def test_an_api_in_a_private_network_may_have_its_store_there(
    segments: tuple[Segment, ...],
) -> None:
    with (
        RawServer(lambda _: OK) as store,
        RawServer(lambda _: reply(307, Location=f"{store.url}/k")) as first,
    ):
        put_body(task_of(segments, f"{first.url}/k", local=True))
    assert store.requests[0].body == DATA


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("10.1.2.3", True),
        ("192.168.0.9", True),
        ("fd00::1", True),
        ("8.8.8.8", False),
        ("2001:4860:4860::8888", False),
        ("no-such-host.invalid", False),
        ("", False),
    ],
)
def test_a_host_is_private_by_its_addresses(host: str, expected: bool) -> None:
    assert transfer.has_private_address(host) is expected


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(
            http.client.InvalidURL("URL can't contain /k?X-Amz-Signature=5ec7e7"), id="http"
        ),
        pytest.param(LocationParseError("https://s/k?X-Amz-Signature=5ec7e7"), id="urllib3"),
        pytest.param(requests.exceptions.InvalidURL(f"https://s/k{SECRET}"), id="requests"),
    ],
)
def test_an_error_that_quotes_the_url_is_told_by_its_kind_alone(
    segments: tuple[Segment, ...], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the libraries wrap, and what they let through, differs from version to version."""

    def quote(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("requests.Session.put", quote)
    with pytest.raises(IngestError, match=type(error).__name__) as caught:
        put_body(task_of(segments, f"https://store.example/k{SECRET}"))
    assert_hides_the_query(caught.value, f"k{SECRET}")


@pytest.mark.parametrize("location", ["https://8.8.8.8/k", "https://[2001:4860:4860::8888]/k"])
def test_a_store_can_redirect_to_a_public_host(location: str) -> None:
    task = task_of((), "https://store.example/k", local=False)

    assert transfer._redirected("https://store.example/k", location, task) == location


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64 + ".example"])
def test_a_redirect_to_a_name_that_is_not_there_may_pass(host: str) -> None:
    task = task_of((), "https://store.example/k", local=False)

    with pytest.raises(Retryable, match="cannot be resolved"):
        transfer._redirected("https://store.example/k", f"https://{host}/k", task)


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("http://store.example/k", "is not https"),
        ("ftp://store.example/k", "not one of http or https"),
        ("/k", "not one of http or https"),
        ("https://[broken", "not one of http or https"),
    ],
)
def test_a_url_that_must_not_be_used_is_refused_before_anything_is_sent(
    segments: tuple[Segment, ...], url: str, match: str
) -> None:
    fails(task_of(segments, f"{url}{SECRET}", local=False), Permanent, match)


@pytest.mark.parametrize("headers", [{"x": "a\r\nb: c"}, {"x": "日本"}], ids=str)
def test_headers_that_cannot_be_sent_are_final(
    segments: tuple[Segment, ...], headers: dict[str, str]
) -> None:
    with RawServer(lambda _: OK) as server:
        task = task_of(segments, f"{server.url}/k{SECRET}", headers=headers)
        fails(task, Permanent, "cannot be used")
    assert server.requests == []


# --- statuses -------------------------------------------------------------------------------------


def s3_error(code: str, message: str = "it says") -> bytes:
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    return f"{head}<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, s3_error("InvalidRequest"), Permanent),
        (400, s3_error("RequestTimeout"), Retryable),
        (400, s3_error("IncompleteBody"), Retryable),
        (400, s3_error("BadDigest"), Retryable),
        (400, s3_error("ExpiredToken"), UrlExpired),
        (400, s3_error("EntityTooLarge"), Permanent),
        (401, b"", Permanent),
        (403, s3_error("AccessDenied"), Permanent),
        (403, s3_error("AccessDenied", "Request has expired"), UrlExpired),
        (403, s3_error("SignatureDoesNotMatch"), Permanent),
        (403, b"", Permanent),
        (404, s3_error("NoSuchUpload"), Permanent),
        (408, b"", Retryable),
        (409, b"", Retryable),
        (411, b"", Permanent),
        (413, b"", Permanent),
        (429, b"", Retryable),
        (500, s3_error("InternalError"), Retryable),
        (502, b"<html><body>Bad gateway<br></html>", Retryable),
        (503, s3_error("SlowDown"), Retryable),
        (504, b"\xff\xfe\x00", Retryable),
        (400, b'<?xml version="1.0" encoding="nonsense"?><a/>', Permanent),
        (400, b'<?xml version="1.0" encoding="shift_jis"?><a/>', Permanent),
        (400, b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', Permanent),
    ],
)
def test_a_status_of_the_store_is_called_so(
    segments: tuple[Segment, ...], status: int, body: bytes, expected: type[IngestError]
) -> None:
    with RawServer(lambda _: reply(status, body)) as server:
        fails(task_of(segments, f"{server.url}/k{SECRET}"), expected, f"answered {status}")
    assert len(server.requests) == 1


def test_the_wait_a_store_asks_for_is_kept(segments: tuple[Segment, ...]) -> None:
    with RawServer(lambda _: reply(503, s3_error("SlowDown"), Retry_After="9")) as server:
        error = fails(task_of(segments, f"{server.url}/k"), Retryable)

    assert isinstance(error, Retryable)
    assert error.retry_after_s == 9.0


def test_a_store_that_quotes_the_url_does_not_get_it_into_a_message(
    segments: tuple[Segment, ...],
) -> None:
    def answer(request: Request) -> bytes:
        return reply(403, s3_error("Forbidden", f"no: http://s{request.target} {request.target}"))

    with RawServer(answer) as server:
        fails(task_of(segments, f"{server.url}/k{SECRET}"), Permanent, "Forbidden")


# --- expiry ---------------------------------------------------------------------------------------


def expiring(url: str, seconds: float) -> str:
    signed = datetime.now(timezone.utc) + timedelta(seconds=seconds - 60)
    return f"{url}?X-Amz-Date={signed:%Y%m%dT%H%M%SZ}&X-Amz-Expires=60&X-Amz-Signature=5ec7e7"


def test_a_url_that_has_expired_is_not_used(segments: tuple[Segment, ...]) -> None:
    with RawServer(lambda _: OK) as server:
        fails(task_of(segments, expiring(f"{server.url}/k", -1)), UrlExpired)
    assert server.requests == []


def test_403_after_the_expiry_is_expired_whatever_the_store_calls_it(
    segments: tuple[Segment, ...],
) -> None:
    def answer(_: Request) -> bytes:
        time.sleep(max(0.0, expiry - time.time()))
        return reply(403, s3_error("AccessDenied"))

    with RawServer(answer) as server:
        url = expiring(f"{server.url}/k", 2)
        expires_at = PresignedUrl(url).expires_at
        assert expires_at is not None
        expiry = expires_at.timestamp()
        fails(task_of(segments, url), UrlExpired)
    assert len(server.requests) == 1


def test_the_stores_word_for_expired_is_understood(
    client: FilesApi, files_api: LocalFilesApi, segments: tuple[Segment, ...]
) -> None:
    files_api.script(Fault(where="put-part", what="expired"))

    fails(task_of(segments, part_url(client)), UrlExpired, "Request has expired")


# --- connections ----------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["first", "middle", "last"])
def test_a_reset_within_the_body_may_pass(
    client: FilesApi, files_api: LocalFilesApi, segment_of: SegmentOf, at: Any
) -> None:
    files_api.script(Fault(where="put-part", what="reset", at=at))
    task = task_of(segment_of(LARGE), part_url(client, LARGE))

    fails(task, Retryable, "the connection to 127.0.0.1 broke")

    assert put_body(task).md5 == hashlib.md5(LARGE).hexdigest()


@pytest.mark.parametrize("what", ["lost_reply", "reset_reply", "truncated_reply"])
def test_a_reply_that_does_not_come_whole_may_pass(
    client: FilesApi, files_api: LocalFilesApi, segments: tuple[Segment, ...], what: Any
) -> None:
    files_api.script(Fault(where="put-part", what=what))
    task = task_of(segments, part_url(client))

    fails(task, Retryable, "the connection to 127.0.0.1 broke")

    assert put_body(task).etag == hashlib.md5(DATA).hexdigest()


WHOLE = b'HTTP/1.1 200 OK\r\nETag: "0123456789abcdef0123456789abcdef"\r\n\r\n'


@pytest.mark.parametrize("cut", range(0, len(WHOLE), 5))
def test_a_head_that_is_cut_anywhere_is_no_reply(segment_of: SegmentOf, cut: int) -> None:
    with RawServer(lambda _: WHOLE[:cut]) as server:
        fails(task_of(segment_of(b"{}\n"), f"{server.url}/k"), Retryable, "broke")


def test_a_head_without_a_length_is_a_reply(segment_of: SegmentOf) -> None:
    with RawServer(lambda _: WHOLE) as server:
        result = put_body(task_of(segment_of(b"{}\n"), f"{server.url}/k"))

    assert result.etag == "0123456789abcdef0123456789abcdef"


def test_a_refused_connection_may_pass(segments: tuple[Segment, ...]) -> None:
    with RawServer(lambda _: OK) as server:
        url = f"{server.url}/k{SECRET}"

    fails(task_of(segments, url), Retryable, "after 0 of")


def test_a_store_that_takes_no_byte_is_noticed(
    client: FilesApi,
    files_api: LocalFilesApi,
    segment_of: SegmentOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transfer, "STALL_TIMEOUT_S", 0.3)
    files_api.script(Fault(where="put-part", what="stall", at="first"))

    fails(task_of(segment_of(LARGE), part_url(client, LARGE)), Retryable, "moved no byte for 0.3 s")


def test_a_store_that_does_not_answer_is_noticed(
    client: FilesApi,
    files_api: LocalFilesApi,
    segments: tuple[Segment, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transfer, "STALL_TIMEOUT_S", 0.3)
    files_api.script(Fault(where="put-part", what="stall_reply"))

    fails(task_of(segments, part_url(client)), Retryable, "moved no byte for 0.3 s")


@pytest.mark.parametrize(
    ("fault", "expected", "message"),
    [
        ({"what": "trickle_reply", "bytes_per_s": 10}, Retryable, "sent, but not answered"),
        ({"what": "stall_reply"}, Retryable, "sent, but not answered"),
        ({"what": "stall"}, TooSlow, "a slow link wants a smaller --part-size"),
        ({"what": "trickle", "bytes_per_s": 2**20}, TooSlow, "a smaller --part-size"),
    ],
    ids=["trickle_reply", "stall_reply", "stall", "trickle"],
)
def test_the_time_limit_is_wall_clock(
    client: FilesApi,
    files_api: LocalFilesApi,
    segment_of: SegmentOf,
    fault: dict[str, Any],
    expected: type[IngestError],
    message: str,
) -> None:
    files_api.script(Fault(where="put-part", **fault))
    task = task_of(segment_of(LARGE), part_url(client, LARGE), timeout_s=1.0)
    began = time.monotonic()

    fails(task, expected, message)

    assert 0.9 < time.monotonic() - began < 4.0


def test_the_time_limit_counts_the_time_to_connect(
    segments: tuple[Segment, ...],
) -> None:
    with contextlib.ExitStack() as exits:
        listener = exits.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        # The places in the queue are taken, so that a further connection is not even answered.
        for _ in range(3):
            waiting = exits.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        task = task_of(segments, f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.5)
        began = time.monotonic()
        fails(task, Retryable)
    assert time.monotonic() - began < 4.0


def test_the_time_limit_is_wall_clock_over_tls_too(
    segments: tuple[Segment, ...], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    over = threading.Event()

    def hold(_: Request) -> bytes:
        over.wait(10)
        return OK

    with RawServer(hold, tls=certificate) as server:
        task = task_of(segments, f"{server.url}/k{SECRET}", local=False, timeout_s=0.5)
        fails(task, Retryable, "sent, but not answered within 0.5 s")
        over.set()


def test_tls_that_is_garbled_on_the_way_may_pass(
    segments: tuple[Segment, ...], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))

    with RawServer(lambda _: OK, tls=certificate, garbled=True) as server:
        task = task_of(segments, f"{server.url}/k{SECRET}", local=False)
        fails(task, Retryable, r"broke after .* \(SSLError\)")


def test_tls_that_breaks_off_may_pass(
    segments: tuple[Segment, ...], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))

    def lose(_: Request) -> bytes:
        raise ConnectionResetError

    with RawServer(lose, tls=certificate) as server:
        fails(task_of(segments, f"{server.url}/k{SECRET}", local=False), Retryable, "broke")


def test_a_certificate_that_is_not_trusted_is_final(
    segments: tuple[Segment, ...], certificate: Path
) -> None:
    with RawServer(lambda _: OK, tls=certificate) as server:
        task = task_of(segments, f"{server.url}/k{SECRET}", local=False)
        fails(task, Permanent, "certificate of 127.0.0.1 is not trusted")
    assert server.requests == []


# --- the source -----------------------------------------------------------------------------------


def rewrite(path: Path) -> None:
    path.write_bytes(b"y" * path.stat().st_size)
    os.utime(path, ns=(1, 1))


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"z")


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def cut(path: Path) -> None:
    os.truncate(path, 10)


@pytest.mark.parametrize("change", [rewrite, replace, grow, cut, Path.unlink])
def test_a_source_that_changed_before_it_is_sent_is_not_sent(
    segments: tuple[Segment, ...], change: Callable[[Path], None], tmp_path: Path
) -> None:
    change(tmp_path / "source")

    with RawServer(lambda _: OK) as server:
        fails(task_of(segments, f"{server.url}/k{SECRET}"), SourceChanged)
    assert all(len(request.body) < len(DATA) for request in server.requests)


@pytest.mark.parametrize("change", [rewrite, grow, cut])
def test_a_source_that_changes_while_it_is_sent_is_not_acknowledged(
    client: FilesApi,
    files_api: LocalFilesApi,
    segment_of: SegmentOf,
    change: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks = 0
    read = transfer._Body.read

    def change_after_two_blocks(body: Any, size: int = -1) -> bytes:
        nonlocal blocks
        blocks += 1
        if blocks == 3:
            change(tmp_path / "source")
        return read(body, size)

    monkeypatch.setattr(transfer._Body, "read", change_after_two_blocks)

    fails(task_of(segment_of(LARGE), part_url(client, LARGE)), SourceChanged)

    (seen,) = files_api.requests("put-part")
    assert seen.status != 200
    assert seen.received_bytes < len(LARGE)


# --- results --------------------------------------------------------------------------------------


def test_the_time_an_attempt_took_is_told(segments: tuple[Segment, ...]) -> None:
    def slowly(_: Request) -> bytes:
        time.sleep(0.2)
        return OK

    answer: Answer = slowly
    with RawServer(answer) as server:
        result: PutResult = put_body(task_of(segments, f"{server.url}/k"))
    assert 0.2 <= result.seconds < 5.0
