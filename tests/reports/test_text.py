from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from ingest.files import FileReport, Problem
from ingest.reports import print_report, render
from ingest.reports.text import MAX_PLACES, MAX_ROWS, size_text
from ingest.rules.catalog import find_rule
from tests.reports.samples import (
    BAD,
    EVERYTHING,
    GOOD,
    HOSTILE,
    IN_S3,
    ODD,
    ROOT,
    TRUNCATED,
    WHOLE_FILE,
    problem,
    report,
)

WIDE = report("s3://corpus/語.jsonl")


def piped(*reports: FileReport) -> str:
    return render("text", reports, rules="standard", purpose="fine-tune", engine="ray", root=ROOT)


def on_a_terminal(*reports: FileReport, width: int = 80) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=width, color_system=None)
    print_report(console, reports, rules="standard", purpose="fine-tune", root=ROOT)
    return stream.getvalue()


def test_valid_files_are_a_table_and_a_verdict() -> None:
    assert piped(GOOD, WIDE) == (
        "File                  Type   Format        Records      Size  Verdict\n"
        "data/train.jsonl      jsonl  conversation   12,345  38.1 MiB  valid\n"
        "s3://corpus/語.jsonl  jsonl  conversation   12,345  38.1 MiB  valid\n"
        "\n"
        "2 files valid, 24,690 records (rules: standard, purpose: fine-tune)\n"
    )


def test_problems_are_grouped_by_rule_with_what_to_do() -> None:
    advice = find_rule("message.role")
    assert advice is not None
    lines = piped(GOOD, BAD, IN_S3).splitlines()

    at = lines.index(f"message.role  2 problems in 2 files. Rule: {advice.summary}")
    assert lines[at + 1] == (
        "  data/bad.jsonl:3  messages[1].role  "
        "expected system, user, assistant or tool, found 'human'"
    )
    assert lines[at + 2].startswith("  s3://corpus/set 1/ä.jsonl:3  messages[1].role  expected")
    assert lines[at + 3] == f"  What to do: {advice.advice}"
    assert any(line.startswith("json.malformed  1 problem in 1 file. Rule: ") for line in lines)
    assert lines[-1] == (
        "2 of 3 files are invalid: 3 problems (rules: standard, purpose: fine-tune)"
    )


def test_a_problem_of_the_whole_file_is_told_by_the_files_name_alone() -> None:
    text = piped(WHOLE_FILE)
    assert "\n  data/empty.jsonl  expected at least one byte, found none\n" in text
    assert "1 of 1 file is invalid: 1 problem (" in text


def test_a_row_of_a_parquet_file_is_told_by_its_number() -> None:
    row = Problem(None, 1234, "labels", "parquet.length_mismatch", "expected 5 items, found 4")
    text = piped(report(f"{ROOT}/a.parquet", row))
    assert "\n  a.parquet  record 1,234 labels  expected 5 items, found 4\n" in text


def test_only_the_first_places_of_a_rule_are_told_and_the_rest_counted() -> None:
    text = piped(TRUNCATED)
    assert text.count("many.jsonl:") == MAX_PLACES
    assert "\n  ... and 2 more\n" in text
    assert "93 further problems counted, but not kept: --max-problems" in text


def test_no_line_is_cut_or_folded_in_a_pipe() -> None:
    long = report(f"{ROOT}/{'deep/' * 60}a.jsonl", problem(message="x" * 400))
    lines = piped(long).splitlines()
    assert sum("deep/" * 60 + "a.jsonl" in line for line in lines) == 2
    assert any("x" * 400 in line for line in lines)
    assert "…" not in piped(long)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal_and_none_loses_text(width: int) -> None:
    text = on_a_terminal(GOOD, BAD, WHOLE_FILE, TRUNCATED, width=width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    assert "data/train.jsonl" in "".join(text.split()) or width < 80


def test_a_dataset_can_neither_steer_the_terminal_nor_use_markup() -> None:
    for text in (piped(HOSTILE), on_a_terminal(HOSTILE, width=300)):
        assert r"100% [red]:a,b\n\x1b[2J\udcff#?.jsonl" in text
        assert r"found '\x1b]0;title\x07' and \ud800, \ufffe,\r\n::error::" in text
        assert "\x1b]" not in text
        assert "\x1b[2J" not in text


def test_many_files_list_only_the_invalid_ones() -> None:
    many = [report(f"{ROOT}/{number}.jsonl") for number in range(MAX_ROWS)]
    text = piped(*many, BAD)
    assert "\n7.jsonl" not in text
    assert "\ndata/bad.jsonl  " in text
    assert "\n200 more files not listed: 0 invalid.\n" in text


def test_what_is_printed_can_be_encoded() -> None:
    piped(*EVERYTHING).encode()


def test_names_are_told_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = render(
        "text",
        [report(f"{tmp_path}/data/a.jsonl")],
        rules="basic",
        purpose="eval",
        engine="local",
    )
    assert "\ndata/a.jsonl  " in text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024**2, "1.0 MiB"),
        (5 * 1024**3, "5.0 GiB"),
        (2000 * 1024**4, "2,000.0 TiB"),
    ],
)
def test_sizes_are_binary_with_one_decimal(size_bytes: int, text: str) -> None:
    assert size_text(size_bytes) == text


def test_warnings_have_a_section_of_their_own_behind_the_problems() -> None:
    lines = piped(ODD, BAD).splitlines()
    assert lines[1].endswith("  valid, 9 warnings")
    problem_at = next(n for n, line in enumerate(lines) if line.startswith("message.role  "))
    warning_at = next(n for n, line in enumerate(lines) if line.startswith("warn.tools  "))
    assert problem_at < warning_at
    assert lines[warning_at].startswith("warn.tools  1 warning in 1 file. Rule: tools is a list")
    assert lines[warning_at + 2].startswith("  What to do: ")
    assert any(line.startswith("7 further warnings counted, but not kept") for line in lines)
    assert lines[-1].startswith("1 of 2 files is invalid: 2 problems ")


def test_statistics_of_all_files_are_one_line_before_the_verdict() -> None:
    lines = piped(GOOD, ODD).splitlines()
    assert lines[-2] == (
        "24,690 messages (user 12,345, assistant 12,344); 3 images; "
        "longest record 20.0 KiB (odd.jsonl:17)"
    )
    assert "longest record" not in piped(GOOD)
