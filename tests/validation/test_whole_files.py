"""Whole files: what they hold is found as if each line were looked at alone, by the rules."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.files import PURPOSES, RULE_SETS, Purpose, RuleSet
from ingest.rules.records import check_line
from tests.validation.in_memory import report_of
from tests.validation.test_fast import (
    FREE,
    IMAGE,
    LISTED,
    ODD,
    REPLY,
    SAY,
    TOOLS,
    TRAPS,
    USUAL,
    conversation,
    preference,
)

CHAT = conversation(SAY, REPLY)
TEXT = '{"text": "a"}'
FORMATS = {
    "conversation": CHAT,
    "instruction": '{"prompt": "a", "completion": "b"}',
    "general": TEXT,
    "preference": preference(),
}


def assert_the_rules_agree(
    text: str, purpose: Purpose = "fine-tune", only: RuleSet | None = None
) -> None:
    """The report on a file tells what ``check_line`` tells of each of its lines."""
    lines = re.split("\r\n|\r|\n", text)
    if not lines[-1]:
        lines.pop()
    for rules in [only] if only else RULE_SETS:
        verdicts = [check_line(line, rules, purpose, with_warnings=True) for line in lines]
        report = report_of(text.encode(), rules=rules, purpose=purpose, max_problems=10**6)
        first = next((v.dataset_format for v in verdicts if v.dataset_format), None)
        expected = [
            (number, code)
            for number, verdict in enumerate(verdicts, 1)
            for code in (
                ["format.mixed"] * (verdict.dataset_format not in (None, first))
                + [problem.code for problem in verdict.problems]
            )
        ]
        found = [(p.line, p.code) for p in report.problems if p.line is not None]
        assert sorted(found) == sorted(expected)  # type: ignore[type-var]
        assert [(w.line, w.code) for w in report.warnings] == [
            (number, warning.code)
            for number, verdict in enumerate(verdicts, 1)
            for warning in verdict.warnings
        ]
        assert report.records == sum(not verdict.skipped for verdict in verdicts)
        parts = [verdict.parts for verdict in verdicts if verdict.parts]
        assert report.statistics.messages == sum(p.messages for p in parts)
        assert report.statistics.images == sum(p.images for p in parts)
        roles = sum((Counter(p.roles) for p in parts), Counter[str]())
        assert Counter(dict(report.statistics.roles)) == roles


SPLIT = conversation(SAY, REPLY).replace(", {", ",\n{", 1)
CANCELLED = {
    "between-messages": f"{CHAT}{CHAT}\n{SPLIT}\n",
    "with-a-space": f"{CHAT} {CHAT}\n{SPLIT}\n",
    "comma-first": f"{CHAT}{CHAT}\n" + CHAT.replace("}, {", "}\n,{") + "\n",
    "no-comma": f"{CHAT}{CHAT}\n" + CHAT.replace("}, {", "}\n{") + "\n",
    "in-a-string": f'{TEXT}{TEXT}\n{{"text": "}}\n{{"}}\n',
    "in-a-key": f'{TEXT}{TEXT}\n{{"text}}\n{{": "a"}}\n',
    "after-the-brace": f'{TEXT}{TEXT}\n{{\n"text": "a"}}\n',
    "before-the-brace": f'{TEXT}{TEXT}\n{{"text": "a"\n}}\n',
    "a-brace-alone": f'{TEXT}{TEXT}\n{{"text": "a"\n}}\n{TEXT}{TEXT}\n{{\n"text": "a"}}\n',
    "lone-cr": f'{TEXT}{TEXT}\n{{"text":\r"a"}}\n',
    "cr-before-crlf": f'{TEXT}{TEXT}\n{{"text": "a"}}\r\r\n',
    "cr-between-braces": f"{TEXT}\r{TEXT}{TEXT}\n",
    "two-in-crlf": f'{TEXT}{TEXT}\r\n{{"text": "a"\r\n}}\r\n',
    "blank": f"{TEXT}{TEXT}\n\n",
    "blank-crlf": f"{TEXT}{TEXT}\r\n\r\n",
    "blank-of-spaces": f"{TEXT}{TEXT}\n \t\n",
    "blank-first": f"\n{TEXT}{TEXT}\n",
    "blank-between": f"{TEXT}\n\n{TEXT}{TEXT}\n",
    "blank-cr": f"{TEXT}{TEXT}\n\r",
}


@pytest.mark.parametrize("text", CANCELLED.values(), ids=CANCELLED.keys())
def test_as_many_records_as_lines_is_not_one_on_each(text: str) -> None:
    usual = (TEXT if TEXT in text else CHAT) + "\n"
    for purpose in PURPOSES:
        assert_the_rules_agree(usual * 70 + text + usual * 70, purpose)


@pytest.mark.parametrize("line", [f" {TEXT}", f"{TEXT} ", f"\t{TEXT}\t", f"\ufeff{TEXT}", ""])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""], ids=["lf", "crlf", "cr", "none"])
def test_what_is_around_a_record_is_judged_with_its_line(line: str, end: str) -> None:
    assert_the_rules_agree(f"{TEXT}\n{line}{end}{TEXT}\n{line}{end}")


LONG_ANSWER = REPLY.replace('"b"', f'"{"b" * 5000}"')
HIDDEN = {
    "deep": "[" * 901 + "]" * 901,
    "deep-objects": '{"a":' * 901 + "1" + "}" * 901,
    "long-integer": "1" * 4301,
}


@pytest.mark.parametrize("hidden", HIDDEN.values(), ids=HIDDEN.keys())
@pytest.mark.parametrize("reply", [REPLY, LONG_ANSWER], ids=["short", "long"])
def test_what_a_repeated_key_hides_is_found_among_usual_records(hidden: str, reply: str) -> None:
    lines = {
        "conversation": conversation(
            f'{{"role": "user", "content": {hidden}, "content": "a"}}', reply
        ),
        "preference": preference(
            preferred=f'{{"role": "assistant", "content": {hidden}, "content": "a"}}', other=reply
        ),
        "instruction": f'{{"prompt": {hidden}, "prompt": "a", "completion": "b"}}',
        "general": f'{{"text": {hidden}, "text": "a"}}',
    }
    for dataset_format, line in lines.items():
        usual = FORMATS[dataset_format] + "\n"
        assert_the_rules_agree(usual * 20 + line + "\n" + usual * 9)


SOME = {
    "no-messages": conversation(),
    "no-assistant": conversation(SAY),
    "no-assistant-system": conversation('{"role": "system", "content": "a"}', SAY),
    "same-role-twice": conversation(SAY, SAY, REPLY),
    "begins-as-the-one-before-ends": conversation(REPLY, SAY, REPLY),
    "ends-as-the-next-begins": conversation(SAY, REPLY, SAY),
    "tool": conversation(SAY, REPLY, '{"role": "tool", "content": "a"}'),
    "list": conversation('{"role": "user", "content": [{"type": "text", "text": "a"}]}', LISTED),
    "image": conversation(f'{{"role": "user", "content": [{IMAGE}]}}', LISTED),
    "mixed": conversation(SAY, LISTED),
    "null": conversation(SAY.replace('"a"', "null"), REPLY),
    "number": conversation(SAY.replace('"a"', "5"), REPLY),
    "object": conversation(SAY.replace('"a"', '{"content": "a"}'), REPLY),
    "odd-tools": conversation(SAY, REPLY, more=', "tools": [{"type": "function", "a ": NaN}]'),
    "no-functions": conversation(SAY, REPLY, more=', "tools": "f"'),
    "absent": conversation('{"role": "user"}', REPLY),
    "call-of-a-user": conversation(SAY[:-1].replace('"content": "a"', '"tool_calls": []') + "}",
                                   REPLY),
    "ends-with-assistant": preference(messages=f"{SAY}, {REPLY}"),
    "no-input": preference(messages=""),
    "same-role-twice-in-input": preference(messages=f"{SAY}, {SAY}"),
    "output-without-content": preference(preferred='{"role": "assistant"}'),
    "output-number": preference(other=REPLY.replace('"b"', "5")),
    "odd-tools-of-input": preference(more=', "tools": [{"a ": 1}]'),
    "odd-tools-of-input-too": preference(more=', "tools": [{"type": "function", "a": 1e999}]'),
    "prompt-number": '{"prompt": 5, "completion": "b"}',
    "completion-null": '{"prompt": "a", "completion": null}',
    "text-list": '{"text": [{"type": "text", "text": "a"}]}',
}  # fmt: skip


@pytest.mark.parametrize("line", SOME.values(), ids=SOME.keys())
@pytest.mark.parametrize("place", [0, 40, 99])
def test_one_other_record_among_usual_ones_is_judged_as_if_alone(line: str, place: int) -> None:
    dataset_format = next(
        name
        for name, key in zip(FORMATS, ("messages", "prompt", "text", "input"), strict=True)
        if line.startswith(f'{{"{key}"')
    )
    usual = FORMATS[dataset_format]
    lines = [usual] * 100
    lines[place] = line
    text = f"{usual}\n" + "\n".join(lines) + "\n"
    for purpose in PURPOSES:
        assert_the_rules_agree(text, purpose)


POOL = [
    *[line for line, _ in USUAL.values() if len(line) < 1000],
    *TOOLS.values(),
    *[line for line in TRAPS.values() if len(line) < 1000],
    *FREE.values(),
    *SOME.values(),
    *[conversation(SAY[:-1] + f", {odd}}}", REPLY) for odd in ODD.values() if len(odd) < 100],
]


@st.composite
def files(draw: st.DrawFn) -> str:
    """Mostly one kind of line, with others among them, and any kind of line ends."""
    randomly = random.Random(draw(st.integers(0, 2**32)))
    usual = randomly.choice([*FORMATS.values(), TOOLS["tools"], FREE["calls"]])
    others = draw(st.lists(st.sampled_from(POOL), max_size=4))
    share = draw(st.sampled_from([0.005, 0.02, 0.2, 0.9]))
    ends = draw(
        st.sampled_from([["\n"], ["\r\n"], ["\n", "\r\n"], ["\n"] * 60 + ["\r", "\n\n", ""]])
    )
    lines = [
        (randomly.choice(others) if others and randomly.random() < share else usual)
        + randomly.choice(ends)
        for _ in range(randomly.randrange(1, 250))
    ]
    # A mark at the start of a file is a rule of its own: test_jsonl.py.
    return "".join(lines).removeprefix("\ufeff")


@settings(max_examples=150, deadline=None)
@given(files(), st.sampled_from(RULE_SETS), st.sampled_from(["fine-tune", "eval"]))
def test_a_file_of_any_mixture_is_judged_line_by_line(
    text: str, rules: RuleSet, purpose: Purpose
) -> None:
    assert_the_rules_agree(text, purpose, only=rules)
