"""Fixtures for all tests: real parts, and an environment without the developer's own settings."""

from __future__ import annotations

import os

import pytest

pytest_plugins = [
    "tests.fixtures.files_api",
    "tests.fixtures.raw_http",
    "tests.fixtures.ray_cluster",
    "tests.fixtures.s3",
    "tests.fixtures.vendors",
]

_FOREIGN = ("TOGETHER_", "AWS_", "RAY_", "INGEST_")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget whatever key, endpoint or cluster the developer's shell points at."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
