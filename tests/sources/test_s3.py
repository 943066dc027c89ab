"""Reading, listing and small objects against a real S3 server, and what its failures say."""

from __future__ import annotations

import os
import pickle
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

import ingest.sources.s3 as s3_module
from ingest.errors import Retryable, SourceChanged, SourceError
from ingest.files import Segment, SourceFile
from ingest.sources import (
    ObjectExists,
    delete_object,
    discover,
    list_objects,
    open_segments,
    open_source,
    read_object,
    read_object_with_etag,
    stat_source,
    write_object,
)
from ingest.sources.s3 import client_for, forget_clients, split_uri
from tests.fixtures.s3 import S3Bucket

DATA = random.Random(2).randbytes(3_000_000)


@pytest.fixture
def source(s3: S3Bucket) -> SourceFile:
    return stat_source(s3.put("dir/a.jsonl", DATA), "a.jsonl", s3.endpoint_url)


# --- reading --------------------------------------------------------------------------------------


def test_an_object_is_described_by_its_size_and_etag(source: SourceFile, s3: S3Bucket) -> None:
    head = s3.client.head_object(Bucket=s3.bucket, Key="dir/a.jsonl")
    assert source == SourceFile(
        uri=f"s3://{s3.bucket}/dir/a.jsonl",
        name="a.jsonl",
        size_bytes=len(DATA),
        version=head["ETag"].strip('"'),
        endpoint_url=s3.endpoint_url,
    )


def test_reads_seeks_and_tells_as_any_file(source: SourceFile) -> None:
    with open_source(source) as stream:
        assert (stream.readable(), stream.seekable(), stream.writable()) == (True, True, False)
        assert stream.read(10) == DATA[:10]
        assert stream.seek(-10, os.SEEK_END) == len(DATA) - 10
        assert stream.read(100) == DATA[-10:]
        assert stream.read(100) == b""
        assert stream.seek(1000) == stream.tell() == 1000
        assert stream.seek(24, os.SEEK_CUR) == 1024
        assert stream.read(2_000_000) == DATA[1024:2_001_024]  # over the first window
        assert stream.read(2_000_000) == DATA[2_001_024:]
        assert stream.seek(len(DATA) + 5) == len(DATA) + 5
        assert stream.read(1) == b""
        with pytest.raises(ValueError, match="negative"):
            stream.seek(-1)
    with pytest.raises(ValueError, match="closed"):
        stream.read(1)


def test_random_reads_give_the_bytes_of_their_ranges(source: SourceFile) -> None:
    chance = random.Random(3)
    with open_source(source) as stream:
        for _ in range(30):
            start, size = chance.randrange(len(DATA)), chance.randrange(200_000)
            stream.seek(start)
            assert stream.read(size) == DATA[start : start + size]


def test_a_stream_with_an_end_stops_there(source: SourceFile) -> None:
    with open_source(source, end=150) as stream:
        stream.seek(100)
        assert stream.read(1000) == DATA[100:150]


