from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema
from hypothesis import given
from hypothesis import strategies as st

from ingest.files import FileReport
from ingest.reports import render
from tests.reports.samples import (
    BAD,
    EVERYTHING,
    GOOD,
    HOSTILE,
    ODD,
    ROOT,
    TRUNCATED,
    problem,
    report,
)

SCHEMA = Path(__file__).parent / "schemas" / "junit-10.xsd"


def rendered(*reports: FileReport) -> str:
    return render("junit", reports, rules="standard", purpose="fine-tune", engine="ray", root=ROOT)


@pytest.mark.parametrize("reports", [[], [GOOD], EVERYTHING], ids=["none", "good", "everything"])
def test_the_document_follows_the_published_schema(reports: list[FileReport]) -> None:
    xmlschema.XMLSchema(SCHEMA).validate(rendered(*reports))


def test_each_file_is_a_case_and_each_invalid_file_a_failure() -> None:
    suites = ElementTree.fromstring(rendered(GOOD, BAD))

    assert [case.get("name") for case in suites.iter("testcase")] == [
        "data/train.jsonl",
        "data/bad.jsonl",
    ]
    for counts in (suites, suites[0]):
        assert (counts.get("tests"), counts.get("failures")) == ("2", "1")
    (failure,) = suites.iter("failure")
    assert failure.get("message") == "2 problems"
    assert failure.get("type") == "message.role"
    assert failure.text == (
        "data/bad.jsonl:3: message.role: messages[1].role: "
        "expected system, user, assistant or tool, found 'human'\n"
        "data/bad.jsonl:7: json.malformed: expected ',' at column 12, found the line's end"
    )


def test_problems_that_were_only_counted_are_counted_here_too() -> None:
    (failure,) = ElementTree.fromstring(rendered(TRUNCATED)).iter("failure")
    assert failure.get("message") == "100 problems"
    assert (failure.text or "").endswith("\nand 93 more")


def test_characters_that_xml_forbids_are_written_as_escapes() -> None:
    (case,) = ElementTree.fromstring(rendered(HOSTILE)).iter("testcase")
    assert case.get("name") == r"100% [red]:a,b\n\x1b[2J\udcff#?.jsonl"
    assert r"'\x1b]0;title\x07' and \ud800, \ufffe,\r\n::error::<![CDATA[ & 50%" in (
        case[0].text or ""
    )


@given(st.text(st.characters(), max_size=30))
def test_whatever_a_record_holds_the_document_can_be_read_again(text: str) -> None:
    document = rendered(report(f"{ROOT}/{text}.jsonl", problem(path=text, message=text)))
    assert ElementTree.fromstring(document.encode()).find(".//failure") is not None


def test_warnings_are_the_output_of_a_case_that_passes() -> None:
    suites = ElementTree.fromstring(rendered(ODD))
    assert suites.get("failures") == "0"
    (out,) = suites.iter("system-out")
    assert out.text == (
        "9 warnings\n"
        'odd.jsonl:4: warn.untrimmed_key: messages[1]["role "]: expected a trimmed key\n'
        r"odd.jsonl:5: warn.tools: tools: expected a list of functions, found \x1b[2J &"
        "\nand 7 more"
    )
