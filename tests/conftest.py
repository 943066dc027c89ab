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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file, and all that need a Ray cluster, in one process of xdist."""
    for item in items:
        ray = item.get_closest_marker("ray") is not None
        item.add_marker(pytest.mark.xdist_group("ray" if ray else item.nodeid.split("::")[0]))