def test_a_long_read_takes_few_requests(
    source: SourceFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges = []
    client = client_for(source.endpoint_url)
    get_object = client.get_object

    def counting(**request: str) -> object:
        ranges.append(request["Range"])
        return get_object(**request)  # type: ignore[arg-type]

    monkeypatch.setattr(client, "get_object", counting)
    with open_source(source) as stream:
        while stream.read(64 << 10):
            pass
    assert ranges == ["bytes=0-1048575", "bytes=1048576-2999999"]


def test_an_empty_object_is_empty(s3: S3Bucket) -> None:
    with open_source(stat_source(s3.put("empty", b""), "empty", s3.endpoint_url)) as stream:
        assert stream.read(10) == b""


def test_an_object_that_was_replaced_is_refused_by_its_etag(
    source: SourceFile, s3: S3Bucket
) -> None:
    stream = open_source(source)
    assert stream.read(10) == DATA[:10]
    s3.put("dir/a.jsonl", DATA[::-1])  # the same size
    stream.seek(2_500_000)
    with pytest.raises(SourceChanged, match="changed after it was planned"):
        stream.read(10)
    stream.close()


def test_an_object_that_is_gone_is_told_as_vanished(source: SourceFile, s3: S3Bucket) -> None:
    s3.client.delete_object(Bucket=s3.bucket, Key="dir/a.jsonl")
    with open_source(source) as stream, pytest.raises(SourceChanged, match="vanished"):
        stream.read(10)


def test_segments_over_s3_and_disk_stream_into_a_request(
    source: SourceFile, s3: S3Bucket, tmp_path: object
) -> None:
    path = os.path.join(str(tmp_path), "b")  # noqa: PTH118
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(DATA[:1000])
    segments = [Segment(source, 500, 2_000_000), Segment(stat_source(path, "b"), 100, 900)]
    url = s3.client.generate_presigned_url(
        "put_object", Params={"Bucket": s3.bucket, "Key": "out"}, ExpiresIn=60
    )
    with open_segments(segments, 10, 2_000_000) as body:
        assert requests.put(url, data=body, timeout=30).status_code == 200
    assert s3.get("out") == DATA[510:2_000_500] + DATA[100:110]


# --- faults ---------------------------------------------------------------------------------------


class FaultyStore(ThreadingHTTPServer):
    """Serves one object by range, badly: ``faults`` says how, a request at a time."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), _FaultyHandler)
        self.faults = faults
        self.ranges: list[str] = []


class _FaultyHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, FaultyStore)
        asked = self.headers["Range"]
        self.server.ranges.append(asked)
        fault = self.server.faults.pop(0) if self.server.faults else "none"
        start, end = (int(n) for n in asked.removeprefix("bytes=").split("-"))
        if fault == "503":
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        ignored = fault == "ignores the range"
        data = DATA if ignored else DATA[start : end + 1]
        self.send_response(200 if ignored else 206)
        if not ignored:
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(DATA)}")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", '"other"' if fault == "ignores If-Match" else '"v1"')
        self.end_headers()
        if fault == "breaks off":
            data = data[: len(data) // 2]
        self.wfile.write(data)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


StartFaulty = Callable[..., tuple[SourceFile, FaultyStore]]


@pytest.fixture
def faulty(s3: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartFaulty]:
    """``faulty("breaks off", ...)`` starts a store with these faults, and gives its one source."""
    monkeypatch.setattr(s3_module, "_READ_PAUSE_S", 0.001)
    servers: list[FaultyStore] = []

    def start(*faults: str) -> tuple[SourceFile, FaultyStore]:
        server = FaultyStore(list(faults))
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        return SourceFile("s3://bucket/a.jsonl", "a.jsonl", len(DATA), "v1", endpoint), server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_broken_read_goes_on_at_the_same_offset(faulty: StartFaulty) -> None:
    source, server = faulty("breaks off", "breaks off", "none")
    with open_source(source) as stream:
        assert stream.read(len(DATA)) == DATA
    offsets = [int(text.removeprefix("bytes=").split("-")[0]) for text in server.ranges]
    assert offsets == sorted(set(offsets))
    assert len(offsets) == 3


def test_a_store_that_stays_broken_is_given_up_as_retryable(
    faulty: StartFaulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_module, "_ATTEMPTS", 1)
    forget_clients()
    source, server = faulty(*["503"] * 100)
    with open_source(source) as stream, pytest.raises(Retryable, match="failed 6 times"):
        stream.read(10)
    assert len(server.ranges) == 6


@pytest.mark.parametrize("fault", ["ignores the range", "ignores If-Match"])
def test_a_store_that_answers_another_question_is_not_believed(
    faulty: StartFaulty, fault: str
) -> None:
    source, _ = faulty(fault)
    with open_source(source) as stream:
        stream.seek(1000)
        with pytest.raises(SourceChanged, match="expected bytes 1000-"):
            stream.read(10)


@pytest.fixture
def unroutable() -> Iterator[str]:
    """An endpoint that takes no connection: its queue is full, so that SYNs get no answer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"
        for filler in fillers:
            filler.close()


def test_an_endpoint_that_never_answers_is_told_after_a_few_short_attempts(
    s3: S3Bucket, unroutable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert s3_module._ATTEMPTS * s3_module._CONNECT_TIMEOUT_S < 10
    monkeypatch.setattr(s3_module, "_CONNECT_TIMEOUT_S", 0.2)
    before = time.monotonic()
    with pytest.raises(SourceError, match="check the endpoint and the network"):
        discover(["s3://bucket/a.jsonl"], unroutable)
    boto3_pauses_s = 1 + 2
    assert time.monotonic() - before < s3_module._ATTEMPTS * 0.2 + boto3_pauses_s + 1


def test_a_closed_port_is_told_with_the_endpoint(s3: S3Bucket) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(SourceError, match="Could not connect") as caught:
            stat_source("s3://bucket/a.jsonl", "a.jsonl", endpoint)
    assert endpoint in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [("nonsense", "expected an S3 endpoint"), ("http://", "expected an S3 endpoint")],
)
def test_an_endpoint_that_is_no_url_is_told(s3: S3Bucket, endpoint: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        discover(["s3://bucket/a.jsonl"], endpoint)


USES = [
    pytest.param(lambda uri, at: discover([uri], at), id="discover"),
    pytest.param(lambda uri, at: discover([f"{uri}/*.jsonl"], at), id="discover by a glob"),
    pytest.param(read_object, id="read"),
    pytest.param(lambda uri, at: write_object(uri, b"x", at), id="write"),
    pytest.param(lambda uri, at: list(list_objects(uri, at)), id="list"),
]


@pytest.mark.parametrize("use", USES)
def test_a_missing_bucket_is_told(s3: S3Bucket, use: Callable[[str, str], object]) -> None:
    with pytest.raises(SourceError, match="there is no such bucket"):
        use("s3://no-such-bucket/a", s3.endpoint_url)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        pytest.param("AWS_ACCESS_KEY_ID", "wrong", "the access key is unknown", id="access key"),
        pytest.param("AWS_SECRET_ACCESS_KEY", "wrong", "secret key does not fit", id="secret"),
        pytest.param("AWS_ACCESS_KEY_ID", None, "no AWS credentials|not complete", id="none"),
        pytest.param("AWS_PROFILE", "nobody", "AWS_PROFILE names", id="profile"),
    ],
)
@pytest.mark.parametrize("use", USES)
def test_wrong_credentials_are_told_with_what_to_set(
    s3: S3Bucket,
    monkeypatch: pytest.MonkeyPatch,
    use: Callable[[str, str], object],
    name: str,
    value: str | None,
    message: str,
) -> None:
    if value is None:
        monkeypatch.delenv(name)
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    else:
        monkeypatch.setenv(name, value)
    forget_clients()
    with pytest.raises(SourceError, match=message) as caught:
        use(s3.uri("a"), s3.endpoint_url)
    assert "test-secret-key" not in str(caught.value)


