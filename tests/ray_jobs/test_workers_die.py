"""What a run does when the cluster under it breaks: nodes, the head, the object store.

An actor that is killed is in ``test_engine``. Random kills on Ray are in the drill.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.serve import Fault, LocalFilesApi
from ingest.serve.calls import Seen
from tests.drill.aftermath import Witness
from tests.fixtures.ray_cluster import NODE_API_KEY, RayCluster, running_cluster
from tests.ray_jobs.conftest import MULTIPART, SCRIPTS, Client, Running, content
from tests.ray_jobs.processes import raylet_of, started_with, title_of, until, workers_of

pytestmark = pytest.mark.ray

VALIDATING = "ray::_validate"
SENDING = "ray::_Sender.put"
SLOW_TO_READ = 3_000  # lines that the exact rules have to look at, one by one: some 0.2 s


class Publish:
    """One publish command of a test, its runs, and the witness of what they leave."""

    def __init__(self, client: Client, api: LocalFilesApi, corpus: Path, manifest: Path) -> None:
        self.witness = Witness(api, manifest, content(corpus))
        self._client = client
        self._words = (
            *(SCRIPTS / "ingest", "publish", corpus, "--manifest", manifest),
            *("--base-url", api.base_url, *MULTIPART),
        )

    def start(self, *options: str, **environment: str) -> Running:
        return self._client.start(
            *self._words, *options, TOGETHER_API_KEY=NODE_API_KEY, **environment
        )

    def assert_ends_right(self, running: Running) -> list[Seen]:
        """It ends with 0 and with everything there; what it asked of the server."""
        result = running.end()
        assert result.code == 0, result.err
        assert [line.count("\t") for line in result.out.splitlines()] == [2] * len(
            self.witness.corpus
        ), f"stdout is for results alone: {result.out}"
        seen = self.witness.ended(result.err, lost_workers=True)
        self.witness.assert_finished()
        return seen


@pytest.fixture
def publish(client: Client, files_api: LocalFilesApi, corpus: Path, tmp_path: Path) -> Publish:
    return Publish(client, files_api, corpus, tmp_path / "out.jsonl")


def stalled(api: LocalFilesApi) -> int:
    return sum(seen.fault == "stall" for seen in api.requests("put-part"))


def test_the_parts_of_a_node_that_is_killed_while_it_sends_go_elsewhere(
    publish: Publish, ray_cluster: RayCluster, files_api: LocalFilesApi
) -> None:
    files_api.script(Fault(where="put-part", what="stall", at="middle", times=None))
    with ray_cluster.second_node(cpus=2) as group:
        raylet = raylet_of(group)
        running = publish.start("--engine", "ray", "--address", ray_cluster.address)
        until(
            lambda: stalled(files_api) == 3 and workers_of(raylet, SENDING),
            "all parts are being sent, some of them from the second node",
        )
        actors = workers_of(raylet, SENDING)

        os.kill(raylet, signal.SIGKILL)

        until(lambda: not any(map(title_of, actors)), "its actors have ended with it")
        files_api.clear_faults()  # cuts what the other node sends, too: it is sent again
        publish.assert_ends_right(running)
    assert len(files_api.requests("initiate")) == 1


@pytest.fixture
def slow_corpus(corpus: Path) -> Path:
    for number in range(8):
        lines = (b'{"text": "%d %d \\ud800"}\n' % (number, n) for n in range(SLOW_TO_READ))
        (corpus / f"slow-{number}.jsonl").write_bytes(b"".join(lines))
    return corpus


def test_what_a_node_validates_when_it_is_killed_is_validated_elsewhere(
    client: Client,
    ray_cluster: RayCluster,
    files_api: LocalFilesApi,
    slow_corpus: Path,
    tmp_path: Path,
) -> None:
    publish = Publish(client, files_api, slow_corpus, tmp_path / "out.jsonl")
    with ray_cluster.second_node(cpus=2) as group:
        raylet = raylet_of(group)
        running = publish.start("--engine", "ray", "--address", ray_cluster.address)
        (head,) = {*started_with("raylet/raylet ", str(ray_cluster.folder))} - {raylet}
        on_head: list[int] = []
        held: list[int] = []

        def held_there() -> bool:
            on_head.extend(_frozen(head))  # else it might do all by itself
            held.extend(_frozen(raylet))
            return bool(held)

        until(held_there, "the second node is held in the middle of a slice")
        os.kill(raylet, signal.SIGKILL)
        for pid in held:  # frozen, it would not notice
            os.kill(pid, signal.SIGKILL)
        for pid in on_head:
            os.kill(pid, signal.SIGCONT)

        publish.assert_ends_right(running)


def _frozen(raylet: int) -> Iterator[int]:
    """Stop the workers of a node that are validating; those that still were when they stopped."""
    for pid in workers_of(raylet, VALIDATING):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            if title_of(pid).startswith(VALIDATING):
                yield pid
            else:
                os.kill(pid, signal.SIGCONT)


def test_a_node_that_is_lost_before_it_said_what_it_sees_is_not_missed(
    publish: Publish, ray_cluster: RayCluster
) -> None:
    with ray_cluster.second_node() as group:
        raylet = raylet_of(group)
        running = publish.start("--engine", "ray", "--address", ray_cluster.address)
        held: list[int] = []

        def asked_in_vain() -> bool:
            for pid in set(workers_of(raylet, "")) - set(workers_of(raylet, "ray::")) - {*held}:
                os.kill(pid, signal.SIGSTOP)  # before it can take its first task
                held.append(pid)
            return bool(held) and "_sees" in ray_cluster.running_tasks()

        until(asked_in_vain, "the second node is asked, and does not answer")
        os.kill(raylet, signal.SIGKILL)
        for pid in held:
            os.kill(pid, signal.SIGKILL)

        publish.assert_ends_right(running)


def test_a_run_whose_head_is_lost_ends_and_another_engine_finishes_the_rest(
    publish: Publish, files_api: LocalFilesApi
) -> None:
    files_api.script(Fault(where="put-part", what="stall", at="middle", part=2))
    with running_cluster() as cluster:
        running = publish.start(
            *("--engine", "ray", "--address", cluster.address),
            RAY_gcs_rpc_server_reconnect_timeout_s="3",  # 60 unless one says otherwise
        )
        until(lambda: stalled(files_api) and len(_sent(publish)) == 2, "all is sent but one part")

        for process in ("gcs_server", "raylet/raylet "):
            for pid in started_with(process, str(cluster.folder)):
                os.kill(pid, signal.SIGKILL)

        lost = running.end()
    assert lost.code in (1, 3), lost.err
    publish.witness.ended(lost.err)
    files_api.clear_faults()
    seen = publish.assert_ends_right(publish.start("--engine", "local"))
    assert [each.part for each in seen if each.where == "put-part"] == [2]


def _sent(publish: Publish) -> set[int]:
    attempts = publish.witness.state().attempts_by_name().get("large.jsonl", [])
    return set(attempts[-1].sent) if attempts else set()


_FILL = """
import signal, sys, numpy, ray
from ray._private.internal_api import memory_summary
ray.init(sys.argv[1], log_to_driver=False)
kept = []
# What does not fit any more, and cannot be spilled since it is in use, goes to a file.
while "filesystem mmap usage" not in memory_summary(sys.argv[1], stats_only=True):
    kept.append(ray.get(ray.put(numpy.zeros(5_000_000, dtype=numpy.uint8))))
print("full", flush=True)
signal.pause()
"""


def test_a_full_object_store_does_not_matter(
    publish: Publish, client: Client, ray_cluster: RayCluster
) -> None:
    """Only results go through Ray, and these are small."""
    filling = client.start(sys.executable, "-c", _FILL, ray_cluster.address)
    until(lambda: "full" in filling.out, "the store is full")

    publish.assert_ends_right(publish.start("--engine", "ray", "--address", ray_cluster.address))
    assert filling.process.poll() is None, "and stays full as long as this lives"
