from __future__ import annotations

import hashlib
import http.client
import re
import stat
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from ingest.serve import LocalFilesApi
from ingest.serve.signing import UrlSigner, load_secret
from ingest.serve.storage import StorageRefusal
from tests.serve.wire import Wire, jsonl, put

DATA = jsonl(10)


@pytest.fixture
def url(wire: Wire) -> str:
    return wire.create().headers["Location"]


def with_query(url: str, **changed: str) -> str:
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    return url.partition("?")[0] + "?" + urlencode(query | changed)


def code(xml: str) -> str:
    found = re.search("<Code>(.*)</Code>", xml)
    assert found, xml
    return found[1]


def test_a_url_tells_its_date_and_expiry_as_s3_does(url: str) -> None:
    query = parse_qs(urlsplit(url).query)

    assert re.fullmatch(r"\d{8}T\d{6}Z", query["X-Amz-Date"][0])
    assert query["X-Amz-Expires"] == ["3600"]
    assert {"X-Amz-Algorithm", "X-Amz-Signature"} <= set(query)


def test_an_etag_is_the_quoted_md5(url: str) -> None:
    assert put(url, DATA).headers["ETag"] == f'"{hashlib.md5(DATA).hexdigest()}"'


@pytest.mark.parametrize(
    "change",
    [{"X-Amz-Expires": "999999"}, {"X-Amz-Signature": "0" * 64}, {"partNumber": "1"}],
    ids=["expiry", "signature", "another parameter"],
)
def test_a_url_that_was_changed_is_refused(url: str, change: dict[str, str]) -> None:
    reply = put(with_query(url, **change), DATA)

    assert (reply.status_code, code(reply.text)) == (403, "SignatureDoesNotMatch")


def test_a_url_serves_no_other_key_and_an_unsigned_one_none(wire: Wire, url: str) -> None:
    other = urlsplit(wire.create().headers["Location"]).path
    mine = urlsplit(url)

    swapped = put(f"http://{mine.netloc}{other}?{mine.query}", DATA)
    unsigned = put(f"http://{mine.netloc}{mine.path}", DATA)

    assert (swapped.status_code, code(swapped.text)) == (403, "SignatureDoesNotMatch")
    assert (unsigned.status_code, code(unsigned.text)) == (403, "AccessDenied")


def test_a_put_that_also_carries_the_key_is_refused(url: str) -> None:
    reply = put(url, DATA, headers={"Authorization": "Bearer test-key"})

    assert (reply.status_code, code(reply.text)) == (400, "InvalidArgument")


def test_a_put_needs_a_length(url: str) -> None:
    reply = put(url, iter([DATA]))  # requests sends this chunked

    assert (reply.status_code, code(reply.text)) == (411, "MissingContentLength")


def test_a_body_over_the_file_limit_is_refused(tmp_path: Path) -> None:
    with LocalFilesApi(tmp_path, max_file_size_bytes=len(DATA)) as api:
        wire = Wire(api)
        at_the_limit = put(wire.create().headers["Location"], DATA)
        over = put(wire.create().headers["Location"], DATA + b"\n")
        announced = wire.initiate(len(DATA) + 1, 1)

    assert at_the_limit.status_code == 200
    assert (over.status_code, code(over.text)) == (400, "EntityTooLarge")
    assert (announced.status_code, announced.json()["error"]["code"]) == (413, "file_too_large")


def test_a_body_that_is_cut_short_is_not_stored(
    files_api: LocalFilesApi, wire: Wire, tmp_path: Path
) -> None:
    created = wire.create()
    target = urlsplit(created.headers["Location"])
    connection = http.client.HTTPConnection(target.netloc, timeout=10)
    connection.putrequest("PUT", f"{target.path}?{target.query}")
    connection.putheader("Content-Length", str(len(DATA) + 1))
    connection.endheaders(DATA)
    connection.close()

    assert wire.preprocess(created.headers["X-Together-File-Id"]).status_code == 400
    with pytest.raises(KeyError):
        files_api.stored_bytes(created.headers["X-Together-File-Id"])


def test_expect_100_continue_is_answered(url: str) -> None:
    target = urlsplit(url)
    connection = http.client.HTTPConnection(target.netloc, timeout=10)
    connection.putrequest("PUT", f"{target.path}?{target.query}")
    connection.putheader("Content-Length", str(len(DATA)))
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    interim = connection.sock.recv(100)
    connection.send(DATA)

    assert interim.startswith(b"HTTP/1.1 100")
    assert connection.getresponse().status == 200
    connection.close()


def test_a_connection_is_kept_for_the_next_request(url: str) -> None:
    target = urlsplit(url)
    connection = http.client.HTTPConnection(target.netloc, timeout=10)
    for _ in range(2):
        connection.request("PUT", f"{target.path}?{target.query}", DATA)
        reply = connection.getresponse()
        reply.read()
        assert (reply.status, reply.will_close) == (200, False)
    connection.close()


@pytest.mark.parametrize(
    ("later_s", "accepted"), [(0, True), (60, True), (61, False)], ids=["now", "last", "expired"]
)
def test_a_url_is_good_up_to_its_expiry(later_s: int, accepted: bool) -> None:
    clock = iter([1_700_000_000, 1_700_000_000 + later_s])
    signer = UrlSigner(b"secret", 60, clock=lambda: next(clock))
    url = urlsplit(signer.sign("PUT", "/storage/key", {"partNumber": "1"}))
    query = {name: values[0] for name, values in parse_qs(url.query).items()}

    if accepted:
        signer.check("PUT", url.path, query)
    else:
        with pytest.raises(StorageRefusal, match="Request has expired") as refusal:
            signer.check("PUT", url.path, query)
        assert (refusal.value.status, refusal.value.code) == (403, "AccessDenied")


def test_a_signature_is_for_one_method() -> None:
    signer = UrlSigner(b"secret", 60)
    url = urlsplit(signer.sign("PUT", "/storage/key", {}))
    query = {name: values[0] for name, values in parse_qs(url.query).items()}

    with pytest.raises(StorageRefusal) as refusal:
        signer.check("GET", url.path, query)
    assert refusal.value.code == "SignatureDoesNotMatch"


def test_the_secret_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"

    first, second = load_secret(path), load_secret(path)

    assert first == second
    assert len(first) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