@pytest.mark.parametrize("uri", ["s3://", "s3:///key", "S3://b/k", "bucket/key"])
def test_a_uri_without_a_bucket_is_told(uri: str) -> None:
    with pytest.raises(SourceError, match="expected s3://bucket/key"):
        split_uri(uri)


def test_a_bucket_name_that_cannot_be_is_told(s3: S3Bucket) -> None:
    with pytest.raises(SourceError, match="Invalid bucket name"):
        discover(["s3://Not A Bucket/x"], s3.endpoint_url)


def test_the_endpoint_of_the_environment_is_used(
    s3: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint_url)
    forget_clients()
    uri = s3.put("a.jsonl", b"hello")
    (source,) = discover([uri]).files
    assert source.endpoint_url is None
    with open_source(source) as stream:
        assert stream.read() == b"hello"


def test_threads_share_a_client_and_clients_are_apart_by_endpoint(s3: S3Bucket) -> None:
    assert client_for(s3.endpoint_url) is client_for(s3.endpoint_url)
    assert client_for(s3.endpoint_url) is not client_for("http://127.0.0.1:1")


# --- small objects --------------------------------------------------------------------------------


def test_an_object_is_written_read_and_deleted(s3: S3Bucket) -> None:
    uri = s3.uri("journal/000001")
    assert read_object(uri, s3.endpoint_url) is None
    assert read_object_with_etag(uri, s3.endpoint_url) is None
    etag = write_object(uri, b"one", s3.endpoint_url)
    assert read_object(uri, s3.endpoint_url) == b"one"
    assert read_object_with_etag(uri, s3.endpoint_url) == (b"one", etag)
    delete_object(uri, s3.endpoint_url)
    assert read_object(uri, s3.endpoint_url) is None
    delete_object(uri, s3.endpoint_url)  # once more is no error


