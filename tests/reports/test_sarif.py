from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import jsonschema
import pytest

from ingest.files import FileReport
from ingest.reports import render, sarif
from ingest.rules.catalog import RULES
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

SCHEMA = Path(__file__).parent / "schemas" / "sarif-schema-2.1.0.json"

# RFC 3986: the characters of a URI reference, and percent-encoded octets.
URI = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-F]{2})+")


def run_of(*reports: FileReport) -> dict[str, Any]:
    text = render("sarif", reports, rules="standard", purpose="fine-tune", engine="ray", root=ROOT)
    (run,) = json.loads(text)["runs"]
    assert isinstance(run, dict)
    return run


def artifact_of(of: FileReport) -> dict[str, str]:
    (result,) = run_of(of)["results"]
    artifact: dict[str, str] = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert URI.fullmatch(artifact["uri"])
    return artifact


@pytest.mark.parametrize("reports", [[], [GOOD], EVERYTHING], ids=["none", "good", "everything"])
def test_the_document_follows_the_oasis_schema(reports: list[FileReport]) -> None:
    text = render("sarif", reports, rules="standard", purpose="fine-tune", engine="ray", root=ROOT)
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft4Validator(schema).validate(json.loads(text))
    text.encode()


def test_a_problem_is_a_result_at_its_line_with_its_place_in_the_record() -> None:
    first, second = run_of(BAD)["results"]

    assert first["ruleId"] == "message.role"
    assert first["level"] == "error"
    assert first["message"]["text"].startswith("messages[1].role: expected system, user")
    (location,) = first["locations"]
    assert location["physicalLocation"]["region"] == {"startLine": 3}
    assert location["logicalLocations"] == [{"fullyQualifiedName": "messages[1].role"}]
    assert "logicalLocations" not in second["locations"][0]


def test_a_problem_of_the_whole_file_has_no_region() -> None:
    (result,) = run_of(WHOLE_FILE)["results"]
    assert "region" not in result["locations"][0]["physicalLocation"]


def test_every_result_points_at_its_rule_and_the_rules_are_the_catalogues() -> None:
    run = run_of(*EVERYTHING)
    rules = run["tool"]["driver"]["rules"]

    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    found = {warning.code for warning in ODD.warnings}
    assert {rule["id"] for rule in rules} == found | {
        rule.code for rule in RULES if rule.severity == "error"
    }
    by_code = {rule["id"]: rule for rule in rules}
    for rule in RULES:
        if rule.severity == "error":
            assert by_code[rule.code]["help"]["text"] == rule.advice
            assert by_code[rule.code]["shortDescription"]["text"] == rule.summary


def test_a_code_that_the_catalogue_does_not_know_is_reported_all_the_same() -> None:
    run = run_of(report(f"{ROOT}/a.jsonl", problem("brand.new")))
    (result,) = run["results"]
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]] == {"id": "brand.new"}


def test_a_file_of_the_repository_is_relative_to_its_root() -> None:
    (result, _) = run_of(BAD)["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"] == {
        "uri": "data/bad.jsonl",
        "uriBaseId": "%SRCROOT%",
    }
    assert run_of(BAD)["originalUriBaseIds"] == {"%SRCROOT%": {"uri": "file:///work%20tree/repo/"}}


@pytest.mark.parametrize(
    ("of", "uri"),
    [
        pytest.param(IN_S3, "s3://corpus/set%201/%C3%A4.jsonl", id="in S3"),
        pytest.param(OUTSIDE, "file:///srv/other%20data/x.jsonl", id="outside the repository"),
    ],
)
def test_any_other_file_has_a_whole_uri(of: FileReport, uri: str) -> None:
    assert artifact_of(of) == {"uri": uri}


def test_a_name_of_any_bytes_is_percent_encoded_and_can_be_decoded_again() -> None:
    artifact = artifact_of(HOSTILE)
    assert artifact["uriBaseId"] == "%SRCROOT%"
    assert ":" not in artifact["uri"]
    assert unquote_to_bytes(artifact["uri"]) == b"100% [red]:a,b\n\x1b[2J\xff#?.jsonl"


def test_problems_that_are_no_results_are_told_as_a_note() -> None:
    (invocation,) = run_of(TRUNCATED)["invocations"]
    assert invocation["executionSuccessful"] is True
    (note,) = invocation["toolExecutionNotifications"]
    assert note["message"]["text"].startswith("93 further problems")


def test_there_are_no_more_results_than_github_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif, "MAX_RESULTS", 2)
    run = run_of(TRUNCATED, BAD)
    assert len(run["results"]) == 2
    (note,) = run["invocations"][0]["toolExecutionNotifications"]
    assert note["message"]["text"].startswith("100 further problems")


def test_warnings_are_results_of_that_level_behind_all_problems() -> None:
    run = run_of(ODD, BAD)
    assert [result["level"] for result in run["results"]] == 2 * ["error"] + 2 * ["warning"]
    rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    assert rules["warn.tools"]["defaultConfiguration"] == {"level": "warning"}
    assert rules["message.role"]["defaultConfiguration"] == {"level": "error"}
    (note,) = run["invocations"][0]["toolExecutionNotifications"]
    assert note["message"]["text"].startswith("7 further")
