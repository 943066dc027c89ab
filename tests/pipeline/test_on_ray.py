"""The pipeline on a real Ray cluster, and once on the one it starts by itself."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from ingest.serve import Fault, LocalFilesApi
from tests.drill import killed_at
from tests.drill.aftermath import Witness
from tests.fixtures.ray_cluster import RayCluster
from tests.pipeline.conftest import MULTIPART, Ingest, entries, jsonl, parts_put, sent, until
from tests.pipeline.stopping import (
    CONTENT,
    PARTS,
    assert_only_the_missing_part_is_sent,
    assert_stopped,
    held_in_the_middle,
    processes_of,
)

pytestmark = pytest.mark.ray

PUBLISH = ("publish", "data", "--manifest", "out.jsonl", *MULTIPART, "--engine", "ray")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of this test's own, since Ray keeps its token there."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    return folder


@pytest.fixture
def on_cluster(ray_cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> RayCluster:
    """The cluster around, as within a Ray job."""
    monkeypatch.setenv("RAY_ADDRESS", ray_cluster.address)
    return ray_cluster


@pytest.fixture
def corpus(data: Path) -> Path:
    (data / "large.jsonl").write_bytes(CONTENT)
    return data


def test_it_does_on_ray_what_it_does_on_the_local_engine(
    ingest: Ingest, files_api: LocalFilesApi, on_cluster: RayCluster, corpus: Path, tmp_path: Path
) -> None:
    (corpus / "small.jsonl").write_bytes(jsonl(3_000))
    (corpus / "bad.jsonl").write_bytes(b'{"text": 1}\n')
    publish = (*PUBLISH[:-2], "--on-invalid", "skip", "--wait")

    on_ray = ingest.start(*publish).wait()  # RAY_ADDRESS is what chooses the engine

    assert on_ray.code == 5, on_ray.err
    assert parts_put(files_api) == list(range(1, PARTS + 1))
    recorded = entries(tmp_path / "out.jsonl")
    for name in ("large.jsonl", "small.jsonl"):
        stored = files_api.stored_bytes(recorded[name]["file_id"])
        assert stored == (corpus / name).read_bytes()
    assert_no_secret_in(on_cluster, files_api.api_key)
    with LocalFilesApi(api_key=files_api.api_key, min_part_size_bytes=64 * 2**10) as other:
        local = (*publish, "--engine", "local", "--base-url", other.base_url)
        assert ingest(*local[:3], "local.jsonl", *local[4:]).code == 5
    alike = [but_for_ids(entries(tmp_path / name)) for name in ("out.jsonl", "local.jsonl")]
    assert alike[0] == alike[1]

    files_api.clear_requests()
    (corpus / "bad.jsonl").unlink()
    again = ingest.start(*PUBLISH).wait()
    assert again.code == 0, again.err
    assert sent(files_api) == []


def but_for_ids(recorded: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    changing = {"file_id", "uploaded_at", "base_url"}
    return {
        name: {key: value for key, value in entry.items() if key not in changing}
        for name, entry in recorded.items()
    }


def assert_no_secret_in(cluster: RayCluster, api_key: str) -> None:
    for log in cluster.logs():
        content = log.read_bytes()
        assert api_key.encode() not in content, log
        assert b"X-Amz-Signature" not in content, log


def test_a_sample_of_faults_is_overcome_on_ray_too(
    ingest: Ingest, files_api: LocalFilesApi, on_cluster: RayCluster, corpus: Path, tmp_path: Path
) -> None:
    """Errors of the tree come back from actors as what they are; the rest is in tests/faults."""
    (corpus / "small.jsonl").write_bytes(jsonl(3_000))
    faults = [
        Fault(where="put-part", what="status", status=503, part=1, retry_after="1"),
        Fault(where="put-part", what="lost_reply", part=2),
        Fault(where="put-part", what="no_etag", part=3),
        Fault(where="complete", what="status_after_work", status=502),
        Fault(where="put", what="expired"),
        Fault(where="preprocess", what="lost_reply"),
    ]
    files_api.script(*faults)

    result = ingest.start(*PUBLISH).wait()

    assert result.code == 0, result.err
    struck = [seen.fault for seen in files_api.requests() if seen.fault]
    assert sorted(struck) == sorted(fault.what for fault in faults)
    assert parts_put(files_api) == sorted([1, 2, 3, *range(1, PARTS + 1)])
    recorded = entries(tmp_path / "out.jsonl")
    assert len(files_api.files()) == len(recorded) == 2
    for name, entry in recorded.items():
        assert files_api.stored_bytes(entry["file_id"]) == (corpus / name).read_bytes()


def test_after_a_kill_only_the_missing_part_is_sent(
    ingest: Ingest, files_api: LocalFilesApi, on_cluster: RayCluster, corpus: Path, tmp_path: Path
) -> None:
    running = held_in_the_middle(ingest, files_api, *PUBLISH)

    running.kill()

    assert_only_the_missing_part_is_sent(
        ingest, files_api, *PUBLISH, manifest=tmp_path / "out.jsonl"
    )


@pytest.mark.parametrize("moment", ["torn part_sent large.jsonl 3", "after completing large.jsonl"])
def test_a_run_is_finished_after_a_kill_at_an_exact_moment(
    ingest: Ingest,
    files_api: LocalFilesApi,
    on_cluster: RayCluster,
    corpus: Path,
    tmp_path: Path,
    moment: str,
) -> None:
    """A sample of what ``test_killed_at_every_moment`` does on the local engine."""
    witness = Witness(files_api, tmp_path / "out.jsonl", {"large.jsonl": CONTENT})
    killed = ingest.start(*PUBLISH, prefix=(sys.executable, killed_at.__file__, moment)).wait()
    assert killed.code == -signal.SIGKILL, killed.err
    witness.ended(killed.err)

    result = ingest.start(*PUBLISH).wait()

    assert result.code == 0, result.err
    witness.ended(result.err)
    witness.assert_finished()


def test_parts_that_arrive_while_ctrl_c_stops_the_run_count_and_any_engine_goes_on(
    ingest: Ingest, files_api: LocalFilesApi, on_cluster: RayCluster, corpus: Path, tmp_path: Path
) -> None:
    files_api.script(Fault(where="put-part", what="latency", times=None))
    running = ingest.start(*PUBLISH)
    until(lambda: len(parts_put(files_api)) == 4, "as many parts are in flight as may be")
    running.process.send_signal(signal.SIGINT)
    until(lambda: "stopping" in running.err, "the signal was heard")
    files_api.clear_faults()  # lets the parts go that are held

    assert_stopped(running.wait(20), sent={1, 2, 3, 4})

    assert parts_put(files_api) == [1, 2, 3, 4]
    assert ingest.parts_sent("out.jsonl") == 4
    assert files_api.requests("abort") == []
    files_api.clear_requests()
    assert ingest(*PUBLISH[:-1], "local").code == 0
    assert parts_put(files_api) == [5, 6]
    (entry,) = entries(tmp_path / "out.jsonl").values()
    assert files_api.stored_bytes(entry["file_id"]) == CONTENT


def test_the_ray_it_starts_itself_ends_with_it_and_leaves_nothing_in_the_home(
    ingest: Ingest, files_api: LocalFilesApi, corpus: Path, home: Path, tmp_path: Path
) -> None:
    running = held_in_the_middle(ingest, files_api, *PUBLISH)
    assert any("raylet" in command for command in processes_of(running))

    running.kill()

    # Agents of Ray's own stay for a minute, looking for the cluster that is gone.
    until(
        lambda: all(command.endswith("Agent") for command in processes_of(running)),
        "the cluster and its workers have ended",
        timeout_s=30,
    )
    assert_only_the_missing_part_is_sent(
        ingest, files_api, *PUBLISH[:-1], "local", manifest=tmp_path / "out.jsonl"
    )
    assert list(home.iterdir()) == []
