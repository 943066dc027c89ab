"""A publish with every logger at DEBUG, and all that Ray, the system and we show of it.

The driver's key is not the nodes' here, so that whoever has it got it from the driver.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from ingest.serve import Fault, LocalFilesApi
from tests.fixtures.files_api import MIN_PART_SIZE_BYTES
from tests.fixtures.ray_cluster import RayCluster
from tests.ray_jobs.conftest import MULTIPART, SCRIPTS, Client, jsonl
from tests.ray_jobs.processes import until

KEY = "key-of-the-driver-9b2e"
SIGNATURE = "X-Amz-Signature"
SECRETS = (KEY, SIGNATURE, "X-Amz-Credential")
DEBUG = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
for name in ("urllib3", "botocore", "ray", "asyncio", "aiohttp", "rich"):
    logging.getLogger(name).setLevel(logging.DEBUG)
from jobs.cli import main
main(sys.argv[1:])
"""


@dataclass(frozen=True)
class Process:
    """What the system shows of a process."""

    pid: int
    command: str
    environment: str


def processes() -> list[Process]:
    """Those that this user may look at."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            shown = [(folder / name).read_bytes() for name in ("cmdline", "environ")]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        command, environment = (text.replace(b"\0", b"\n").decode("latin-1") for text in shown)
        found.append(Process(int(folder.name), command, environment))
    return found


def assert_no_secret_in_processes(driver: int) -> None:
    seen = processes()
    (own,) = [process for process in seen if process.pid == driver]
    assert KEY in own.environment, "this is where it came from"
    for process in seen:
        for secret in SECRETS:
            assert secret not in process.command, process.command
        assert KEY not in process.environment or process.pid == driver, process.command


def assert_no_secret(where: str, text: str) -> None:
    for secret in SECRETS:
        assert secret not in text, f"{where} holds {secret}"


def assert_no_secret_below(folder: Path) -> int:
    """Look through every file; how many there were."""
    files = [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and "working_dir_files" not in path.parts  # our own code, shipped by another test's job
    ]
    for path in files:
        content = path.read_bytes()
        for secret in SECRETS:
            assert secret.encode() not in content, f"{path} holds {secret}"
    return len(files)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[LocalFilesApi]:
    with LocalFilesApi(
        tmp_path / "files-api", api_key=KEY, min_part_size_bytes=MIN_PART_SIZE_BYTES
    ) as api:
        yield api
        api.clear_faults()


@pytest.fixture
def words(tmp_path: Path, corpus: Path, api: LocalFilesApi) -> tuple[str | Path, ...]:
    """A publish of which one file is refused by the store and one waits in its middle."""
    (corpus / "refused.jsonl").write_bytes(jsonl(150_000))
    api.script(
        Fault(where="put-part", what="status", status=403, name="refused.jsonl", times=None),
        Fault(where="put-part", what="status", status=503, name="large.jsonl", part=1),
        Fault(where="put-part", what="stall", at="middle", name="large.jsonl", part=2),
    )
    return (
        *(SCRIPTS / "python", "-c", DEBUG, "publish", corpus),
        *("--manifest", tmp_path / "out.jsonl", "--base-url", api.base_url, *MULTIPART),
    )


def holding(api: LocalFilesApi) -> bool:
    return any(seen.fault == "stall" for seen in api.requests("put-part"))


def assert_no_secret_was_left(client: Client, result: Any, folder: Path) -> None:
    """After the run: in its output and in its manifest."""
    assert result.code == 3, result.err
    assert "refused.jsonl: failed: refused.jsonl part " in result.err
    assert "DEBUG:urllib3.connectionpool:" in result.err, "the loggers are at DEBUG"
    assert_no_secret("stdout", result.out)
    assert_no_secret("stderr", result.err)
    manifest = (folder / "out.jsonl").read_text()
    assert "refused.jsonl" in manifest
    assert_no_secret("the manifest", manifest)
    assert_no_secret_below(client.home)


def test_nothing_secret_is_shown_by_a_run_on_this_machine(
    client: Client, api: LocalFilesApi, words: tuple[str | Path, ...], tmp_path: Path
) -> None:
    running = client.start(
        *words, "--engine", "local", TOGETHER_API_KEY=KEY, INGEST_DEBUG="1", PYTHONDEVMODE="1"
    )
    until(lambda: holding(api), "a part is in flight")
    assert SIGNATURE in (tmp_path / "out.jsonl.journal").read_text(), "there is one to be shown"
    seen = processes()
    assert running.process.pid in {process.pid for process in seen}
    for process in seen:
        assert_no_secret("a command line", process.command)
    api.clear_faults()

    assert_no_secret_was_left(client, running.end(), tmp_path)


def state(cluster: RayCluster, resource: str) -> list[dict[str, Any]]:
    """What `ray list RESOURCE --detail` asks for."""
    reply = requests.get(
        f"{cluster.dashboard}/api/v0/{resource}",
        params={"detail": "true", "limit": "10000"},
        headers=cluster.headers,
        timeout=30,
    )
    listed: list[dict[str, Any]] = reply.json()["data"]["result"]["result"]
    return listed


def sending(cluster: RayCluster) -> list[dict[str, Any]]:
    """The bodies that are on their way."""
    tasks = state(cluster, "tasks")
    return [t for t in tasks if (t["name"], t["state"]) == ("_Sender.put", "RUNNING")]


@pytest.mark.ray
def test_nothing_secret_is_shown_by_a_run_on_a_cluster_whose_actors_crash(
    client: Client,
    ray_cluster: RayCluster,
    api: LocalFilesApi,
    words: tuple[str | Path, ...],
    tmp_path: Path,
) -> None:
    running = client.start(
        *(*words, "--engine", "ray", "--address", ray_cluster.address),
        TOGETHER_API_KEY=KEY,
        INGEST_DEBUG="1",
        RAY_BACKEND_LOG_LEVEL="debug",
    )
    until(lambda: holding(api), "a part is in flight")
    assert_no_secret_in_processes(running.process.pid)
    told: list[dict[str, Any]] = []
    until(lambda: told.extend(sending(ray_cluster)) or told, "the state API tells of a part")
    live = {resource: state(ray_cluster, resource) for resource in ("tasks", "objects", "workers")}
    job_id = told[0]["job_id"]
    for actor in state(ray_cluster, "actors"):
        if actor["class_name"] == "_Sender" and actor["state"] == "ALIVE":
            os.kill(actor["pid"], signal.SIGKILL)
    assert_no_secret_was_left(client, running.end(), tmp_path)

    def told_of_the_crash() -> bool:
        tasks = [task for task in state(ray_cluster, "tasks") if task["job_id"] == job_id]
        return any(task["name"] == "_Sender.put" and task["error_message"] for task in tasks)

    until(told_of_the_crash, "the state API tells of the task that died")
    for resource in ("tasks", "actors", "objects", "workers", "jobs", "runtime_envs"):
        listed = state(ray_cluster, resource)
        assert_no_secret(f"ray list {resource}", json.dumps([listed, live.get(resource)]))
    reply = requests.get(f"{ray_cluster.dashboard}/api/jobs/", timeout=30)
    assert_no_secret("ray job list", reply.text)
    shown = client.run(
        *(SCRIPTS / "ray", "list", "tasks", "--detail", "--limit", "1000"),
        *("--address", ray_cluster.dashboard),
    )
    assert "_Sender.put" in shown.out
    assert_no_secret("ray list tasks --detail", shown.out)
    assert assert_no_secret_below(ray_cluster.folder / "ray") > 10


@pytest.mark.ray
def test_the_ray_that_is_started_for_a_run_knows_no_key(
    client: Client, api: LocalFilesApi, words: tuple[str | Path, ...], tmp_path: Path
) -> None:
    # A short path: Unix sockets lie in it, and their names are limited.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    try:
        running = client.start(
            *(*words, "--engine", "ray"),
            TOGETHER_API_KEY=KEY,
            INGEST_DEBUG="1",
            RAY_BACKEND_LOG_LEVEL="debug",
            RAY_TMPDIR=str(folder),
        )
        until(lambda: holding(api), "a part is in flight")
        assert any("ray::_Sender" in process.command for process in processes())
        assert_no_secret_in_processes(running.process.pid)
        api.clear_faults()
        assert_no_secret_was_left(client, running.end(), tmp_path)
        assert assert_no_secret_below(folder) > 10
    finally:
        shutil.rmtree(folder, ignore_errors=True)
