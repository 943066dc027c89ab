from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from ingest.files import Segment
from ingest.files_api import FilesApi
from ingest.serve import LocalFilesApi
from ingest.sources import stat_source
from tests.fixtures.files_api import API_KEY

SegmentOf = Callable[[bytes], tuple[Segment, ...]]


@pytest.fixture
def segment_of(tmp_path: Path) -> SegmentOf:
    """Writes bytes to a file of their own, ``source``, and gives its one segment."""

    def make(data: bytes) -> tuple[Segment, ...]:
        path = tmp_path / "source"
        path.write_bytes(data)
        return (Segment(stat_source(str(path), "a.jsonl"), 0, len(data)),)

    return make


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between attempts."""
    for module in ("files_api.client", "upload", "bodies", "throttle"):
        monkeypatch.setattr(f"ingest.{module}.backoff_s", lambda _attempt, _wish_s=None: 0.0)


@pytest.fixture
def client(files_api: LocalFilesApi) -> Iterator[FilesApi]:
    client = FilesApi(files_api.base_url, SecretStr(API_KEY))
    yield client
    client.close()
