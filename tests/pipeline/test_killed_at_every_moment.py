"""SIGKILL of the driver at every transition of its uploads; then the same command.

Each row is a real process that dies by SIGKILL: before a line of the journal is written, in its
middle, or when it is synced and its effect has not begun (``tests/drill/killed_at.py``); or while
the server holds a call, before or after it has done the work. What must hold in the end is the
same for all, and is in ``tests/drill/aftermath.py``.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.journal import Phase
from ingest.serve import Fault, LocalFilesApi
from tests.drill import killed_at
from tests.drill.aftermath import LOST, Witness, open_uploads
from tests.pipeline.conftest import MULTIPART, Ingest, entries, jsonl, until

LARGE = "large.jsonl"
SMALL = "small.jsonl"
PARTS = 3
CORPUS = {
    LARGE: jsonl(200_000),
    SMALL: jsonl(3_000, text="small"),
    "other.jsonl": jsonl(2_000, text="other"),
}
PUBLISH = ("publish", "data", "--manifest", "out.jsonl", *MULTIPART)

OF_ALL_FILES = ["hashed", "run"]
OF_A_LARGE_FILE = [
    "initiating large.jsonl",
    "initiated large.jsonl",
    *(f"part_sent large.jsonl {number}" for number in range(1, PARTS + 1)),
    "completing large.jsonl",
    "completed large.jsonl",
]
OF_A_SMALL_FILE = [
    f"{event} small.jsonl" for event in ("initiating", "initiated", "completing", "completed")
]
OF_THE_MANIFEST = ["before manifest", "before cleared", "before removed"]
MOMENTS = [
    *(
        f"{when} {event}"
        for event in (*OF_ALL_FILES, *OF_A_LARGE_FILE, *OF_A_SMALL_FILE)
        for when in ("before", "after")
    ),
    *(f"torn {event}" for event in ("run", *OF_A_LARGE_FILE[:3], OF_A_LARGE_FILE[-1])),
    *OF_THE_MANIFEST,
]
OF_A_REFUSED_FILE = [
    f"{when} {event} large.jsonl" for event in ("failed", "aborted") for when in ("before", "after")
]
OF_THE_NEXT_RUN = [
    # What the first run was killed at, and the second, which takes its upload up.
    ("after initiated large.jsonl", "after part_sent large.jsonl 2"),
    ("after part_sent large.jsonl 2", "before completing large.jsonl"),
    ("after completing large.jsonl", "before completed large.jsonl"),
    ("before completed large.jsonl", "before completed large.jsonl"),
    ("after completed large.jsonl", "before manifest"),
    ("before initiated large.jsonl", "before initiated large.jsonl"),
    ("after completing small.jsonl", "after completed small.jsonl"),
    ("torn part_sent large.jsonl 1", "torn completing large.jsonl"),
]
HELD: list[Fault] = [
    Fault.model_validate({"where": where, "what": what, "name": name})
    for where, name in (
        ("create", SMALL),
        ("put", SMALL),
        ("preprocess", SMALL),
        ("initiate", LARGE),
        ("put-part", LARGE),
        ("complete", LARGE),
    )
    for what in ("stall", "stall_reply")
]

NOT_YET: dict[str, str] = {
    "before initiating large.jsonl": "initiate",
    "before initiated large.jsonl": "put-part",
    "before completing large.jsonl": "complete",
    "before failed large.jsonl": "abort",
    "before initiating small.jsonl": "create",
    "before initiated small.jsonl": "put",
    "before completing small.jsonl": "preprocess",
}
"""The call that a line of the journal announces, which must not go out before it."""

Kill = Callable[[str], None]


@pytest.fixture
def witness(files_api: LocalFilesApi, data: Path, tmp_path: Path) -> Witness:
    for name, content in CORPUS.items():
        (data / name).write_bytes(content)
    return Witness(files_api, tmp_path / "out.jsonl", CORPUS)


@pytest.fixture
def kill(ingest: Ingest, witness: Witness) -> Kill:
    """Run the command in a process that dies at a moment."""

    def kill(moment: str) -> None:
        command = (sys.executable, killed_at.__file__, moment)
        result = ingest.start(*PUBLISH, prefix=command).wait()
        assert result.code == -signal.SIGKILL, f"was not killed {moment}: {result}"
        made = {(seen.where, seen.name) for seen in witness.ended(result.err)}
        assert (NOT_YET.get(moment), moment.split()[-1]) not in made

    return kill


def finish(ingest: Ingest, witness: Witness) -> list[str]:
    """The same command once more: it ends well. What it asked of the server for the large file."""
    witness.api.clear_faults()
    before = witness.state().attempts_by_name().get(LARGE, [])
    result = ingest(*PUBLISH)
    assert result.code == 0, result.err
    seen = [s for s in witness.ended(result.err) if s.name == LARGE and s.where != "retrieve"]
    witness.assert_finished()
    asked = [s.where for s in seen]
    if before and before[-1].phase in (Phase.INITIATED, Phase.COMPLETING, Phase.COMPLETED):
        assert "initiate" not in asked, "the upload that was open is gone on with"
        put = sorted(s.part or 0 for s in seen if s.where == "put-part")
        assert put == [n for n in range(1, PARTS + 1) if n not in before[-1].sent], (
            "what is missing"
        )
    return asked


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_is_finished_after_a_kill(
    ingest: Ingest, witness: Witness, kill: Kill, moment: str
) -> None:
    kill(moment)

    finish(ingest, witness)


@pytest.mark.parametrize(
    ("moment", "phase", "told"),
    [
        ("after run", "planned", "0 of 3 parts"),
        ("after initiating large.jsonl", "initiating", "0 of 3 parts"),
        ("after initiated large.jsonl", "initiated", "0 of 3 parts"),
        (
            "after completing large.jsonl",
            "unknown",
            "3 of 3 parts  outcome unknown: the next run looks it up",
        ),
    ],
)
def test_status_names_the_state_in_which_a_kill_left_a_file(
    ingest: Ingest, kill: Kill, moment: str, phase: str, told: str
) -> None:
    kill(moment)

    (left,) = (
        file
        for file in json.loads(ingest("status", "out.jsonl", "--json").out)["left"]
        if file["name"] == LARGE
    )
    assert left["phase"] == phase
    (line,) = (
        line for line in ingest("status", "out.jsonl").out.splitlines() if line.split()[0] == LARGE
    )
    assert line.endswith(told)


@pytest.mark.parametrize("moment", OF_A_REFUSED_FILE)
def test_an_upload_that_is_being_given_up_is_closed_and_starts_anew_after_a_kill(
    ingest: Ingest, witness: Witness, kill: Kill, moment: str
) -> None:
    witness.api.script(Fault(where="put-part", what="status", status=400, part=2))
    kill(moment)

    asked = finish(ingest, witness)

    assert asked.count("initiate") == (0 if moment.startswith("before failed") else 1)
    assert open_uploads(witness.api) == []


@pytest.mark.parametrize(("first", "second"), OF_THE_NEXT_RUN)
def test_the_run_after_a_kill_may_be_killed_too(
    ingest: Ingest, witness: Witness, kill: Kill, first: str, second: str
) -> None:
    kill(first)
    kill(second)

    finish(ingest, witness)


@pytest.mark.parametrize("fault", HELD, ids=lambda fault: f"{fault.where}-{fault.what}")
def test_a_kill_while_a_call_is_on_its_way_leaves_nothing_behind(
    ingest: Ingest, witness: Witness, fault: Fault
) -> None:
    api = witness.api
    api.script(fault)
    running = ingest.start(*PUBLISH)
    until(lambda: any(seen.fault == fault.what for seen in api.requests()), "the call is held")
    if (fault.where, fault.what) == ("initiate", "stall_reply"):
        until(lambda: open_uploads(api) != [], "it is open, and nobody says so")
    running.kill()
    witness.ended(running.err)

    finish(ingest, witness)

    if fault.where == "initiate":
        assert f"{LARGE}: " in witness.reports[-1]
        assert LOST in witness.reports[-1]


# --- ids that only the journal knows --------------------------------------------------------------


@pytest.mark.parametrize("moment", ["after completed large.jsonl", "after completing large.jsonl"])
def test_abort_keeps_what_is_complete_and_in_no_manifest_yet(
    ingest: Ingest, witness: Witness, kill: Kill, files_api: LocalFilesApi, moment: str
) -> None:
    if "completing" in moment:  # done, and nobody heard
        files_api.script(Fault(where="complete", what="stall_reply", name=LARGE))
        running = ingest.start(*PUBLISH)
        until(lambda: LARGE in [file["filename"] for file in files_api.files()], "it is complete")
        running.kill()
        files_api.clear_faults()
        witness.ended(running.err)
    else:
        kill(moment)
    (file,) = (file for file in files_api.files() if file["filename"] == LARGE)

    aborted = ingest("abort", "out.jsonl")

    assert aborted.code == 0, aborted.err
    assert f"{file['id']}\tpublished\t{LARGE}" in aborted.out
    assert "run the same publish again" in aborted.err
    assert [s.file_id for s in files_api.requests("abort") if s.file_id == file["id"]] == []
    finish(ingest, witness)


def test_a_gate_that_shuts_forgets_no_id(
    ingest: Ingest, witness: Witness, kill: Kill, data: Path
) -> None:
    kill("after completed large.jsonl")
    (data / "bad.jsonl").write_bytes(b"no json\n")

    assert ingest(*PUBLISH).code == 5

    (data / "bad.jsonl").unlink()
    finish(ingest, witness)


def test_an_id_whose_content_was_replaced_before_it_was_recorded_is_superseded(
    ingest: Ingest, witness: Witness, kill: Kill, data: Path, files_api: LocalFilesApi
) -> None:
    kill("after completed large.jsonl")
    (before,) = (file["id"] for file in files_api.files() if file["filename"] == LARGE)
    (data / LARGE).write_bytes(CORPUS[LARGE] + CORPUS[LARGE][: CORPUS[LARGE].index(b"\n") + 1])

    result = ingest(*PUBLISH)

    assert result.code == 0, result.err
    entry = entries(witness.manifest)[LARGE]
    assert entry["superseded"] == [before]
    assert not Path(f"{witness.manifest}.journal").exists()
