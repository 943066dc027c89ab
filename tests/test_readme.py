"""The README's commands run as written, in order, against a local Files API."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from examples.make_corpus import make_corpus
from ingest.serve import LocalFilesApi
from jobs.cli import cli
from tests.fixtures.s3 import S3Bucket

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

# A shell comment needs blanks before it, so that one within a word stays.
COMMAND = re.compile(r"^(?:\$ )?(ingest [^#\n]*?)(?:\s+#.*|\s*)$", re.MULTILINE)


def commands_of(section: str) -> list[str]:
    """The `ingest` lines of a section's first shell block, without their comments."""
    body = README.split(f"### {section}\n", 1)[1]
    block = re.search(r"```sh\n(.*?)```", body, re.DOTALL)
    assert block is not None, section
    return COMMAND.findall(block[1].replace("\\\n", " "))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_corpus(tmp_path / "corpus", 2_000_000)
    return tmp_path


def run(command: str, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run a line of the README in a shell of its own."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("TOGETHER_", "RAY_"))}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=own | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_commands_that_check_data_run_as_written(folder: Path) -> None:
    codes = {line: run(line, folder, {})[0] for line in commands_of("Check data")}
    assert codes == {
        "ingest check corpus": 5,
        "ingest check corpus --json report.json": 5,
        "ingest check corpus --format github": 5,
        "ingest check corpus --problems all.jsonl": 5,
        "ingest check corpus --duplicates": 5,
        "ingest rules": 0,
        "ingest rules message.role": 0,
    }
    assert (folder / "report.json").exists()


def test_the_commands_that_publish_run_as_written(folder: Path, files_api: LocalFilesApi) -> None:
    environment = {"TOGETHER_API_KEY": files_api.api_key, "TOGETHER_BASE_URL": files_api.base_url}
    for line in commands_of("Publish"):
        code, output = run(line, folder, environment)
        assert code == 0, f"{line}\n{output}"
    assert len(files_api.files()) == 5


def test_the_commands_for_s3_run_as_written(
    folder: Path, files_api: LocalFilesApi, s3: S3Bucket
) -> None:
    for path in (folder / "corpus" / "good").rglob("*.jsonl"):
        s3.put(f"in/{path.name}", path.read_bytes())
    environment = {
        "TOGETHER_API_KEY": files_api.api_key,
        "TOGETHER_BASE_URL": files_api.base_url,
        "AWS_ENDPOINT_URL": s3.endpoint_url,
    }
    [line] = commands_of("Publish from S3")
    line = line.replace("s3://corpus/", f"s3://{s3.bucket}/")
    for _ in range(2):  # the manifest lies among its own inputs the second time
        code, output = run(line, folder, environment)
        assert code == 0, output
    assert len(files_api.files()) == 4


def test_the_python_example_runs_as_written(folder: Path, files_api: LocalFilesApi) -> None:
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    environment = {"TOGETHER_API_KEY": files_api.api_key}
    example = example.replace(
        'manifest="published.jsonl"',
        f'manifest="published.jsonl", base_url="{files_api.base_url}"',
    )
    code, output = run(f"{sys.executable} -c {shlex.quote(example)}", folder, environment)
    assert code == 0, output
    assert output.count("file-") == 5


@pytest.mark.parametrize("line", sorted(set(COMMAND.findall(README.replace("\\\n", " ")))))
def test_every_ingest_command_in_the_readme_has_words_that_exist(line: str) -> None:
    words = shlex.split(line.removesuffix("&"))[1:]
    command = cli.commands[words[0]]
    # Raises a usage error for an option or a choice that does not exist.
    command.make_context(words[0], words[1:])


def test_the_make_targets_in_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make ([a-z]+)`?", README)):
        assert f"\n{target}:" in makefile, target
