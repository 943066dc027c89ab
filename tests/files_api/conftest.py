from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from ingest.files_api import FilesApi
from ingest.serve import LocalFilesApi
from tests.fixtures.files_api import API_KEY


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Nobody waits between attempts; what servers wished for is noted here."""
    wishes: list[float | None] = []

    def no_wait(attempt: int, wish_s: float | None = None) -> float:
        wishes.append(wish_s)
        return 0.0

    monkeypatch.setattr("ingest.files_api.client.backoff_s", no_wait)
    return wishes


@pytest.fixture
def client(files_api: LocalFilesApi, waits: list[float | None]) -> Iterator[FilesApi]:
    """A client of the local Files API that does not wait between attempts."""
    client = FilesApi(files_api.base_url, SecretStr(API_KEY))
    yield client
    client.close()
