"""The vendor's verdicts: one long-lived process for each generation of the client."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ingest.files import Purpose, RuleSet
from tests.fixtures.vendors import build_environment

VERSION_OF: dict[RuleSet, str] = {"strict": "1.5.35", "standard": "2.14.0", "basic": "3.1.1"}
"""The client whose verdicts each rule set must equal."""

_DRIVER = Path(__file__).with_name("vendor_driver.py")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client said about one file.

    Attributes:
        line: of the first problem, from 1, if it told one; a data row in CSV files.
    """

    valid: bool
    line: int | None
    message: str


class Reference:
    """One version of the client, answering for as long as the context is open."""

    def __init__(self, python: Path) -> None:
        environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        self._process = subprocess.Popen(
            [python, "-I", "-X", "utf8", _DRIVER, sysconfig.get_path("platlib")],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )

    def check(self, path: Path, purpose: Purpose) -> Answer:
        """Ask for the verdict on a file."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"path": str(path), "purpose": purpose}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the vendor's process ended with {self._process.wait()}"
        answer = json.loads(line)
        return Answer(answer["valid"], answer["line"], answer["message"])

    def __enter__(self) -> Reference:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Closing stdin ends the driver's loop.
        self._process.communicate()


@contextlib.contextmanager
def open_references() -> Iterator[dict[RuleSet, Reference]]:
    """Start the client of every rule set, and end them all on leaving."""
    with contextlib.ExitStack() as stack:
        yield {
            rules: stack.enter_context(Reference(build_environment(version)))
            for rules, version in VERSION_OF.items()
        }
