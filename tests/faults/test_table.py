"""Every cell of the fault table (``table.py``), each on a command line and a real server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from ingest.errors import OutcomeUnknown
from ingest.manifest import AT_SERVER
from ingest.serve import LocalFilesApi
from tests.faults.rehearsal import Rehearsal
from tests.faults.table import (
    BODIES,
    FAULTS,
    LEFT_OUT,
    NAME,
    PARTS,
    PLACES,
    REQUIRED,
    TABLE,
    WISHES_S,
    Cell,
    Ending,
    cells,
)
from tests.fixtures.files_api import API_KEY
from tests.pipeline.conftest import Ingest


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalFilesApi]:
    """An API that takes parts of 1 KiB; the command line finds it, and its key."""
    folder = tmp_path / "files-api"
    with LocalFilesApi(folder, api_key=API_KEY, min_part_size_bytes=1024) as api:
        monkeypatch.setenv("TOGETHER_BASE_URL", api.base_url)
        monkeypatch.setenv("TOGETHER_API_KEY", api.api_key)
        monkeypatch.chdir(tmp_path)
        # No cell is about a machine that loses its power, and there are many.
        monkeypatch.setattr(os, "fsync", lambda _: None)
        yield api
        api.clear_faults()


@pytest.fixture
def rehearsal(
    cell: Cell, api: LocalFilesApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Rehearsal:
    return Rehearsal(cell, api, Ingest(tmp_path), tmp_path, monkeypatch)


@pytest.mark.parametrize("cell", list(cells()), ids=lambda cell: cell.id)
def test_a_fault_is_met_as_the_table_says(rehearsal: Rehearsal, cell: Cell) -> None:
    rehearsal.prepare()

    with rehearsal.other_host() if cell.what == "redirect" else nullcontext() as other:
        result = rehearsal.run()

    first = type(rehearsal.errors[0]) if rehearsal.errors else None
    assert first is cell.ending.error, result.err
    assert result.code == cell.ending.exit_code, result.err
    assert (f"{NAME}: unknown: " in result.err) == (cell.ending.error is OutcomeUnknown)
    assert_tried(rehearsal, cell)
    assert_left_behind(rehearsal, cell.ending)
    if other is not None:
        # The key is for the API's host; bodies go where a store sends them.
        assert bool(other.requests) == (cell.where in BODIES)
        assert all("authorization" not in request.headers for request in other.requests)
    assert API_KEY not in result.out + result.err
    assert "X-Amz-Signature=" not in result.out + result.err
    if cell.ending.error is not None:
        assert_made_up_for(rehearsal, cell.ending)


def assert_tried(rehearsal: Rehearsal, cell: Cell) -> None:
    """The call was made as often as the table says, and waited for as long as was asked."""
    seen = rehearsal.seen()
    struck = [each for each in seen if each.fault == FAULTS[cell.what]["what"]]
    if cell.what == "refused":
        assert rehearsal.tries == cell.requests
    elif rehearsal.timed:
        # On a busy machine an honest answer may miss so short a limit, too, and a request may be
        # given up before the server has looked at it.
        if cell.how_often == "once":
            assert len(struck) == 1
            assert len(seen) >= cell.requests
        else:
            assert 1 <= len(struck) <= cell.requests
            assert cell.requests in (len(struck), rehearsal.tries)
    else:
        assert len(seen) == cell.requests
    if (wish_s := WISHES_S.get(cell.what)) is not None:
        asked_for = [wait_s for wait_s in rehearsal.waits_s if wait_s >= wish_s]
        assert len(asked_for) == (1 if cell.how_often == "once" else cell.requests - 1)


def assert_left_behind(rehearsal: Rehearsal, ending: Ending) -> None:
    """The manifest, and what is open at the server."""
    entry = rehearsal.entry()
    assert len(rehearsal.api.open_uploads()) == ending.open
    if ending.manifest == "none":
        assert entry is None
    elif ending.manifest == "failed":
        assert entry is not None
        assert (entry["status"], entry["file_id"], entry["superseded"]) == ("failed", None, [])
    else:
        assert_published(rehearsal)


def assert_published(rehearsal: Rehearsal) -> None:
    """There is exactly one finished file, its bytes are ours, and the manifest names it."""
    entry = rehearsal.entry()
    (file,) = rehearsal.api.files()
    assert rehearsal.api.stored_bytes(file["id"]) == rehearsal.content
    assert entry is not None
    assert entry["status"] in AT_SERVER
    assert entry["file_id"] == file["id"]


def assert_made_up_for(rehearsal: Rehearsal, ending: Ending) -> None:
    """The same command without a fault brings the file to its end, and sends no more than due."""
    all_parts = set(range(1, PARTS + 1)) if rehearsal.place.kind == "multipart" else {0}
    due = {
        "nothing": set[int](),
        "what is missing": all_parts - rehearsal.acknowledged(),
        "everything": all_parts,
    }[ending.next_run_sends]
    rehearsal.api.clear_requests()

    again = rehearsal.command()

    assert again.code == 0, again.err
    assert rehearsal.bodies() == sorted(due)
    assert_published(rehearsal)
    assert len(rehearsal.api.open_uploads()) == ending.orphans


def test_the_table_has_every_fault_at_every_place() -> None:
    rows = [(row.where, what) for row in TABLE for what in row.whats.split()]
    required = {(where, what) for where in PLACES for what in REQUIRED[where].split()}

    assert len(rows) == len(set(rows))
    assert set(rows) == required - set(LEFT_OUT)
    assert set(LEFT_OUT) <= required
    assert {what for _, what in rows} == set(FAULTS)
