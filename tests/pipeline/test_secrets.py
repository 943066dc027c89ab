"""The key and the presigned URLs: in no output, no manifest, and no message, whatever happens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingest.serve import Fault, LocalFilesApi
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
