"""`ingest check` as a user runs it, in this process, in a folder of its own."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs.cli import main


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """The files of a JSON report on stdout, by the last part of their name."""
        return {Path(file["uri"]).name: file for file in json.loads(self.out)["files"]}

    def codes(self, name: str) -> list[str]:
        """The codes of one file's problems."""
        return [problem["code"] for problem in self.files[name]["problems"]]


class Check:
    """Runs `ingest check` on the local engine."""

    def __call__(self, *words: str | Path) -> Result:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main(["check", *map(str, words)])
            except SystemExit as end:
                code = end.code
        assert isinstance(code, int)
        return Result(code, out.getvalue(), err.getvalue())


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Check:
    """`ingest check` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Check()
