from __future__ import annotations

from pathlib import Path

import pytest

from ingest.files import FileReport
from ingest.reports import render
from ingest.reports.github import MAX_ANNOTATIONS
from tests.reports.samples import (
    BAD,
    EVERYTHING,
    GOOD,
    HOSTILE,
    IN_S3,
    ODD,
    OUTSIDE,
    ROOT,
    TRUNCATED,
    WHOLE_FILE,
    problem,
    report,
)


def rendered(*reports: FileReport, root: Path | None = ROOT) -> list[str]:
    text = render(
        "github", reports, rules="standard", purpose="fine-tune", engine="local", root=root
    )
    return text.splitlines()


def test_a_valid_file_says_nothing() -> None:
    assert rendered(GOOD) == []


def test_a_problem_is_an_error_on_its_line_of_the_repository() -> None:
    assert rendered(BAD)[0] == (
        "::error file=data/bad.jsonl,line=3,title=message.role::"
        "messages[1].role: expected system, user, assistant or tool, found 'human'"
    )


def test_a_problem_of_the_whole_file_has_no_line() -> None:
    assert rendered(WHOLE_FILE) == [
        "::error file=data/empty.jsonl,title=file.empty::expected at least one byte, found none"
    ]


def test_an_object_in_s3_is_named_in_the_message() -> None:
    (line,) = rendered(IN_S3)
    assert line.startswith("::error title=message.role::s3://corpus/set 1/ä.jsonl:3: messages[1]")


def test_a_file_outside_the_repository_keeps_its_whole_path() -> None:
    (line,) = rendered(OUTSIDE)
    assert line.startswith("::error file=/srv/other data/x.jsonl,line=3,")


def test_no_text_of_a_dataset_can_end_a_property_or_begin_a_command() -> None:
    (line,) = rendered(HOSTILE)
    properties, _, message = line.removeprefix("::error ").partition("::")

    assert properties == (
        r"file=100%25 [red]%3Aa%2Cb\n\x1b[2J\udcff#?.jsonl,line=3,title=message.role"
    )
    assert message.startswith(r"messages[0].\x00key: found '\x1b]0;title\x07' and \ud800, \ufffe,")
    assert message.endswith("50%25 :,")


def test_every_bad_file_has_an_annotation_before_any_has_its_second() -> None:
    lines = rendered(TRUNCATED, BAD, WHOLE_FILE)
    assert [line.split("file=")[1].split(",")[0] for line in lines[:4]] == [
        "many.jsonl",
        "data/bad.jsonl",
        "data/empty.jsonl",
        "many.jsonl",
    ]


def test_there_are_no_more_than_github_keeps_and_a_notice_counts_the_rest() -> None:
    many = report(f"{ROOT}/m.jsonl", *(problem(line=at) for at in range(1, 101)), unlisted=400)
    lines = rendered(many)

    assert len(lines) == MAX_ANNOTATIONS + 1
    assert lines[-1] == "::notice title=ingest check::500 problems in 1 file; the first 50 shown"


@pytest.mark.parametrize("below", ["", "nested"])
def test_on_a_runner_paths_start_at_the_checkout_whatever_the_steps_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    (tmp_path / "nested").mkdir()
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    monkeypatch.chdir(tmp_path / below)

    (line,) = rendered(report(f"{tmp_path}/nested/a.jsonl", problem()), root=None)
    assert line.startswith("::error file=nested/a.jsonl,line=3,")


def test_elsewhere_paths_start_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)
    (line,) = rendered(report(f"{tmp_path}/a.jsonl", problem()), root=None)
    assert line.startswith("::error file=a.jsonl,line=3,")


def test_every_line_is_a_command_that_utf_8_can_carry() -> None:
    lines = rendered(*EVERYTHING)
    assert lines
    for line in lines:
        line.encode()
        assert line.startswith(("::error ", "::warning ", "::notice "))


def test_warnings_come_behind_all_problems_and_are_counted_apart() -> None:
    lines = rendered(ODD, BAD)
    assert [line.split()[0] for line in lines] == 2 * ["::error"] + 2 * ["::warning"] + ["::notice"]
    assert lines[2] == (
        "::warning file=odd.jsonl,line=4,title=warn.untrimmed_key::"
        'messages[1]["role "]: expected a trimmed key'
    )
    assert lines[4].endswith("::2 problems in 1 file, 9 warnings; the first 4 shown")
