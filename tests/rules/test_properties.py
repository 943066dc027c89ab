"""What holds for any line at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.files import PURPOSES, RULE_SETS, Purpose, RuleSet
from ingest.rules import json_text
from ingest.rules.catalog import find_rule
from ingest.rules.formats import DATASET_FORMATS
from ingest.rules.records import check_line

KEYS = st.sampled_from(
    [
        *sorted({key for each in DATASET_FORMATS for key in each.allowed("standard")}),
        *("role", "content", "weight", "tool_calls", "type", "image_url", "url"),
        *("custom_id", "body", "model"),
    ]
)
SCALARS = st.one_of(
    st.sampled_from(
        ["user", "assistant", "system", "tool", "text", "image_url", "data:image/png;base64,"]
    ),
    st.none(),
    st.booleans(),
    st.integers(-1, 2),
    st.floats(),
    st.text(max_size=5),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
RECORDS = st.dictionaries(KEYS, VALUES, max_size=3)
LINES = st.one_of(st.text(), VALUES.map(json.dumps), RECORDS.map(json.dumps))


@settings(max_examples=300, deadline=None)
@given(line=LINES, rules=st.sampled_from(RULE_SETS), purpose=st.sampled_from(PURPOSES))
def test_any_line_gets_a_verdict_that_can_be_reported(
    line: str, rules: RuleSet, purpose: Purpose
) -> None:
    verdict = check_line(line, rules, purpose, with_warnings=True)
    for problem in (*verdict.problems, *verdict.warnings):
        rule = find_rule(problem.code)
        assert rule is not None
        assert rules in rule.rule_sets
        assert purpose in rule.purposes
        assert problem.path is None or problem.path.isprintable()
        assert problem.message.isprintable()
        assert len(problem.message) <= 300
        assert problem.message.startswith("expected ")
        problem.message.encode("utf-8")
    assert verdict == check_line(line, rules, purpose, with_warnings=True)


@settings(max_examples=200, deadline=None)
@given(record=RECORDS)
def test_what_strict_accepts_is_accepted_by_standard_and_basic(record: dict[str, Any]) -> None:
    line = json.dumps(record)
    if check_line(line, "strict", "fine-tune").valid:
        assert check_line(line, "standard", "fine-tune").valid
    if check_line(line, "standard", "fine-tune").valid:
        assert check_line(line, "basic", "fine-tune").valid


@pytest.mark.parametrize("rules", RULE_SETS)
def test_spacing_and_escapes_change_nothing(rules: RuleSet) -> None:
    record = {"messages": [{"role": "user", "content": 5}, {"role": "é", "content": []}]}
    verdicts = {
        check_line(json.dumps(record, indent=indent, ensure_ascii=ascii_only).replace("\n", " "),
                   rules, "fine-tune")
        for indent in (None, 2)
        for ascii_only in (True, False)
    }  # fmt: skip
    assert len(verdicts) == 1


MESSAGES = st.lists(
    st.dictionaries(KEYS, SCALARS, max_size=3)
    | st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant", "tool", "else"]),
            "content": st.sampled_from(["", "a", "é", "\ud800", [], None]),
        },
        optional={"weight": st.integers(0, 2)},
    ),
    max_size=8,
)
CONVERSATIONS = st.fixed_dictionaries({"messages": MESSAGES}, optional={"tools": VALUES})


@settings(max_examples=300, deadline=None)
@given(
    line=LINES | (CONVERSATIONS | MESSAGES.filter(len).map(lambda some: some[0])).map(json.dumps),
    rules=st.sampled_from(RULE_SETS),
    purpose=st.sampled_from(PURPOSES),
)
@example(line='{"content": "a", "role": "user"}', rules="standard", purpose="fine-tune")
def test_a_very_long_line_is_judged_as_any_other(
    line: str, rules: RuleSet, purpose: Purpose
) -> None:
    verdict = check_line(line, rules, purpose, with_warnings=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_LONG_CHARACTERS", 0)
        assert check_line(line, rules, purpose, with_warnings=True) == verdict
