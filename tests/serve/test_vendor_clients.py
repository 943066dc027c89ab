"""The vendor's own clients, unmodified but for the base URL, against the local Files API.

Their multipart threshold (5 GiB) and part size (250 MiB) are constants; `vendor_driver` lowers
those, and only those, so that a multipart upload moves about a megabyte.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest.serve import LocalFilesApi
from tests.fixtures.vendors import VENDOR_VERSIONS

pytestmark = pytest.mark.vendor

_DRIVER = Path(__file__).with_name("vendor_driver.py")
_LINES = b"".join(b'{"text": "record %d of a dataset"}\n' % number for number in range(25_000))


@pytest.fixture(params=VENDOR_VERSIONS)
def use_client(
    request: pytest.FixtureRequest,
    vendor_python: Callable[[str], Path],
    files_api: LocalFilesApi,
    tmp_path: Path,
) -> Callable[..., dict[str, Any]]:
    """Runs the driver on a file; the 3.x client wants its base URL without ``/v1``."""
    version: str = request.param
    base_url = files_api.origin if version.startswith("3.") else files_api.base_url
    path = tmp_path / "dataset.jsonl"
    path.write_bytes(_LINES)

    def use(*arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [vendor_python(version), _DRIVER, base_url, files_api.api_key, path, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        answer["knows_checksums"] = not version.startswith("1.")
        return answer

    return use


def test_a_single_upload_by_the_vendors_client_stores_its_bytes(
    files_api: LocalFilesApi, use_client: Callable[..., dict[str, Any]]
) -> None:
    answer = use_client()

    assert files_api.stored_bytes(answer["uploaded"]["id"]) == _LINES
    assert files_api.requests("initiate") == []


def test_a_multipart_upload_by_the_vendors_client_stores_its_bytes(
    files_api: LocalFilesApi, use_client: Callable[..., dict[str, Any]]
) -> None:
    answer = use_client(str(200 * 2**10))

    assert files_api.stored_bytes(answer["uploaded"]["id"]) == _LINES
    parts = {seen.part for seen in files_api.requests("put-part", "dataset.jsonl")}
    assert parts == set(range(1, -(-len(_LINES) // (200 * 2**10)) + 1))


@pytest.mark.parametrize("part_size", [(), ("204800",)], ids=["single", "multipart"])
def test_the_vendors_client_understands_every_other_call(
    files_api: LocalFilesApi,
    use_client: Callable[..., dict[str, Any]],
    part_size: tuple[str, ...],
) -> None:
    answer = use_client(*part_size)

    file_id = answer["uploaded"]["id"]
    assert answer["uploaded"]["bytes"] == len(_LINES)
    assert answer["uploaded"]["filename"] == "dataset.jsonl"
    assert answer["retrieved"]["id"] == file_id
    assert file_id in answer["listed"]
    assert Path(answer["content"]).read_bytes() == _LINES
    assert answer["deleted"]["deleted"] is True
    assert (answer["again"]["id"] == file_id) is answer["knows_checksums"]
