"""Publishing as a job on a real cluster: `ray job submit` by hand, and `ingest submit`."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from ingest.serve import Fault, LocalFilesApi
from tests.fixtures.files_api import MIN_PART_SIZE_BYTES
from tests.fixtures.ray_cluster import NODE_API_KEY, RayCluster
from tests.ray_jobs.conftest import (
    MULTIPART,
    SCRIPTS,
    Client,
    Result,
    content,
    make_corpus,
    running_client,
    stored,
)
from tests.ray_jobs.processes import can_hide, hiding, until
from tests.ray_jobs.proxy import cutting_proxy

pytestmark = pytest.mark.ray

_ROOT = Path(__file__).parents[2]


def submit(
    client: Client, cluster: RayCluster, *arguments: str | Path, **environment: str
) -> Result:
    return client.run(*_submit_words(cluster, *arguments), **environment)


def _submit_words(cluster: RayCluster, *arguments: str | Path) -> tuple[str | Path, ...]:
    return (SCRIPTS / "ingest", "submit", "--address", cluster.dashboard, "--", *arguments)


def jobs_of(cluster: RayCluster) -> list[dict[str, Any]]:
    """Oldest first."""
    reply = requests.get(f"{cluster.dashboard}/api/jobs/", headers=cluster.headers, timeout=30)
    return sorted(reply.json(), key=lambda job: job["start_time"])


@pytest.fixture
def working_dir(tmp_path: Path) -> Path:
    """A checkout, as somebody would hand it to Ray: the code and nothing else."""
    folder = tmp_path / "checkout"
    for package in ("ingest", "jobs"):
        shutil.copytree(
            _ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


def test_ray_job_submit_publishes_absolute_paths_and_refuses_relative_ones(
    client: Client,
    ray_cluster: RayCluster,
    files_api: LocalFilesApi,
    corpus: Path,
    working_dir: Path,
    tmp_path: Path,
) -> None:
    manifest = tmp_path / "out.jsonl"
    job = (
        *(SCRIPTS / "ray", "job", "submit", "--address", ray_cluster.dashboard),
        *("--working-dir", working_dir, "--", "python", "-m", "jobs.publish"),
    )
    relative = client.start(*job, "data.jsonl", "--manifest", "out.jsonl")
    absolute = client.start(
        *(*job, corpus, "--manifest", manifest, "--base-url", files_api.base_url, *MULTIPART)
    )
    refused = relative.end()
    assert "data.jsonl: a job runs in a temporary folder" in refused.out
    exit_codes = {str(j["entrypoint"]): j["driver_exit_code"] for j in jobs_of(ray_cluster)}
    assert exit_codes["python -m jobs.publish data.jsonl --manifest out.jsonl"] == 2

    published = absolute.end()
    assert published.code == 0, published.out
    assert "large.jsonl: " in published.out
    assert stored(files_api, manifest) == content(corpus)


@pytest.mark.parametrize(
    "words",
    [
        ("data.jsonl", "--manifest", "/data/out.jsonl"),
        ("/data/data.jsonl", "--manifest", "out.jsonl"),
        ("/data/data.jsonl", "--manifest", "/data/out.jsonl", "--json", "report.json"),
    ],
    ids=["input", "manifest", "report"],
)
def test_a_relative_path_is_refused_before_anything_is_submitted(
    client: Client, words: tuple[str, ...]
) -> None:
    # Nobody answers at this address: it is not asked.
    result = client.run(
        SCRIPTS / "ingest", "submit", "--address", "http://127.0.0.1:1", "--", *words
    )
    assert result.code == 2
    assert len(result.errors) == 1
    assert "give an absolute path" in result.err


def test_what_publish_would_refuse_is_refused_before_it_is_in_a_jobs_command_line(
    client: Client,
) -> None:
    result = client.run(
        *(SCRIPTS / "ingest", "submit", "--address", "http://127.0.0.1:1", "--", "/data/a.jsonl"),
        *("--manifest", "/data/out.jsonl", "--base-url", "https://user:5ec7e7@api.example"),
    )
    assert result.code == 2
    assert "--base-url: a base URL has no user name, password" in result.err
    assert "5ec7e7" not in result.err


@dataclass(frozen=True)
class Submitted:
    """What a submit has left behind that went well."""

    result: Result
    cuts: int
    job: dict[str, Any]
    sent: dict[str, bytes]
    written_on_the_cluster: bytes
    brought_back: bytes
    stored: dict[str, bytes]


@pytest.fixture(scope="module")
def submitted(tmp_path_factory: pytest.TempPathFactory, ray_cluster: RayCluster) -> Submitted:
    """One submit; the stream of its log is cut whenever some of it has passed.

    Where the system allows it, from a machine that does not see the cluster's manifest.
    """
    folder = tmp_path_factory.mktemp("submitted")
    corpus = make_corpus(folder)
    manifest = folder / "manifests" / "out.jsonl"
    manifest.parent.mkdir()
    brought = folder / "brought.jsonl"
    script = f'"$@"; code=$?; cp "$0/out.jsonl" "{brought}"; exit $code'
    there = ("sh", "-c", script, manifest.parent)
    elsewhere = hiding(manifest.parent, script) if can_hide() else there
    with (
        LocalFilesApi(
            folder / "files-api", api_key=NODE_API_KEY, min_part_size_bytes=MIN_PART_SIZE_BYTES
        ) as api,
        cutting_proxy(ray_cluster.dashboard, after_bytes=400) as proxy,
        running_client(folder) as client,
    ):
        result = client.run(
            *(*elsewhere, SCRIPTS / "ingest", "submit", "--address", proxy.url, "--"),
            *(corpus, "--manifest", manifest, "--base-url", api.base_url, *MULTIPART),
            RAY_ADDRESS="127.0.0.1:1",  # not where --address points; the flag counts
        )
        assert result.code == 0, result.err
        return Submitted(
            result,
            proxy.cuts,
            jobs_of(ray_cluster)[-1],
            content(corpus),
            manifest.read_bytes(),
            brought.read_bytes(),
            stored(api, manifest),
        )


def test_submit_publishes_and_brings_the_manifest_back(submitted: Submitted) -> None:
    assert submitted.stored == submitted.sent
    assert submitted.brought_back == submitted.written_on_the_cluster
    assert json.loads(submitted.brought_back.splitlines()[0])["parts"] == 3


def test_a_log_whose_stream_breaks_off_is_shown_once_and_whole(
    submitted: Submitted,
) -> None:
    assert submitted.cuts >= 1
    shown = submitted.result.err
    assert shown.startswith("job raysubmit_")
    assert shown.count("small.jsonl: ") == 1
    assert shown.count("large.jsonl: ") == 1
    assert "::ingest-manifest" not in shown


def test_neither_job_nor_logs_hold_the_key_or_a_signed_url(
    submitted: Submitted, ray_cluster: RayCluster
) -> None:
    told = json.dumps(jobs_of(ray_cluster)) + submitted.result.out + submitted.result.err
    logged = "".join(path.read_text(errors="replace") for path in ray_cluster.logs())
    assert submitted.job["submission_id"] in logged, "these are not the logs of the job"
    assert set(submitted.job["runtime_env"]["env_vars"]) == {
        "INGEST_ECHO_MANIFEST",
        "RAY_JOB_STOP_WAIT_TIME_S",
    }
    for secret in (NODE_API_KEY, "X-Amz-Signature"):
        assert secret not in told
        assert secret not in logged


def test_submit_ends_with_5_for_invalid_data(
    client: Client, ray_cluster: RayCluster, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    (corpus / "bad.jsonl").write_text('{"text": 1}\n')
    manifest = tmp_path / "out.jsonl"
    result = submit(
        client, ray_cluster, corpus, "--manifest", manifest, "--base-url", files_api.base_url
    )
    assert result.code == 5, result.err
    assert "bad.jsonl" in result.err
    assert files_api.files() == []


def test_submit_ends_with_2_for_a_missing_path(client: Client, ray_cluster: RayCluster) -> None:
    result = submit(client, ray_cluster, "/no/such/data", "--manifest", "/no/such/out.jsonl")
    assert result.code == 2, result.err
    assert "/no/such/data" in result.err


def test_submit_ends_with_4_for_a_key_that_the_api_refuses(
    client: Client, ray_cluster: RayCluster, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("not-the-key")
    result = submit(
        *(client, ray_cluster, corpus, "--manifest", tmp_path / "out.jsonl"),
        *("--base-url", files_api.base_url, "--api-key-file", key_file),
    )
    assert result.code == 4, result.err


def test_ctrl_c_stops_the_job_and_the_next_run_goes_on(
    client: Client, ray_cluster: RayCluster, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "out.jsonl"
    arguments = (corpus, "--manifest", manifest, "--base-url", files_api.base_url, *MULTIPART)
    files_api.script(Fault(where="put-part", what="stall", part=2, times=None))
    running = client.start(*_submit_words(ray_cluster, *arguments))
    until(lambda: "small.jsonl: " in running.err, "the small file is told")
    running.process.send_signal(signal.SIGINT)
    until(lambda: running.err.count("ingest: stopping") == 2, "submit and job are stopping")
    files_api.clear_faults()
    stopped = running.end()
    assert stopped.code == 130, stopped.err
    assert "ingest: stopped; 1 of 2 files are published" in stopped.err
    assert jobs_of(ray_cluster)[-1]["status"] == "STOPPED"

    files_api.clear_faults()
    files_api.clear_requests()
    result = client.run(*(SCRIPTS / "ingest", "publish", *arguments), TOGETHER_API_KEY=NODE_API_KEY)
    assert result.code == 0, result.err
    assert stored(files_api, manifest) == content(corpus)
    assert files_api.requests("initiate") == [], "the upload that was open is the one that ends"


@pytest.fixture
def token_clients(client: Client, ray_cluster_with_token: RayCluster) -> dict[str, dict[str, str]]:
    """Environments of a client, by what it has of the cluster's token."""
    token = ray_cluster_with_token.token
    assert token is not None
    return {
        "in the environment": {"RAY_AUTH_TOKEN": token},
        "none": {},
        "another": {"RAY_AUTH_TOKEN": "0" * 64},
    }


