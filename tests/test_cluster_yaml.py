"""`cluster.yaml`, held against Ray's own checks and against the files that it names.

Nothing is launched: that takes an AWS account. What can go wrong before that is tested here.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start as ray_start

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "cluster.yaml").read_text()

NEEDED_FOR_INSTALLATION = {"pyproject.toml", "README.md", "LICENSE", "ingest", "jobs"}


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    """The file as `ray up` sees it once Ray has filled in its defaults."""
    prepared = prepare_config(yaml.safe_load(TEXT))
    validate_config(prepared)
    assert isinstance(prepared, dict)
    return prepared


def commands_of(cluster: dict[str, Any]) -> list[str]:
    return [
        command
        for key, commands in cluster.items()
        if key.endswith("_commands")
        for command in commands
    ]


def test_every_command_is_bash(cluster: dict[str, Any]) -> None:
    commands = commands_of(cluster)
    assert len(commands) > 10
    for command in commands:
        subprocess.run(["bash", "-n", "-c", command], check=True)


def test_ray_adds_no_command_of_its_own(cluster: dict[str, Any]) -> None:
    written = yaml.safe_load(TEXT)
    assert cluster["head_setup_commands"] == written["setup_commands"]
    assert cluster["worker_setup_commands"] == written["setup_commands"]


@pytest.mark.parametrize("node", ["head", "worker"])
def test_ray_start_knows_every_option(cluster: dict[str, Any], node: str) -> None:
    (line,) = [line for line in cluster[f"{node}_start_ray_commands"] if "ray start" in line]
    words = shlex.split(line.partition("ray start")[2])
    options = {word.partition("=")[0] for word in words}
    known = {name for parameter in ray_start.params for name in parameter.opts}

    assert options <= known, options - known
    assert ("--head" in options) == (node == "head")
    assert "RAY_AUTH_MODE=token" in line


def test_what_is_mounted_exists_and_is_enough_to_install_the_package(
    cluster: dict[str, Any],
) -> None:
    sources = {path for path in cluster["file_mounts"].values() if not path.startswith("~")}
    assert sources >= NEEDED_FOR_INSTALLATION
    for remote, local in cluster["file_mounts"].items():
        assert remote.endswith("/" + Path(local).name)
        assert local.startswith("~") or (ROOT / local).exists(), local


def test_nodes_install_the_tested_versions_and_name_none_of_their_own(
    cluster: dict[str, Any],
) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    mounted = {local: remote for remote, local in cluster["file_mounts"].items()}
    remote_lock = mounted["requirements.lock"].replace("/home/ubuntu", "~")
    installs = [line for line in commands_of(cluster) if "pip install" in line]

    assert any(f"--requirement {remote_lock}" in line for line in installs)
    assert all("--requirement" in line or "--no-deps" in line for line in installs)
    assert re.search(r"^ray==\d", lock, re.MULTILINE)
    assert not re.search(r"ray(\[\w+\])?[=:]=?\d", "\n".join(commands_of(cluster)))
    assert cluster["docker"] == {}, "an image would bring a Ray of its own"


def test_the_nodes_python_is_one_that_the_lock_was_made_for() -> None:
    # Ubuntu 24.04 has Python 3.12.
    assert "/ubuntu/server/24.04/" in TEXT
    lock = (ROOT / "requirements.lock").read_text()
    (numpy,) = re.findall(r"^numpy==\S+ ; python_full_version >= '3\.12'", lock, re.MULTILINE)
    assert numpy


def test_the_file_holds_no_secret_and_passes_none_on(cluster: dict[str, Any]) -> None:
    assert not re.search(r"AKIA[0-9A-Z]{16}", TEXT), "an AWS access key"
    # A long run of mixed letters and digits is what keys and tokens look like.
    for word in re.findall(r"[A-Za-z0-9+/_=-]{32,}", TEXT):
        assert not re.search(r"\d{6}", word) or word.startswith("arn"), word
    settings = "\n".join(commands_of(cluster)) + str(cluster["available_node_types"])
    assert not re.search(r"TOGETHER_API_KEY|RAY_AUTH_TOKEN|aws_secret|AWS_", settings)
    assert "runtime_env" not in settings


def test_neither_role_is_left_to_ray_which_would_give_it_all_of_ec2_and_s3(
    cluster: dict[str, Any],
) -> None:
    profiles = {
        name: node["node_config"]["IamInstanceProfile"]["Name"]
        for name, node in cluster["available_node_types"].items()
    }
    assert profiles == {"head": "bulk-ingest-head", "worker": "bulk-ingest-worker"}


def test_workers_come_and_go_within_the_clusters_limit(cluster: dict[str, Any]) -> None:
    worker = cluster["available_node_types"]["worker"]
    assert 0 < worker["min_workers"] <= worker["max_workers"] <= cluster["max_workers"]
    assert cluster["available_node_types"]["head"]["resources"] == {"CPU": 0}
