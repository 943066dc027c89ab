"""What a person sees while it works: bars on a real terminal, plain lines in a log."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.serve import Fault, LocalFilesApi
from jobs.progress import Lines, for_stream
from tests.pipeline.conftest import INGEST, MULTIPART, Ingest, entries, jsonl, until
from tests.pipeline.stopping import CONTENT, HELD, PARTS, held_in_the_middle
from tests.pipeline.terminal import Terminal

PUBLISH = ("publish", "data", "--manifest", "out.jsonl", *MULTIPART)
ALL = f"{len(CONTENT) / 1e3:.1f}"
Watch = Callable[..., Terminal]


@pytest.fixture
def corpus(data: Path) -> Path:
    (data / "large.jsonl").write_bytes(CONTENT)
    return data


@pytest.fixture
def watch(tmp_path: Path, ingest: Ingest, files_api: LocalFilesApi) -> Iterator[Watch]:
    """Starts `ingest` on a terminal."""
    started: list[Terminal] = []

    def start(*words: str, columns: int = 80, **environment: str) -> Terminal:
        started.append(Terminal([INGEST, *words], tmp_path, columns, **environment))
        return started[-1]

    yield start
    files_api.clear_faults()
    for terminal in started:
        terminal.kill()


def uploading(terminal: Terminal) -> list[str]:
    """Every state of the upload's line."""
    return [line for line in terminal.lines if line.startswith("upload ")]


# --- on a terminal --------------------------------------------------------------------------------


def test_bars_show_bytes_files_and_parts_that_the_store_has_acknowledged(
    watch: Watch, files_api: LocalFilesApi, corpus: Path
) -> None:
    files_api.script(Fault(where="put-part", what="stall", at="middle", part=HELD))
    terminal = watch(*PUBLISH)
    until(lambda: f"{PARTS - 1}/{PARTS} parts" in terminal.raw, "all parts but one are there")
    until(lambda: uploading(terminal)[-1].endswith(" left"), "a time left is told")

    # Half of the part that is held was read, and sent; it does not count.
    there = len(CONTENT) - 73_000
    shown = re.fullmatch(
        rf"upload +━.* ([\d.]+)/{ALL} kB +[\d.]+ [kM]B/s 0/1 files {PARTS - 1}/{PARTS} parts "
        r"\d+:\d\d left",
        uploading(terminal)[-1],
    )
    assert shown is not None, uploading(terminal)[-1]
    assert float(shown[1]) * 1e3 == pytest.approx(there, rel=0.02)

    files_api.clear_faults()
    code, out = terminal.end()
    assert code == 0, terminal.raw
    assert re.search(
        rf" {ALL}/{ALL} kB .* 1/1 files {PARTS}/{PARTS} parts in \d:\d\d$", uploading(terminal)[-1]
    )
    assert out.endswith("\tuploaded\tlarge.jsonl\n"), "stdout is for results alone"


def test_what_an_earlier_run_sent_is_shown_as_done_and_not_as_speed(
    ingest: Ingest, watch: Watch, files_api: LocalFilesApi, corpus: Path
) -> None:
    held_in_the_middle(ingest, files_api, *PUBLISH).kill()
    files_api.clear_faults()
    files_api.script(Fault(where="put-part", what="latency"))
    terminal = watch(*PUBLISH)
    until(lambda: f"{PARTS - 1}/{PARTS} parts" in terminal.raw, "it has gone on")
    time.sleep(0.5)  # a few more looks at the bar

    for line in uploading(terminal):
        assert "/s" not in line
        assert "left" not in line

    files_api.clear_faults()
    assert terminal.end()[0] == 0
    speed = re.search(r"([\d.]+) kB/s 1/1 files", uploading(terminal)[-1])
    assert speed is not None, uploading(terminal)[-1]
    assert float(speed[1]) < 75 / 0.5, "one part of 75 kB in over half a second"


def test_a_file_that_the_api_has_already_fills_its_bar(
    ingest: Ingest, watch: Watch, files_api: LocalFilesApi, corpus: Path, tmp_path: Path
) -> None:
    assert ingest(*PUBLISH).code == 0
    (tmp_path / "out.jsonl").unlink()

    terminal = watch(*PUBLISH)

    assert terminal.end()[0] == 0
    assert f" {ALL}/{ALL} kB" in uploading(terminal)[-1]
    assert f"1/1 files {PARTS}/{PARTS} parts" in uploading(terminal)[-1]


