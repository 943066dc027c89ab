from __future__ import annotations

import json

from ingest.reports import render, report_document
from tests.reports.samples import BAD, EVERYTHING, GOOD, HOSTILE, ODD, WHOLE_FILE


def test_the_document_has_the_promised_keys_in_the_promised_order() -> None:
    document = report_document([GOOD, BAD], "standard", "fine-tune", "local")

    assert list(document) == ["schema", "valid", "rules", "purpose", "engine", "files"]
    assert list(document["files"][1]) == [
        "uri",
        "bytes",
        "file_type",
        "dataset_format",
        "records",
        "valid",
        "problem_count",
        "problems",
        "warning_count",
        "warnings",
        "statistics",
    ]
    assert list(document["files"][1]["problems"][0]) == [
        "line",
        "record",
        "path",
        "code",
        "message",
    ]


def test_the_document_tells_the_verdict_of_the_whole_and_of_each_file() -> None:
    document = report_document([GOOD, BAD], "strict", "eval", "ray")

    assert (document["schema"], document["rules"], document["purpose"]) == (1, "strict", "eval")
    assert document["engine"] == "ray"
    assert document["valid"] is False
    assert [entry["valid"] for entry in document["files"]] == [True, False]
    assert [entry["problem_count"] for entry in document["files"]] == [0, 2]
    assert document["files"][0]["bytes"] == 40_000_000


def test_no_file_at_all_is_valid() -> None:
    assert report_document([], "standard", "fine-tune", "local")["valid"] is True


def test_json_is_ascii_and_gives_back_every_name_and_message_unchanged() -> None:
    text = render("json", EVERYTHING, rules="standard", purpose="fine-tune", engine="local")

    assert text.isascii()
    assert text.endswith("}\n")
    document = json.loads(text)
    assert document == report_document(EVERYTHING, "standard", "fine-tune", "local")
    assert document["files"][-1]["uri"] == HOSTILE.uri


def test_warnings_are_told_apart_from_problems_and_change_no_verdict() -> None:
    document = report_document([ODD], "standard", "fine-tune", "local")
    (entry,) = document["files"]
    assert document["valid"] is entry["valid"] is True
    assert (entry["problem_count"], entry["problems"]) == (0, [])
    assert entry["warning_count"] == 9
    assert [(w["line"], w["code"]) for w in entry["warnings"]] == [
        (4, "warn.untrimmed_key"),
        (5, "warn.tools"),
    ]


def test_statistics_are_null_where_nothing_was_looked_at() -> None:
    document = report_document([ODD, WHOLE_FILE], "standard", "fine-tune", "local")
    assert [entry["statistics"] for entry in document["files"]] == [
        {
            "records": 12_345,
            "bytes": 40_000_000,
            "messages": 24_690,
            "roles": {"user": 12_345, "assistant": 12_344},
            "images": 3,
            "longest_record": {"bytes": 20_480, "line": 17},
        },
        {
            "records": 0,
            "bytes": 0,
            "messages": None,
            "roles": None,
            "images": None,
            "longest_record": None,
        },
    ]
