"""The Ray engine: clusters that are not there, nodes and actors that are lost, embedded Ray."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import requests

from ingest.serve import Fault, LocalFilesApi
from tests.fixtures.ray_cluster import NODE_API_KEY, RayCluster
from tests.ray_jobs.conftest import MULTIPART, SCRIPTS, Client, content, stored
from tests.ray_jobs.processes import can_hide, hiding, living, until

pytestmark = pytest.mark.ray


def publish_words(api: LocalFilesApi, corpus: Path, manifest: Path) -> tuple[str | Path, ...]:
    return (
        *(SCRIPTS / "ingest", "publish", corpus, "--manifest", manifest, "--engine", "ray"),
        *("--base-url", api.base_url, *MULTIPART),
    )


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:1", "no-such-host.invalid:6379", "ray://127.0.0.1:10001", "http://127.0.0.1:8265"],
)
def test_an_address_without_a_cluster_is_one_line(
    client: Client, corpus: Path, address: str
) -> None:
    result = client.run(SCRIPTS / "ingest", "check", corpus, "--address", address)
    assert result.code == 2
    assert result.err.startswith(f"ingest: --address {address}: ")
    assert result.err.count("\n") == 1


def test_the_dashboards_port_is_not_the_clusters(
    client: Client, ray_cluster: RayCluster, corpus: Path
) -> None:
    address = ray_cluster.dashboard.removeprefix("http://")
    result = client.run(SCRIPTS / "ingest", "check", corpus, "--address", address)
    assert result.code == 2
    assert "not the dashboard's" in result.err
    assert result.err.count("\n") == 1


def test_a_check_joins_a_cluster_that_wants_a_token(
    client: Client, ray_cluster_with_token: RayCluster, corpus: Path
) -> None:
    """The token alone is enough: the mode that Ray wants with it is found out."""
    assert ray_cluster_with_token.token is not None
    words = (SCRIPTS / "ingest", "check", corpus, "--address", ray_cluster_with_token.address)
    refused = client.run(*words)
    assert refused.code == 2
    assert "wants a token and there is none here" in refused.err
    assert refused.err.count("\n") == 1

    result = client.run(*words, RAY_AUTH_TOKEN=ray_cluster_with_token.token)
    assert result.code == 0, result.err
    assert "2 files valid" in result.out


def test_nodes_that_do_not_see_the_drivers_files_are_told_before_any_work(
    client: Client, ray_cluster: RayCluster, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    if not can_hide():
        pytest.skip("this system lets nobody have mounts of his own")
    words = publish_words(files_api, corpus, tmp_path / "out.jsonl")
    words = (*words, "--address", ray_cluster.address)
    with ray_cluster.second_node(*hiding(corpus)):
        result = client.run(*words, TOGETHER_API_KEY=NODE_API_KEY)
    assert result.code == 2, result.err
    assert "of the cluster does not see it as the driver does" in result.errors[-1]
    assert "Traceback" not in result.err
    assert files_api.files() == []


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(where="put-part", what="stall", at="middle", part=2), id="as it sends"),
        pytest.param(Fault(where="put-part", what="stall_reply", part=2), id="after its PUT"),
    ],
)
def test_an_actor_that_is_killed_costs_nothing_but_time(
    client: Client,
    ray_cluster: RayCluster,
    files_api: LocalFilesApi,
    corpus: Path,
    tmp_path: Path,
    fault: Fault,
) -> None:
    manifest = tmp_path / "out.jsonl"
    files_api.script(fault)
    running = client.start(
        *publish_words(files_api, corpus, manifest),
        *("--address", ray_cluster.address),
        TOGETHER_API_KEY=NODE_API_KEY,
    )
    until(lambda: any(s.fault for s in files_api.requests("put-part")), "part 2 is stalled")
    for pid in _actors_alive(ray_cluster):
        os.kill(pid, signal.SIGKILL)
    result = running.end()
    assert result.code == 0, result.err
    assert stored(files_api, manifest) == content(corpus)
    assert len(files_api.requests("initiate")) == 1


def _actors_alive(cluster: RayCluster) -> list[int]:
    reply = requests.get(
        f"{cluster.dashboard}/api/v0/actors", params={"detail": "true"}, timeout=30
    )
    actors = reply.json()["data"]["result"]["result"]
    return [
        actor["pid"]
        for actor in actors
        if actor["class_name"] == "_Sender" and actor["state"] == "ALIVE"
    ]


def test_ctrl_c_reaches_embedded_ray_too_and_the_next_run_goes_on(
    client: Client, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    """Ctrl-C goes to the whole process group; what was sent is in the journal all the same."""
    manifest = tmp_path / "out.jsonl"
    words = publish_words(files_api, corpus, manifest)
    files_api.script(Fault(where="put-part", what="stall", part=2, times=None))
    running = client.start(*words, TOGETHER_API_KEY=NODE_API_KEY)
    until(lambda: _parts_there(files_api) == [1, 3], "the other parts are sent")
    until(lambda: any(s.fault for s in files_api.requests("put-part")), "part 2 is stalled")
    os.killpg(running.group, signal.SIGINT)
    until(lambda: "ingest: stopping" in running.err, "it is stopping")
    files_api.clear_faults()
    stopped = running.end()
    assert stopped.code == 130, stopped.err
    assert "Traceback" not in stopped.err
    until(lambda: not living(running.group), "Ray has ended", timeout_s=10)

    assert list(client.home.rglob("*")) == [], "embedded Ray leaves the home as it was"

    files_api.clear_requests()
    result = client.run(*words, "--engine", "local", TOGETHER_API_KEY=NODE_API_KEY)
    assert result.code == 0, result.err
    assert stored(files_api, manifest) == content(corpus)
    assert _parts_there(files_api) == [2]


def _parts_there(api: LocalFilesApi) -> list[int | None]:
    return sorted(s.part or 0 for s in api.requests("put-part") if s.status == 200)


def test_embedded_ray_ends_by_itself_when_its_driver_is_killed(
    client: Client, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    words = publish_words(files_api, corpus, tmp_path / "out.jsonl")
    files_api.script(Fault(where="put-part", what="stall", part=2, times=None))
    running = client.start(*words, TOGETHER_API_KEY=NODE_API_KEY)
    until(lambda: any(s.fault for s in files_api.requests("put-part")), "part 2 is stalled")
    assert any("raylet" in command for command in living(running.group))
    running.process.kill()
    # Two agents wait a minute for their cluster before they give up; they do nothing else.
    until(
        lambda: all("Agent" in command for command in living(running.group)),
        "whatever works has ended",
        timeout_s=10,
    )


_NOTEBOOK = """
import os, sys, warnings
warnings.simplefilter("error", ResourceWarning)
import ray
from ingest.settings import PublishSettings
from jobs.publish import publish

corpus, manifest, base_url, cluster = sys.argv[1:]
settings = PublishSettings(inputs=[corpus], manifest=manifest, base_url=base_url, engine="ray")
first = publish(settings)
assert not ray.is_initialized(), "what was started for the run ends with it"

os.remove(manifest)
del os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"]  # Ray and we set them
ray.init(cluster, log_to_driver=False)
again = publish(settings)
assert ray.is_initialized(), "what was there before is there after"
assert [e.file_id for e in first.sorted()] == [e.file_id for e in again.sorted()]
print([e.name for e in again.sorted()])
"""


def test_a_notebook_publishes_with_ray_imported_and_with_ray_started(
    client: Client, ray_cluster: RayCluster, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    result = client.run(
        *(SCRIPTS / "python", "-c", _NOTEBOOK, corpus, tmp_path / "out.jsonl"),
        *(files_api.base_url, ray_cluster.address),
        TOGETHER_API_KEY=NODE_API_KEY,
    )
    assert result.code == 0, result.err
    assert result.out == "['large.jsonl', 'small.jsonl']\n"
    assert list(client.home.rglob("*")) == []