def test_submit_publishes_on_a_cluster_that_wants_a_token(
    client: Client,
    ray_cluster_with_token: RayCluster,
    token_clients: dict[str, dict[str, str]],
    files_api: LocalFilesApi,
    corpus: Path,
    tmp_path: Path,
) -> None:
    manifest = tmp_path / "out.jsonl"
    result = submit(
        *(client, ray_cluster_with_token, corpus, "--manifest", manifest),
        *("--base-url", files_api.base_url),
        **token_clients["in the environment"],
    )
    assert result.code == 0, result.err
    assert stored(files_api, manifest) == content(corpus)


def test_submit_finds_the_token_in_the_home(
    client: Client, ray_cluster_with_token: RayCluster
) -> None:
    shutil.copytree(ray_cluster_with_token.folder / ".ray", client.home / ".ray")
    result = submit(client, ray_cluster_with_token, "/no/such/data", "--manifest", "/out.jsonl")
    assert result.code == 2, result.err
    assert "/no/such/data" in result.err


@pytest.mark.parametrize("have", ["none", "another"])
def test_a_client_without_the_token_is_told_where_it_goes(
    client: Client,
    ray_cluster_with_token: RayCluster,
    token_clients: dict[str, dict[str, str]],
    have: str,
) -> None:
    arguments = ("/data", "--manifest", "/out.jsonl")
    result = submit(client, ray_cluster_with_token, *arguments, **token_clients[have])
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert "RAY_AUTH_TOKEN" in result.err


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1", "http://no-such-host.invalid:8265", "127.0.0.1:8265"]
)
def test_an_address_without_a_dashboard_is_one_line(client: Client, address: str) -> None:
    result = client.run(
        *(SCRIPTS / "ingest", "submit", "--address", address),
        *("--", "/data", "--manifest", "/out.jsonl"),
    )
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert "http://HOST:8265" in result.err
