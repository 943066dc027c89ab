from __future__ import annotations

import pytest

from ingest.serve import LocalFilesApi
from tests.serve.wire import Wire


@pytest.fixture
def wire(files_api: LocalFilesApi) -> Wire:
    """Single requests to the local Files API."""
    return Wire(files_api)
