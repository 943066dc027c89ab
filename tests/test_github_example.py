"""The workflow that users copy, run as GitHub would: its own commands, in fresh checkouts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import ingest
from examples.make_corpus import MISTAKES, write_conversations
from ingest.serve import LocalFilesApi

WORKFLOW = Path(__file__).parents[1] / "examples" / "github-publish-dataset.yml"


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true; BaseLoader leaves every scalar as it is written.
    loaded = yaml.load(WORKFLOW.read_text(), Loader=yaml.BaseLoader)
    assert isinstance(loaded, dict)
    return loaded


@dataclass
class Repository:
    """A dataset repository, its checkout where a runner has it, and the workflow's steps."""

    origin: Path
    checkout: Path
    environment: dict[str, str]
    workflow: dict[str, Any]

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.checkout,
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def check_out_anew(self) -> None:
        """Clone into the same folder: the same paths, with other times and inodes."""
        shutil.rmtree(self.checkout, ignore_errors=True)
        subprocess.run(
            ["git", "clone", "--quiet", self.origin, self.checkout],
            env=self.environment,
            check=True,
        )

    def push(self, message: str) -> None:
        self.git("add", "data")
        self.git("commit", "--quiet", "--message", message)
        self.git("push", "--quiet")

    def step(self, job: str, name: str) -> subprocess.CompletedProcess[str]:
        """Run one step with the shell that GitHub uses when a step names none."""
        (step,) = [one for one in self.workflow["jobs"][job]["steps"] if one.get("name") == name]
        given = {key: _expanded(value) for key, value in step.get("env", {}).items()}
        return subprocess.run(
            ["bash", "-e", "-c", step["run"]],
            cwd=self.checkout,
            env=self.environment | given,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def manifest(self) -> dict[str, dict[str, Any]]:
        text = (self.checkout / "published.jsonl").read_text()
        entries = [json.loads(line) for line in text.splitlines()]
        return {entry["name"]: entry for entry in entries}


def _expanded(value: str) -> str:
    return value.replace("${{ secrets.TOGETHER_API_KEY }}", "test-key")


@pytest.fixture
def repository(tmp_path: Path, files_api: LocalFilesApi, workflow: dict[str, Any]) -> Repository:
    origin, checkout = tmp_path / "origin.git", tmp_path / "runner" / "dataset"
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "GITHUB_WORKSPACE": str(checkout),
        "TOGETHER_BASE_URL": files_api.base_url,
        "GIT_AUTHOR_NAME": "Someone",
        "GIT_AUTHOR_EMAIL": "someone@example.com",
        "GIT_COMMITTER_NAME": "Someone",
        "GIT_COMMITTER_EMAIL": "someone@example.com",
    }
    subprocess.run(
        ["git", "init", "--quiet", "--bare", "--initial-branch=main", origin],
        env=environment,
        check=True,
    )
    repository = Repository(origin, checkout, environment, workflow)
    repository.check_out_anew()
    (checkout / "data" / "train").mkdir(parents=True)
    write_conversations(checkout / "data" / "train" / "a.jsonl", 50_000, seed=1)
    write_conversations(checkout / "data" / "train" / "b.jsonl", 50_000, seed=2)
    (checkout / ".gitignore").write_text("*.journal\n")
    repository.git("add", ".gitignore")
    repository.push("First records")
    repository.check_out_anew()
    return repository


def puts(files_api: LocalFilesApi) -> int:
    return sum(seen.method == "PUT" for seen in files_api.requests())


def test_a_bad_file_fails_the_check_with_an_annotation_on_its_line(repository: Repository) -> None:
    bad = repository.checkout / "data" / "train" / "c.jsonl"
    good = (repository.checkout / "data" / "train" / "a.jsonl").read_bytes().splitlines(True)
    bad.write_bytes(good[0] + MISTAKES[0].line)

    done = repository.step("check", "Check")

    assert done.returncode == 5, done.stderr
    assert "::error file=data/train/c.jsonl,line=2,title=json.malformed::" in done.stdout


def test_good_files_pass_the_check(repository: Repository) -> None:
    done = repository.step("check", "Check")
    assert done.returncode == 0, done.stderr
    assert "::error" not in done.stdout