def test_a_write_if_none_match_keeps_the_first(s3: S3Bucket) -> None:
    uri = s3.uri("lock")
    write_object(uri, b"mine", s3.endpoint_url, if_none_match=True)
    with pytest.raises(ObjectExists, match="expected none"):
        write_object(uri, b"theirs", s3.endpoint_url, if_none_match=True)
    with pytest.raises(ObjectExists):  # the same content is no licence
        write_object(uri, b"mine", s3.endpoint_url, if_none_match=True)
    assert read_object(uri, s3.endpoint_url) == b"mine"


def test_of_many_writers_if_none_match_one_wins(s3: S3Bucket) -> None:
    won: list[int] = []

    def write(n: int) -> None:
        try:
            write_object(s3.uri("lock"), b"%d" % n, s3.endpoint_url, if_none_match=True)
        except ObjectExists:
            return
        won.append(n)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert read_object(s3.uri("lock"), s3.endpoint_url) == b"%d" % won[0]


def test_a_replace_if_match_needs_the_etag_that_was_read(s3: S3Bucket) -> None:
    uri = s3.uri("manifest")
    first = write_object(uri, b"one", s3.endpoint_url)
    second = write_object(uri, b"two", s3.endpoint_url, if_match=first)
    with pytest.raises(ObjectExists, match=f"expected ETag {first}"):
        write_object(uri, b"three", s3.endpoint_url, if_match=first)
    assert read_object_with_etag(uri, s3.endpoint_url) == (b"two", second)
    delete_object(uri, s3.endpoint_url)
    with pytest.raises(ObjectExists):
        write_object(uri, b"three", s3.endpoint_url, if_match=second)


# --- listing and discovery ------------------------------------------------------------------------


def test_a_listing_of_many_pages_is_complete_and_sorted(s3: S3Bucket) -> None:
    keys = [f"many/{n:04}.jsonl" for n in range(1005)]
    for key in reversed(keys):
        s3.put(key, b"x")
    s3.put("many2/other.jsonl", b"x")
    listed = list(list_objects(s3.uri("many/"), s3.endpoint_url))
    assert [item.uri for item in listed] == [s3.uri(key) for key in keys]
    small = list(list_objects(s3.uri("many/00"), s3.endpoint_url, page_size=7))
    assert [item.uri for item in small] == [s3.uri(key) for key in keys[:100]]
    found = discover([s3.uri("many")], s3.endpoint_url)
    assert [source.uri for source in found.files] == [s3.uri(key) for key in keys]
    assert found.files[0] == stat_source(s3.uri(keys[0]), "0000.jsonl", s3.endpoint_url)


