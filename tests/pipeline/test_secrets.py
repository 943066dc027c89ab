"""The key and the presigned URLs: in no output, no manifest, and no message, whatever happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.serve import Fault, LocalFilesApi
from tests.fixtures.raw_http import RawServer, reply
from tests.pipeline.conftest import MULTIPART, Ingest, jsonl

KEY = "sk-0123456789-very-secret"
PUBLISH = ("publish", "data", "--manifest", "out.jsonl", *MULTIPART)
FAULTS = {
    "all is well": [],
    "a part is refused": [Fault(where="put-part", what="status", status=403, part=2)],
    "a body is refused": [Fault(where="put", what="status", status=400)],
    "a connection breaks": [Fault(where="put-part", what="reset", times=3)],
    "a body is sent to another place": [
        Fault(where="put", what="redirect", location="http://127.0.0.1:1/x?X-Amz-Signature=1f")
    ],
    "the part list is short": [Fault(where="initiate", what="few_parts")],
    "the ids make no sense": [Fault(where="any", what="other_id", times=None)],
    "the reply is garbled": [Fault(where="initiate", what="truncated_reply", times=2)],
    "the API refuses the key half way": [Fault(where="complete", what="status", status=401)],
}


@pytest.fixture
def secretive(
    ingest: Ingest, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> LocalFilesApi:
    """A Files API with a key that can be searched for."""
    monkeypatch.setenv("TOGETHER_API_KEY", KEY)
    monkeypatch.setenv("INGEST_DEBUG", "1")
    (data / "small.jsonl").write_bytes(jsonl(3_000))
    (data / "large.jsonl").write_bytes(jsonl(200_000))
    return LocalFilesApi(tmp_path / "secretive", api_key=KEY, min_part_size_bytes=64 * 2**10)


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_no_secret_is_shown(
    ingest: Ingest, secretive: LocalFilesApi, tmp_path: Path, faults: list[Fault]
) -> None:
    with secretive as api:
        api.script(*faults)
        words = [*PUBLISH, "--base-url", api.base_url]

        results = [
            ingest(*words, "--part-timeout", "5"),
            ingest("status", "out.jsonl", "--json"),
            ingest("verify", "out.jsonl", "--deep"),
            ingest("abort", "out.jsonl"),
        ]

    shown = "".join(result.out + result.err for result in results)
    shown += (tmp_path / "out.jsonl").read_text()
    assert "small.jsonl" in shown
    for secret in (KEY, "X-Amz-Signature", "X-Amz-Credential"):
        assert secret not in shown
    assert "Traceback" not in shown


def test_a_store_on_another_host_is_sent_the_data_and_never_the_key(
    ingest: Ingest, secretive: LocalFilesApi, tmp_path: Path
) -> None:
    """Both ways there: the API names it, and the store that the API names sends us on."""
    with secretive as api, RawServer(lambda _: reply(200)) as other:
        there = f"http://localhost:{other.port}/k"
        api.script(
            Fault(where="create", what="reply_headers", headers={"Location": f"{there}?named=1"}),
            Fault(where="put-part", what="redirect", location=f"{there}?moved=1", part=1),
        )
        ingest(*PUBLISH, "--base-url", api.base_url)

    targets = {request.target for request in other.requests}
    assert {"/k?named=1", "/k?moved=1"} <= targets
    for request in other.requests:
        assert request.method == "PUT"
        assert "authorization" not in request.headers
        assert KEY not in f"{request.target} {request.headers} {request.body!r}"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[RawServer]:
    """Sees whatever is asked of another machine, and lets nothing through."""
    with RawServer(lambda _: reply(403)) as server:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, server.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")  # for the test's own calls
        yield server


@pytest.mark.parametrize("command", ["verify", "abort"])
@pytest.mark.parametrize(
    ("named", "words", "says"),
    [
        pytest.param("https://evil.example/v1", (), "say so with --base-url", id="another host"),
        pytest.param("https://api.together.ai.evil.example/v1", (), "say so with", id="like ours"),
        pytest.param("https://api.together.ai@evil.example/v1", (), "cannot be one", id="user"),
        pytest.param("https://api.together.ai:444/v1", (), "say so with", id="another port"),
        pytest.param("https://evil.example/v1/../x", (), "cannot be one", id="path"),
        pytest.param("http://api.together.ai/v1", (), "plain http would show", id="plain http"),
        pytest.param(
            "http://api.example/v1",
            ("--base-url", "http://api.example"),
            "plain http would show",
            id="plain http that was named",
        ),
        pytest.param("file:///etc/passwd", (), "cannot be one", id="no http"),
    ],
)
def test_the_key_does_not_go_wherever_a_file_says(
    ingest: Ingest,
    files_api: LocalFilesApi,
    proxy: RawServer,
    data: Path,
    tmp_path: Path,
    command: str,
    named: str,
    words: tuple[str, ...],
    says: str,
) -> None:
    leave_open(ingest, files_api, data, tmp_path, named)

    result = ingest(command, "out.jsonl", *words)

    assert (result.code, result.out) == (2, "")
    assert says in result.errors[0]
    assert proxy.requests == []


@pytest.mark.parametrize("command", ["verify", "abort"])
@pytest.mark.parametrize(
    ("named", "words", "target"),
    [
        ("https://api.together.ai/v1", (), "api.together.ai:443"),
        ("https://api.together.xyz/v1", (), "api.together.xyz:443"),
        ("https://gateway.example/v1", ("--base-url", "https://gateway.example"), None),
        (
            "http://gateway.example/v1",
            ("--base-url", "http://gateway.example", "--insecure"),
            "http://gateway.example/v1/files/",
        ),
    ],
)
def test_the_key_goes_to_the_vendor_and_where_the_user_says(
    ingest: Ingest,
    files_api: LocalFilesApi,
    proxy: RawServer,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    named: str,
    words: tuple[str, ...],
    target: str | None,
) -> None:
    monkeypatch.setattr("ingest.files_api.client.backoff_s", lambda *_: 0.0)
    leave_open(ingest, files_api, data, tmp_path, named)

    assert ingest(command, "out.jsonl", *words).code != 2

    assert proxy.requests
    assert proxy.requests[0].target.startswith(target or "gateway.example:443")


def leave_open(ingest: Ingest, api: LocalFilesApi, data: Path, folder: Path, named: str) -> None:
    """A manifest and a journal with an open upload, which name this API."""
    (data / "small.jsonl").write_bytes(jsonl(3_000))
    (data / "large.jsonl").write_bytes(jsonl(200_000))
    api.script(Fault(where="complete", what="status", status=401))
    assert ingest(*PUBLISH).code == 4
    for name in ("out.jsonl", "out.jsonl.journal"):
        text = (folder / name).read_text()
        assert api.base_url in text
        (folder / name).write_text(text.replace(api.base_url, named))
    api.clear_faults()


def test_a_password_in_a_base_url_is_not_shown(ingest: Ingest, data: Path) -> None:
    (data / "small.jsonl").write_bytes(jsonl(3_000))

    result = ingest(*PUBLISH, "--base-url", "https://user:5ec7e7@api.example")

    assert result.code == 2
    assert "a base URL has no user name, password" in result.err
    assert "5ec7e7" not in result.err


@pytest.mark.parametrize("command", ["publish", "plan"])
def test_https_is_demanded_of_another_machine(
    ingest: Ingest, proxy: RawServer, data: Path, command: str
) -> None:
    (data / "small.jsonl").write_bytes(jsonl(3_000))

    result = ingest(command, *PUBLISH[1:], "--base-url", "http://api.example")

    assert result.code == 2
    assert "plain http would show the key to the network" in result.errors[0]
    assert proxy.requests == []


def test_the_key_can_lie_in_a_file(
    ingest: Ingest, secretive: LocalFilesApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOGETHER_API_KEY")
    (tmp_path / "key").write_text(f"{KEY}\n")
    with secretive as api:
        words = ("--base-url", api.base_url, "--api-key-file", "key")

        assert ingest(*PUBLISH, *words).code == 0
        assert ingest("verify", "out.jsonl", "--api-key-file", "key").code == 0

    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert all(json.loads(line)["file_id"] for line in lines)
