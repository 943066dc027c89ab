"""The server in the foreground, as ``ingest serve`` runs it: a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from pydantic import ValidationError

from ingest.serve import ServeSettings
from tests.serve.wire import jsonl, put

PROGRAM = """
import sys
from pathlib import Path
from ingest.serve import ServeSettings, run

if __name__ == "__main__":
    run(ServeSettings(data_dir=Path(sys.argv[1]), port=int(sys.argv[2])))
"""
KEY = {"Authorization": "Bearer from-the-environment"}


@contextlib.contextmanager
def serving(data_dir: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, data_dir, str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TOGETHER_API_KEY": "from-the-environment"},
    )
    with process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_line_is_the_base_url_and_a_signal_stops_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    with serving(tmp_path) as (process, base_url):
        assert requests.get(f"{base_url}/files", headers=KEY, timeout=10).json()["data"] == []
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)

    assert base_url.startswith("http://127.0.0.1:")
    assert base_url.endswith("/v1")
    assert (process.returncode, errors) == (0, "")


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    data = jsonl(10)
    form = {"purpose": "fine-tune", "file_name": "a.jsonl", "file_type": "jsonl"}
    with serving(tmp_path) as (process, base_url):
        created = requests.post(
            f"{base_url}/files", data=form, headers=KEY, allow_redirects=False, timeout=10
        )
        put(created.headers["Location"], data)
        file_id = created.headers["X-Together-File-Id"]
        requests.post(f"{base_url}/files/{file_id}/preprocess", headers=KEY, timeout=10)
        process.send_signal(signal.SIGKILL)
        process.wait()

    with serving(tmp_path) as (_, base_url):
        content = requests.get(f"{base_url}/files/{file_id}/content", headers=KEY, timeout=10)

    assert content.content == data


def test_the_key_is_the_one_given_else_that_of_the_environment_else_a_known_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(**given: str) -> str:
        return ServeSettings(data_dir=tmp_path, **given).api_key.get_secret_value()

    assert key() == "local-key"
    monkeypatch.setenv("TOGETHER_API_KEY", "mine")
    assert key() == "mine"
    assert key(api_key="given") == "given"


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"host": "0.0.0.0"}, "needs a key of its own"),
        ({"host": "example.com"}, "needs a key of its own"),
        ({"api_key": " "}, "the API key is empty"),
        ({"storage": "gs://bucket"}, "expected s3://bucket"),
        ({"storage": "s3:///prefix"}, "expected s3://bucket"),
        ({"url_expiry_s": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    tmp_path: Path, settings: dict[str, str], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        ServeSettings.model_validate({"data_dir": tmp_path, **settings})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_the_known_key_is_enough_on_the_loopback_interface(tmp_path: Path, host: str) -> None:
    assert ServeSettings(data_dir=tmp_path, host=host).host == host