def test_a_file_that_fails_is_told_above_the_bars_and_is_not_waited_for(
    watch: Watch, files_api: LocalFilesApi, corpus: Path
) -> None:
    (corpus / "bad.jsonl").write_bytes(jsonl(300_000))
    files_api.script(Fault(where="put-part", what="status", status=403, name="bad.jsonl"))

    terminal = watch(*PUBLISH)

    assert terminal.end()[0] == 3
    assert any(line.startswith("bad.jsonl: failed: bad.jsonl part ") for line in terminal.lines)
    (parts,) = re.findall(r"(\d+)/(\d+) parts in", uploading(terminal)[-1])
    assert parts[0] == parts[1]


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}], ids=["colours", "NO_COLOR"])
def test_it_fits_the_terminal_and_keeps_its_colours_to_itself(
    watch: Watch, corpus: Path, columns: int, environment: dict[str, str]
) -> None:
    terminal = watch(*PUBLISH, columns=columns, **environment)
    assert terminal.end()[0] == 0

    assert max(map(len, terminal.lines)) <= columns
    assert not any("…" in line for line in terminal.lines)
    assert ("━" in terminal.raw) == (columns >= 80)
    coloured = re.search(r"\x1b\[[0-9;]*[34][0-9]", terminal.raw) is not None
    assert coloured == (columns >= 80 and not environment)


# --- in a log -------------------------------------------------------------------------------------


def test_a_log_has_a_line_for_each_stage_and_each_finished_file(
    ingest: Ingest, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as many a CI does; a log is no terminal for that
    (corpus / "small.jsonl").write_bytes(b'{"text": "a"}\n')

    result = ingest.start(*PUBLISH, "--wait").wait()

    ids = {name: entry["file_id"] for name, entry in entries(tmp_path / "out.jsonl").items()}
    sent = f"{(len(CONTENT) + 14) / 1e3:.1f} kB"
    lines = result.err.splitlines()
    assert lines[:2] == [f"validate: 2 files, {sent}", f"upload: 2 files, 6 parts, {sent}"]
    for name, file_id in ids.items():
        (own,) = [line for line in lines if line.startswith(f"{name}: ") and file_id in line]
        assert own.split(" as ")[0] in (f"{name}: uploaded", f"{name}: processed")
    assert "\x1b" not in result.err


def lines_of(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_a_line_every_few_seconds_tells_the_same_as_the_bars() -> None:
    stream = io.StringIO()
    progress = Lines(stream, every_s=0.05)
    progress.stage("upload", 1_000_000_000, 3, 10)
    progress.advance(500_000_000, parts=5, earlier=True)
    until(lambda: len(lines_of(stream)) > 1, "a line before anything moved")
    assert lines_of(stream)[:2] == [
        "upload: 3 files, 10 parts, 1.00 GB",
        "upload: 0/3 files, 5/10 parts, 500.0 MB of 1.00 GB",
    ]

    progress.advance(100_000_000, files=1, parts=1)
    wanted = r"upload: 1/3 files, 6/10 parts, 600.0 MB of 1.00 GB, [\d.]+ [MG]B/s, \d+ s left"
    until(lambda: re.fullmatch(wanted, lines_of(stream)[-1]) is not None, "speed and time left")

    progress.advance(400_000_000, files=2, parts=4)
    progress.close()


def test_a_stage_that_is_over_is_told_no_more() -> None:
    stream = io.StringIO()
    progress = Lines(stream, every_s=0.01)
    progress.stage("validate", 10, 1)
    progress.advance(10, files=1)
    before = len(lines_of(stream))
    time.sleep(0.1)

    assert len(lines_of(stream)) <= before + 1, "one may have been on its way"
    progress.close()


def test_a_log_is_written_every_ten_seconds() -> None:
    progress = for_stream(io.StringIO())

    assert isinstance(progress, Lines)
    assert progress._every_s == 10.0
    progress.close()