def test_a_push_publishes_all_and_keeps_the_manifest(
    repository: Repository, files_api: LocalFilesApi
) -> None:
    published = repository.step("publish", "Publish")
    kept = repository.step("publish", "Keep the manifest")

    assert published.returncode == 0, published.stderr
    assert kept.returncode == 0, kept.stderr
    entries = repository.manifest()
    assert sorted(entries) == ["a.jsonl", "b.jsonl"]
    for name, entry in entries.items():
        content = (repository.checkout / "data" / "train" / name).read_bytes()
        assert files_api.stored_bytes(entry["file_id"]) == content
    repository.check_out_anew()
    assert repository.manifest() == entries
    assert repository.git("ls-files").splitlines() == [
        ".gitignore",
        "data/train/a.jsonl",
        "data/train/b.jsonl",
        "published.jsonl",
    ]


def test_a_second_run_from_a_fresh_checkout_sends_nothing_and_commits_nothing(
    repository: Repository, files_api: LocalFilesApi
) -> None:
    repository.step("publish", "Publish")
    repository.step("publish", "Keep the manifest")
    before, sent = repository.git("rev-parse", "HEAD"), puts(files_api)
    ids = {name: entry["file_id"] for name, entry in repository.manifest().items()}
    repository.check_out_anew()

    published = repository.step("publish", "Publish")
    kept = repository.step("publish", "Keep the manifest")

    assert published.returncode == 0, published.stderr
    assert kept.returncode == 0, kept.stderr
    assert puts(files_api) == sent
    assert {name: entry["file_id"] for name, entry in repository.manifest().items()} == ids
    assert repository.git("rev-parse", "HEAD") == before


def test_a_changed_file_is_sent_alone_and_its_old_id_is_superseded(
    repository: Repository, files_api: LocalFilesApi
) -> None:
    repository.step("publish", "Publish")
    repository.step("publish", "Keep the manifest")
    before, sent = repository.manifest(), puts(files_api)
    repository.check_out_anew()
    write_conversations(repository.checkout / "data" / "train" / "b.jsonl", 60_000, seed=3)
    repository.push("More records")
    repository.check_out_anew()

    published = repository.step("publish", "Publish")
    kept = repository.step("publish", "Keep the manifest")

    assert published.returncode == 0, published.stderr
    assert kept.returncode == 0, kept.stderr
    assert puts(files_api) == sent + 1
    repository.check_out_anew()
    after = repository.manifest()
    assert after["a.jsonl"]["file_id"] == before["a.jsonl"]["file_id"]
    assert after["b.jsonl"]["file_id"] != before["b.jsonl"]["file_id"]
    assert after["b.jsonl"]["superseded"] == [before["b.jsonl"]["file_id"]]


def test_the_manifest_is_kept_when_main_has_moved_on_in_the_meantime(
    repository: Repository,
) -> None:
    repository.step("publish", "Publish")
    elsewhere = repository.checkout.with_name("elsewhere")
    subprocess.run(
        ["git", "clone", "--quiet", repository.origin, elsewhere],
        env=repository.environment,
        check=True,
    )
    other = Repository(repository.origin, elsewhere, repository.environment, repository.workflow)
    (elsewhere / "data" / "README.md").write_text("About these files.\n")
    other.push("Describe the data")

    kept = repository.step("publish", "Keep the manifest")

    assert kept.returncode == 0, kept.stderr
    repository.check_out_anew()
    assert (repository.checkout / "published.jsonl").exists()
    assert (repository.checkout / "data" / "README.md").exists()


def test_a_refused_publish_leaves_nothing_to_commit(
    repository: Repository, files_api: LocalFilesApi
) -> None:
    (repository.checkout / "data" / "c.jsonl").write_bytes(MISTAKES[0].line)

    assert repository.step("publish", "Publish").returncode == 5
    assert repository.step("publish", "Keep the manifest").returncode == 0
    assert puts(files_api) == 0


def test_actions_are_pinned_and_the_package_is_this_version(workflow: dict[str, Any]) -> None:
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    actions = [step["uses"] for step in steps if "uses" in step]
    assert actions
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in actions)
    installs = {step["run"] for step in steps if step.get("name") == "Install"}
    assert installs == {f"pip install together-bulk-ingest=={ingest.__version__}"}


def test_only_the_publish_step_sees_the_key_and_only_its_job_may_write(
    workflow: dict[str, Any],
) -> None:
    jobs = workflow["jobs"]
    holders = [
        (name, step["name"])
        for name, job in jobs.items()
        for step in job["steps"]
        if "secrets." in json.dumps(step)
    ]
    assert holders == [("publish", "Publish")]
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in jobs["check"]
    assert jobs["publish"]["permissions"] == {"contents": "write"}
    assert jobs["publish"]["concurrency"]["cancel-in-progress"] == "false"