TREE = (
    "d/a.jsonl",
    "d/b.jsonl",
    "d/c.csv",
    "d/_SUCCESS",
    "d/.hidden/x.jsonl",
    "d/sub/e.jsonl",
    "d/sub/deep/f g+ü.jsonl",
    "d2/z.jsonl",
    "top.jsonl",
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("d/a.jsonl", ["a.jsonl"]),
        ("d", ["a.jsonl", "b.jsonl", "c.csv", "sub/deep/f g+ü.jsonl", "sub/e.jsonl"]),
        ("d/", ["a.jsonl", "b.jsonl", "c.csv", "sub/deep/f g+ü.jsonl", "sub/e.jsonl"]),
        ("d/*.jsonl", ["a.jsonl", "b.jsonl"]),
        ("d/[ac].*", ["a.jsonl", "c.csv"]),
        ("d/_*", ["_SUCCESS"]),
        ("d*/?.jsonl", ["d/a.jsonl", "d/b.jsonl", "d2/z.jsonl"]),
        ("d/**/*.jsonl", ["a.jsonl", "b.jsonl", "sub/deep/f g+ü.jsonl", "sub/e.jsonl"]),
        ("*/sub/**", ["d/sub/deep/f g+ü.jsonl", "d/sub/e.jsonl"]),
        ("*.jsonl", ["top.jsonl"]),
    ],
)
def test_keys_prefixes_and_globs(s3: S3Bucket, path: str, expected: list[str]) -> None:
    for key in TREE:
        s3.put(key, key.encode())
    found = discover([s3.uri(path)], s3.endpoint_url)
    assert [source.name for source in found.files] == expected
    assert not found.problems
    for source in found.files:
        with open_source(source) as stream:
            assert stream.read().decode() == source.uri.removeprefix(s3.uri(""))


@pytest.mark.parametrize("form", ["s3://{}", "s3://{}/"])
def test_a_whole_bucket(s3: S3Bucket, form: str) -> None:
    s3.put("a.jsonl", b"a")
    s3.put("d/b.jsonl", b"b")
    found = discover([form.format(s3.bucket)], s3.endpoint_url)
    assert [source.name for source in found.files] == ["a.jsonl", "d/b.jsonl"]


def test_markers_and_hidden_keys_are_skipped_with_a_reason(s3: S3Bucket) -> None:
    for key in ("d/", "d/a.jsonl", "d/_SUCCESS", "d/.git/b.jsonl"):
        s3.put(key, b"")
    found = discover([s3.uri("d/")], s3.endpoint_url)
    assert [source.name for source in found.files] == ["a.jsonl"]
    assert {skipped.uri: skipped.reason.split()[0] for skipped in found.skipped} == {
        s3.uri("d/"): "a",
        s3.uri("d/_SUCCESS"): "hidden:",
        s3.uri("d/.git/b.jsonl"): "hidden:",
    }


def test_a_key_that_exists_wins_over_its_meaning_as_a_glob(s3: S3Bucket) -> None:
    s3.put("a[1].jsonl", b"")
    s3.put("a1.jsonl", b"")
    found = discover([s3.uri("a[1].jsonl")], s3.endpoint_url)
    assert [source.name for source in found.files] == ["a[1].jsonl"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.jsonl", "expected an object with this key"),
        ("missing/", "expected an object with this key"),
        ("*.csv", "the pattern matches no dataset file"),
        ("hidden/", "the folder holds no dataset files"),
    ],
)
def test_what_is_not_there_is_a_problem(s3: S3Bucket, path: str, message: str) -> None:
    s3.put("hidden/_SUCCESS", b"")
    ((uri, problem),) = discover([s3.uri(path)], s3.endpoint_url).problems
    assert (uri, problem.code) == (s3.uri(path), "file.not_found")
    assert message in problem.message


def test_an_object_named_twice_is_taken_once(s3: S3Bucket) -> None:
    uri = s3.put("d/a.jsonl", b"a")
    found = discover([uri, s3.uri("d/"), s3.uri("d/*")], s3.endpoint_url)
    assert [source.name for source in found.files] == ["a.jsonl"]
