"""The catalog: complete, and its examples true."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ingest
from ingest.files import RuleSet
from ingest.rules.catalog import RULES, Rule, find_rule, similar_codes, written_out
from ingest.rules.records import check_line
from tests.differential.sequential import check_jsonl

CODES = [
    "file.not_found",
    "file.unreadable",
    "file.empty",
    "file.too_large",
    "file.unknown_type",
    "file.wrong_type_for_purpose",
    "file.not_utf8",
    "file.bom",
    "file.no_records",
    "json.malformed",
    "json.too_deep",
    "json.not_object",
    "format.unknown",
    "format.ambiguous",
    "format.extra_key",
    "format.mixed",
    "messages.not_list",
    "messages.empty",
    "message.not_object",
    "message.missing_role",
    "message.missing_content",
    "message.weight",
    "message.role",
    "message.role_order",
    "message.content_type",
    "conversation.no_assistant",
    "conversation.mixed_content",
    "conversation.too_many_images",
    "content.item",
    "content.text",
    "content.image_role",
    "content.image_url",
    "content.image_format",
    "content.image_size",
    "content.image_weight",
    "preference.input",
    "preference.last_role",
    "preference.output",
    "preference.output_role",
    "preference.output_content",
    "parquet.unreadable",
    "parquet.missing_input_ids",
    "parquet.extra_column",
    "parquet.column_type",
    "parquet.length_mismatch",
    "csv.no_header",
    "csv.row_width",
    "batch.custom_id",
    "batch.body",
    "batch.too_many",
    "batch.too_large",
]
"""The contract's codes, in its order. They are in users' filters: none may change."""

JSONL_RULES = [rule for rule in RULES if rule.example_kind == "jsonl" and rule.severity == "error"]
WARNINGS = [rule for rule in RULES if rule.severity == "warning"]


def test_the_catalog_has_the_contracts_codes() -> None:
    assert [rule.code for rule in RULES if rule.severity == "error"] == CODES


def test_warnings_have_codes_of_their_own() -> None:
    assert {rule.code.split(".")[0] for rule in WARNINGS} == {"warn"}


def _codes_in_source() -> Iterator[tuple[str, str]]:
    groups = "|".join(sorted({rule.code.split(".")[0] for rule in RULES}))
    code = re.compile(rf"(?:{groups})\.[a-z_0-9]+")
    for path in Path(ingest.__file__).parent.rglob("*.py"):
        if path.name.startswith("catalog_"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            value = node.value if isinstance(node, ast.Constant) else None
            if isinstance(value, str) and code.fullmatch(value):
                yield value, path.name


def test_every_code_in_the_source_is_in_the_catalog() -> None:
    unknown = [(code, where) for code, where in _codes_in_source() if find_rule(code) is None]
    assert unknown == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_texts_are_fit_to_print(rule: Rule) -> None:
    assert not rule.summary.endswith(".")
    assert len(rule.summary) <= 80
    assert rule.explanation.endswith(".")
    assert rule.advice.endswith(".")
    for example in (rule.good, rule.bad):
        assert example
        assert len(example) <= 400


@pytest.mark.parametrize("rule", JSONL_RULES, ids=lambda rule: rule.code)
def test_good_examples_are_valid(rule: Rule) -> None:
    for rules in rule.rule_sets:
        findings, _ = check_jsonl(written_out(rule.good).encode(), rules, rule.purposes[0])
        assert findings == []


@pytest.mark.parametrize("rule", JSONL_RULES, ids=lambda rule: rule.code)
def test_bad_examples_break_their_rule_and_no_other(rule: Rule) -> None:
    for rules in rule.rule_sets:
        findings, _ = check_jsonl(written_out(rule.bad).encode(), rules, rule.purposes[0])
        assert [finding.code for finding in findings] == [rule.code]


@pytest.mark.parametrize("rule", JSONL_RULES, ids=lambda rule: rule.code)
def test_a_rule_is_not_applied_by_other_rule_sets(rule: Rule) -> None:
    others: list[RuleSet] = ["strict", "standard", "basic"]
    for rules in others:
        if rules not in rule.rule_sets:
            findings, _ = check_jsonl(written_out(rule.bad).encode(), rules, rule.purposes[0])
            assert rule.code not in {finding.code for finding in findings}


@pytest.mark.parametrize(
    "rule", [r for r in WARNINGS if r.example_kind == "jsonl"], ids=lambda rule: rule.code
)
def test_examples_of_warnings_are_valid_and_the_bad_one_warns(rule: Rule) -> None:
    rules, purpose = rule.rule_sets[-1], rule.purposes[0]
    good = check_line(rule.good, rules, purpose, with_warnings=True)
    bad = check_line(rule.bad, rules, purpose, with_warnings=True)
    assert good.valid
    assert bad.valid
    assert good.warnings == ()
    assert [warning.code for warning in bad.warnings] == [rule.code]


def test_examples_abbreviate_long_repetitions() -> None:
    assert written_out("a<<b x 3>>c<<[ x 1,000>>") == "abbbc" + "[" * 1000
    assert written_out("no mark") == "no mark"


def test_a_rule_is_found_by_its_code() -> None:
    rule = find_rule("message.role")
    assert rule is not None
    assert rule.code == "message.role"
    assert find_rule("message.rolle") is None


@pytest.mark.parametrize(
    ("typed", "first"),
    [("message.rolle", "message.role"), ("role", "message.role"), ("not_utf8", "file.not_utf8")],
)
def test_a_mistyped_code_has_likely_ones(typed: str, first: str) -> None:
    assert similar_codes(typed)[0] == first


def test_nonsense_has_no_similar_codes() -> None:
    assert similar_codes("xyzzy") == []
