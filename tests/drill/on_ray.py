"""A round of the drill on Ray: a run loses an actor and a worker node, and at last its driver.

The run that finishes the rest may be one of the other engine.
"""

from __future__ import annotations

import contextlib
import os
import signal
from functools import partial

from ingest.serve import LocalFilesApi
from tests.drill.rounds import Round, Strike, kill_driver, play
from tests.fixtures.ray_cluster import RayCluster
from tests.pipeline.conftest import Running
from tests.ray_jobs.processes import raylet_of, started_with, until, workers_of


def play_on_ray(drawn: Round, api: LocalFilesApi, cluster: RayCluster) -> None:
    """One round on a cluster that outlives it, and on a second node that does not."""
    ray = ("--engine", "ray", "--address", cluster.address)
    last = ray if drawn.rng.random() < 0.5 else ("--engine", "local")
    with cluster.second_node(cpus=2) as group:
        workers: list[Strike] = [
            partial(_kill_actor, drawn, cluster),
            partial(_kill_node, raylet_of(group)),
        ]
        drawn.rng.shuffle(workers)
        play(drawn, api, [[*workers, kill_driver]], ray, last)


def _kill_actor(drawn: Round, cluster: RayCluster, running: Running) -> str:
    """Kill any actor of the cluster, as soon as there is one."""
    actors: list[int] = []

    def there_is_one() -> bool:
        raylets = started_with("raylet/raylet ", str(cluster.folder))
        actors[:] = [pid for each in raylets for pid in workers_of(each, "ray::_Sender")]
        return bool(actors) or running.process.poll() is not None

    until(there_is_one, "an actor sends, or the run is over")
    if not actors:
        return "no actor, there was nothing to send,"
    with contextlib.suppress(ProcessLookupError):
        os.kill(drawn.rng.choice(actors), signal.SIGKILL)
    return f"one of {len(actors)} actors"


def _kill_node(raylet: int, _running: Running) -> str:
    os.kill(raylet, signal.SIGKILL)
    return "node"
