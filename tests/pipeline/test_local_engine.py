from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import wait
from pathlib import Path

import pytest

from ingest.errors import IngestError
from ingest.files import Segment, SliceTask, SourceFile
from ingest.sources import stat_source
from jobs.engines.local import LocalEngine
from tests.pipeline.conftest import until

MANY_BYTES = 1 << 40


@pytest.fixture
def endless(tmp_path: Path) -> SourceFile:
    """A file that takes minutes to read and no room: it is sparse."""
    path = tmp_path / "endless.csv"
    with path.open("wb") as file:
        file.truncate(500 * 2**30)
    return stat_source(str(path), path.name)


def test_a_validating_process_that_is_killed_is_told(endless: SourceFile) -> None:
    engine = LocalEngine(workers=1, total_bytes=MANY_BYTES, max_in_flight=1)
    outcome = engine.validate(slice_of(endless))
    until(lambda: len(multiprocessing.active_children()) == 1, "the process has started")
    (process,) = multiprocessing.active_children()
    assert process.pid is not None

    os.kill(process.pid, signal.SIGKILL)

    with pytest.raises(IngestError, match="a validating process was killed"):
        outcome.result(30)
    with pytest.raises(IngestError, match="a validating process was killed"):
        engine.validate(slice_of(endless))
    engine.close()


def test_closing_ends_a_slice_and_a_hash_in_their_middle(endless: SourceFile) -> None:
    engine = LocalEngine(workers=1, total_bytes=MANY_BYTES, max_in_flight=1)
    outcomes = [
        engine.validate(slice_of(endless)),
        engine.digest((Segment(endless, 0, endless.size_bytes),)),
    ]
    until(lambda: len(multiprocessing.active_children()) == 1, "the process has started")

    engine.close()

    assert wait(outcomes, timeout=10).not_done == set()
    assert all(outcome.exception() is not None for outcome in outcomes)
    until(lambda: multiprocessing.active_children() == [], "the process has ended")


def slice_of(source: SourceFile) -> SliceTask:
    return SliceTask(source, "csv", "eval", "standard", 0, source.size_bytes)
