"""Batch-api requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest.files import RULE_SETS, RuleSet
from ingest.rules.records import check_line
from tests.rules.lines import broken

BODY = {"model": "m", "prompt": "Hello"}
CUSTOM_ID = ["batch.custom_id @ custom_id"]


@pytest.mark.parametrize("rules", RULE_SETS)
@pytest.mark.parametrize(
    ("custom_id", "passes"),
    [
        pytest.param("1", True, id="1 character"),
        pytest.param("a" * 64, True, id="64 characters"),
        pytest.param("é" * 64, True, id="64 characters of 2 bytes"),
        pytest.param("a" * 65, False, id="65 characters"),
        pytest.param("", False, id="empty"),
        pytest.param(1, False, id="number"),
        pytest.param(None, False, id="null"),
    ],
)
def test_a_request_has_a_custom_id(custom_id: Any, passes: bool, rules: RuleSet) -> None:
    record = {"custom_id": custom_id, "body": BODY}
    assert broken(record, rules, "batch-api") == ([] if passes else CUSTOM_ID)
    verdict = check_line(json.dumps(record), rules, "batch-api")
    assert verdict.custom_id == (custom_id if passes else None)
    assert verdict.dataset_format is None


@pytest.mark.parametrize("rules", RULE_SETS)
def test_a_request_without_a_custom_id(rules: RuleSet) -> None:
    assert broken({"body": BODY}, rules, "batch-api") == CUSTOM_ID


MODEL = ["batch.body @ body.model"]
BODY_ITSELF = ["batch.body @ body"]


@pytest.mark.parametrize("rules", RULE_SETS)
@pytest.mark.parametrize(
    ("record", "expected"),
    [
        pytest.param({"body": {"model": "m", "messages": []}}, [], id="messages"),
        pytest.param({"body": {"model": "m", "prompt": ""}}, [], id="prompt"),
        pytest.param({"body": {"model": "m", "input": None}}, [], id="input"),
        pytest.param({"body": BODY, "method": "POST", "url": "/v1"}, [], id="other keys"),
        pytest.param({}, BODY_ITSELF, id="no body"),
        pytest.param({"body": None}, BODY_ITSELF, id="null"),
        pytest.param({"body": "{}"}, BODY_ITSELF, id="string"),
        pytest.param({"body": {"prompt": "a"}}, MODEL, id="no model"),
        pytest.param({"body": {"model": "", "prompt": "a"}}, MODEL, id="empty model"),
        pytest.param({"body": {"model": 1, "prompt": "a"}}, MODEL, id="model a number"),
        pytest.param({"body": {"model": "m"}}, BODY_ITSELF, id="nothing to run on"),
        pytest.param({"body": {}}, MODEL + BODY_ITSELF, id="empty"),
        pytest.param({"body": {"model": "m", "file": "a"}}, BODY_ITSELF, id="file, not FILE"),
        pytest.param({"method": "FILE", "body": {"model": "m", "file": "a"}}, [], id="FILE"),
        pytest.param(
            {"method": "FILE", "body": {"model": "m", "prompt": "a"}},
            BODY_ITSELF,
            id="FILE, prompt",
        ),
        pytest.param(
            {"method": "file", "body": {"model": "m", "file": "a"}}, BODY_ITSELF, id="case counts"
        ),
    ],
)
def test_a_request_has_a_body(record: dict[str, Any], expected: list[str], rules: RuleSet) -> None:
    assert broken({"custom_id": "1", **record}, rules, "batch-api") == expected


def test_fine_tuning_formats_do_not_apply() -> None:
    record = {"custom_id": "1", "body": BODY, "messages": 5, "text": None}
    assert broken(record, "strict", "batch-api") == []
