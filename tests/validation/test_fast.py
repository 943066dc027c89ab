"""Whatever the fast path accepts, the exact rules accept, and with the same format."""

from __future__ import annotations

import json
import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.files import PURPOSES, RULE_SETS, Purpose, RuleSet
from ingest.rules.content import MAX_IMAGE_URL_CHARACTERS
from ingest.rules.records import check_line
from ingest.rules.verdict import RecordParts
from ingest.validation.counted import Parts
from ingest.validation.fast import FastPath
from tests.differential.generate import generate_jsonl

FORMATS = ("conversation", "instruction", "general", "preference")

SAY = '{"role": "user", "content": "a"}'
REPLY = '{"role": "assistant", "content": "b"}'
IMAGE = '{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}'
LISTED = '{"role": "assistant", "content": [{"type": "text", "text": "c"}]}'
PICTURE = '{"type": "text", "text": "a"}, ' + IMAGE


def is_accepted(
    line: str,
    rules: RuleSet = "standard",
    purpose: Purpose = "fine-tune",
    dataset_format: str = "conversation",
) -> bool:
    """Whether the fast path accepts a line that stands between two others."""
    return parts_of(line, rules, purpose, dataset_format) is not None


def parts_of(line: str, rules: RuleSet, purpose: Purpose, dataset_format: str) -> Parts | None:
    """What the line is made of, if it is accepted."""
    before, data = b"{}\n", line.encode("utf-8", "surrogatepass")
    buffer = bytearray(before + data + b"\n{}\n")
    path = FastPath(rules, purpose)
    path.expect(dataset_format)
    begin, end = len(before), len(before) + len(data) + 1
    rejected = path.rejected(buffer, [begin, end])
    parts = path.take_parts()
    if rejected:
        assert parts == Parts(), "nothing is counted of a line that is not accepted"
    return None if rejected else parts


def assert_the_rules_agree(line: str) -> bool:
    """Check the promise for all rule sets and purposes; say whether it was put to use."""
    met = False
    for rules in RULE_SETS:
        for purpose in PURPOSES:
            for dataset_format in FORMATS:
                parts = parts_of(line, rules, purpose, dataset_format)
                if parts is not None:
                    met = True
                    verdict = check_line(line, rules, purpose, with_warnings=True)
                    applies = purpose == "fine-tune" and rules != "basic"
                    assert verdict.valid, (rules, purpose, verdict)
                    assert not verdict.warnings, (rules, purpose, verdict)
                    counted = verdict.parts or RecordParts(0, (), 0)
                    assert (parts.messages, parts.images) == (counted.messages, counted.images)
                    assert +parts.roles() == Counter(counted.roles)
                    assert not verdict.skipped
                    assert verdict.dataset_format == (dataset_format if applies else None)
    return met


def conversation(*messages: str, more: str = "") -> str:
    return f'{{"messages": [{", ".join(messages)}]{more}}}'


def preference(
    messages: str = SAY, preferred: str = REPLY, other: str = REPLY, more: str = ""
) -> str:
    return (
        f'{{"input": {{"messages": [{messages}]{more}}}, "preferred_output": [{preferred}], '
        f'"non_preferred_output": [{other}]}}'
    )


USUAL = {
    "plain": (conversation(SAY, REPLY), "conversation"),
    "compact": (conversation(SAY, REPLY).replace(" ", ""), "conversation"),
    "spaces": (" \t" + conversation(SAY, REPLY).replace(":", " :\t") + "\t ", "conversation"),
    "content-first": ('{"messages": [{"content": "a", "role": "assistant"}]}', "conversation"),
    "escapes": (conversation(SAY, REPLY.replace('"b"', '"\\n\\u00e9\\"\\/"')), "conversation"),
    "text-of-all-scripts": (conversation(SAY, REPLY.replace("b", "é日😀\u2028")), "conversation"),
    "weights": (conversation(SAY[:-1] + ', "weight": 0}', REPLY), "conversation"),
    "other-keys": (conversation(SAY[:-1] + ', "name": {"a": [1.5e3]}}', REPLY), "conversation"),
    "empty-text": (conversation('{"role": "user", "content": ""}', REPLY), "conversation"),
    "long-text": (conversation(SAY, REPLY.replace("b", "[1]" * 5000)), "conversation"),
    "images": (conversation(f'{{"role": "user", "content": [{PICTURE}]}}',
                            LISTED),
               "conversation"),
    "instruction": ('{"prompt": "a", "completion": "b"}', "instruction"),
    "instruction-reversed": ('{"completion": "b", "prompt": "a"}', "instruction"),
    "general": ('{"text": "a"}', "general"),
    "preference": (preference(), "preference"),
    "preference-with-other-keys": (preference(more=', "tools": []'), "preference"),
}  # fmt: skip

TOOLS = {
    "tools": conversation(
        SAY, REPLY, more=', "tools": [{"type": "function", "function": {"name": "f"}}]'
    ),
    "tool-calls": conversation(SAY, '{"role": "assistant", "tool_calls": [{"id": "1"}]}'),
    "null-beside-tool-calls": conversation(
        SAY, '{"role": "assistant", "content": null, "tool_calls": []}'
    ),
    "tool-role": conversation(SAY, REPLY, '{"role": "tool", "content": "4"}'),
    "same-role-twice": conversation(SAY, SAY, REPLY),
}


@pytest.mark.parametrize("rules", ["strict", "standard"])
@pytest.mark.parametrize(("line", "dataset_format"), USUAL.values(), ids=USUAL.keys())
def test_usual_records_are_accepted(line: str, dataset_format: str, rules: RuleSet) -> None:
    assert is_accepted(line, rules, dataset_format=dataset_format)
    assert_the_rules_agree(line)


@pytest.mark.parametrize("line", TOOLS.values(), ids=TOOLS.keys())
def test_tools_are_accepted_in_standard_alone(line: str) -> None:
    assert is_accepted(line, "standard")
    assert not is_accepted(line, "strict")
    assert_the_rules_agree(line)


@pytest.mark.parametrize("dataset_format", FORMATS)
def test_tool_calls_of_a_preferred_output_are_accepted_in_standard(dataset_format: str) -> None:
    line = preference(preferred='{"role": "assistant", "tool_calls": null, "weight": 7}')
    assert is_accepted(line, "standard", dataset_format=dataset_format) == (
        dataset_format == "preference"
    )
    assert_the_rules_agree(line)


@pytest.mark.parametrize("rules", RULE_SETS)
@pytest.mark.parametrize("purpose", ["eval", "calibration"])
@pytest.mark.parametrize("line", ['{"a": [1, {"b": null}]}', "{}", ' {"a": 1, "a": 2}\t'])
def test_objects_are_accepted_where_formats_do_not_apply(
    line: str, rules: RuleSet, purpose: Purpose
) -> None:
    assert is_accepted(line, rules, purpose)


TRAPS = {
    "two-records-on-a-line": conversation(SAY, REPLY) + " " + conversation(SAY, REPLY),
    "half-a-record": '{"messages": [',
    "blank": " ",
    "nothing": "",
    "a-list": f"[{conversation(SAY, REPLY)}]",
    "byte-order-mark": "\ufeff" + conversation(SAY, REPLY),
    "no-break-space": "\xa0" + conversation(SAY, REPLY),
    "bad-escape": conversation(SAY, REPLY.replace("b", "\\q")),
    "bad-unicode-escape": conversation(SAY, REPLY.replace("b", "\\u12g4")),
    "control-character": conversation(SAY, REPLY.replace("b", "\t")),
    "long-integer": conversation(SAY[:-1] + f', "n": {"1" * 4301}}}', REPLY),
    "long-integer-hidden-by-a-repeated-key": conversation(
        f'{{"role": "user", "content": {"1" * 4301}, "content": "a"}}', REPLY
    ),
    "long-integer-among-long-text": conversation(
        SAY.replace('"a"', f'"{"a" * 10**5}"'), REPLY[:-1] + f', "n": [{"1" * 4301}]}}'
    ),
    "too-deep": conversation(SAY[:-1] + f', "n": {"[" * 899}{"]" * 899}}}', REPLY),
    "too-deep-hidden-by-a-repeated-key": conversation(
        f'{{"role": "user", "content": {"[" * 899}{"]" * 899}, "content": "a"}}', REPLY
    ),
    "last-of-repeated-keys-is-bad": conversation(
        '{"role": "user", "content": "a", "content": 5}', REPLY
    ),
    "last-messages-are-bad": conversation(SAY, REPLY)[:-1] + ', "messages": []}',
    "boolean-weight": conversation(SAY[:-1] + ', "weight": true}', REPLY),
    "float-weight": conversation(SAY[:-1] + ', "weight": 1.0}', REPLY),
    "null-weight": conversation(SAY[:-1] + ', "weight": null}', REPLY),
    "weight-on-image": conversation(
        f'{{"role": "user", "content": [{IMAGE}], "weight": 1}}', LISTED
    ),
    "number-for-content": conversation(SAY, REPLY.replace('"b"', "5")),
    "no-content": conversation('{"role": "user"}', REPLY),
    "tool-calls-of-a-user": conversation('{"role": "user", "tool_calls": []}', REPLY),
    "no-assistant": conversation(SAY),
    "no-messages": conversation(),
    "strings-and-lists": conversation(SAY, LISTED),
    "image-of-the-assistant": conversation(
        f'{{"role": "assistant", "content": [{IMAGE}]}}'
    ),
    "eleven-images": conversation(
        f'{{"role": "user", "content": [{", ".join([IMAGE] * 11)}]}}',
        LISTED,
    ),
    "another-image-format": conversation(
        f'{{"role": "user", "content": [{IMAGE.replace("png", "gif")}]}}',
        LISTED,
    ),
    "extra-key": conversation(SAY, REPLY, more=', "id": 1'),
    "two-formats": conversation(SAY, REPLY, more=', "text": "a"'),
}  # fmt: skip


@pytest.mark.parametrize("line", TRAPS.values(), ids=TRAPS.keys())
def test_what_the_rules_reject_is_not_accepted(line: str) -> None:
    assert not is_accepted(line, "strict")
    assert not is_accepted(line, "standard")
    assert not check_line(line, "standard", "fine-tune").valid
    assert_the_rules_agree(line)


DETAILED = IMAGE.replace("}}", ', "detail": "low"}}')
FREE = {
    "a-name": conversation(SAY[:-1] + ', "name": "Ann"}', REPLY),
    "keys-of-ones-own": conversation(SAY[:-1] + ', "id": 7, "meta": {"a": [null, 1.5]}}', REPLY),
    "detail-of-an-image": conversation(f'{{"role": "user", "content": [{DETAILED}]}}', LISTED),
    "calls": conversation(
        SAY,
        '{"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function", '
        '"function": {"name": "f", "arguments": "{\\"a \\": 1}"}}]}',
        '{"role": "tool", "tool_call_id": "1", "content": "4"}',
    ),
    "arguments-as-an-object": conversation(
        SAY,
        '{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}',
    ),
}


@pytest.mark.parametrize("line", FREE.values(), ids=FREE.keys())
def test_keys_that_are_free_do_not_keep_a_record_from_being_accepted(line: str) -> None:
    assert is_accepted(line, "standard")
    assert_the_rules_agree(line)


ODD = {
    "trailing-blank": '"note ": 1',
    "leading-blank": '" note": 1',
    "escaped-blank": '"note\\u0020": 1',
    "wide-blank": '"note\u3000": 1',
    "tab": '"\\tnote": 1',
    "blank-before-a-spaced-colon": '"note " : 1',
    "nested": '"a": [{"b": {"c ": 1}}]',
    "overflow": '"a": 1e999',
    "negative-overflow": '"a": [-1E+0400]',
    "overflow-without-exponent": f'"a": {"9" * 400}.5',
    "nan": '"a": NaN',
    "half-a-character": '"a": "\\ud83d"',
    "half-a-character-in-a-key": '"\\ud83d": 1',
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_no_oddity_is_hidden_wherever_the_rules_let_it_pass(odd: str) -> None:
    lines = [
        conversation(SAY[:-1] + f", {odd}}}", REPLY),
        conversation(SAY, REPLY[:-1] + f', "tool_calls": [{{{odd}}}]}}'),
        conversation(SAY, REPLY[:-1] + f', "name": {{{odd}}}}}'),
        conversation(SAY, REPLY, more=f', "tools": [{{{odd}}}]'),
        conversation(SAY, REPLY, more=f', "tools": {{{odd}}}'),
        conversation(f'{{"role": "user", "content": [{IMAGE[:-2]}, {odd}}}}}]}}', LISTED),
        conversation(f'{{"role": "user", "content": [{IMAGE[:-1]}, {odd}}}]}}', LISTED),
        conversation(f'{{"role": "user", "content": [{IMAGE[:-1]}, "text": {{{odd}}}}}]}}', LISTED),
        preference(more=f", {odd}"),
        preference(more=f', "tools": [{{{odd}}}]'),
        preference(preferred=REPLY[:-1] + f", {odd}}}"),
        preference(preferred=REPLY[:-1] + f', "tool_calls": [{{{odd}}}]}}'),
        f"{{{odd}}}",
    ]
    for line in lines:
        for dataset_format in FORMATS:
            for rules in RULE_SETS:
                assert not is_accepted(line, rules, dataset_format=dataset_format), line
                assert not is_accepted(line, rules, "eval", dataset_format), line


@pytest.mark.parametrize("tools", ['"f"', "null", "{}", '[{"type": "function"}]', '["f"]'])
def test_tools_that_are_no_functions_are_left_to_the_rules(tools: str) -> None:
    line = conversation(SAY, REPLY, more=f', "tools": {tools}')
    assert not is_accepted(line, "standard")
    assert [w.code for w in check_line(line, "standard", "fine-tune", with_warnings=True).warnings]


@pytest.mark.parametrize("purpose", ["fine-tune", "eval"])
def test_some_odd_records_do_not_turn_the_known_shapes_aside(
    monkeypatch: pytest.MonkeyPatch, purpose: Purpose
) -> None:
    plain = conversation(SAY, REPLY).encode() + b"\n"
    odd = conversation(SAY, REPLY.replace("assistant", "helper")).encode() + b"\n"
    path = FastPath("standard", purpose)
    path.expect("conversation")
    path.rejected(bytearray(plain), [0, len(plain)])
    tried = []
    accepts_freely = FastPath._accepts_freely

    def counting(path: FastPath, buffer: bytearray, begin: int, end: int) -> bool:
        tried.append(begin)
        return accepts_freely(path, buffer, begin, end)

    monkeypatch.setattr(FastPath, "_accepts_freely", counting)
    lines = [plain] * 50 + [odd] + [plain] * 50
    borders = [sum(map(len, lines[:number])) for number in range(len(lines) + 1)]
    for _ in range(5):
        path.rejected(bytearray(b"".join(lines)), borders)
    assert len(tried) == 5


@pytest.mark.parametrize("purpose", ["eval", "calibration"])
def test_the_first_record_of_a_batch_names_the_shapes_where_formats_do_not_apply(
    monkeypatch: pytest.MonkeyPatch, purpose: Purpose
) -> None:
    tried = []
    accepts_freely = FastPath._accepts_freely

    def counting(path: FastPath, buffer: bytearray, begin: int, end: int) -> bool:
        tried.append(begin)
        return accepts_freely(path, buffer, begin, end)

    monkeypatch.setattr(FastPath, "_accepts_freely", counting)
    lines = ["{}", "[]", *[conversation(SAY, REPLY)] * 50, "[]"]
    data = [f"{line}\n".encode() for line in lines]
    borders = [sum(map(len, data[:number])) for number in range(len(data) + 1)]
    path = FastPath("standard", purpose)
    assert path.rejected(bytearray(b"".join(data)), borders) == [1, 52]
    assert tried == [borders[index] for index in (0, 1, 2, 52)]


def test_a_file_whose_records_have_other_keys_goes_on_without_the_known_shapes() -> None:
    line = conversation(SAY[:-1] + ', "id": 7}', REPLY).encode() + b"\n"
    plain = conversation(SAY, REPLY).encode() + b"\n"
    path = FastPath("standard", "fine-tune")
    path.expect("conversation")
    for data in (line, line, plain, line):
        buffer = bytearray(data * 3)
        borders = list(range(0, len(buffer) + 1, len(data)))
        assert path.rejected(buffer, borders) == []
        assert path.take_parts().messages == 6


@pytest.mark.parametrize("rules", RULE_SETS)
@pytest.mark.parametrize(
    "line",
    [
        '{"a": ' + "1" * 4301 + "}",
        '{"a": "' + "b" * 10**4 + '", "c": -' + "1" * 4301 + "}",
        '{"a":' * 901 + "1" + "}" * 901,
        '{"a": ' + "[" * 900 + "]" * 900 + "}",
        "[]",
        '{"a": 1,}',
        '{"a": tru}',
        "{} {}",
    ],
)
def test_what_is_no_readable_object_is_not_accepted(line: str, rules: RuleSet) -> None:
    assert not is_accepted(line, rules, "eval")
    assert not check_line(line, rules, "eval").valid


def test_an_image_at_the_limit_is_left_to_the_rules_and_one_above_too() -> None:
    for characters in (MAX_IMAGE_URL_CHARACTERS, MAX_IMAGE_URL_CHARACTERS + 1):
        url = "data:image/png;base64,".ljust(characters, "A")
        item = {"type": "image_url", "image_url": {"url": url}}
        reply = {"role": "assistant", "content": [{"type": "text", "text": "b"}]}
        line = json.dumps({"messages": [{"role": "user", "content": [item]}, reply]})
        assert not is_accepted(line)
        assert check_line(line, "standard", "fine-tune").valid == (
            characters == MAX_IMAGE_URL_CHARACTERS
        )


@pytest.mark.parametrize("rules", ["strict", "standard"])
@pytest.mark.parametrize(
    "line",
    [
        preference(messages=""),
        preference(messages=f"{SAY}, {REPLY}"),
        preference(preferred=""),
        preference(preferred=f"{REPLY}, {REPLY}"),
        preference(other=SAY),
        preference(other='{"role": "assistant", "content": null, "tool_calls": []}'),
        preference(other='{"role": "assistant"}'),
        preference()[:-1] + ', "tools": []}',
    ],
)
def test_preferences_that_the_rules_reject_are_not_accepted(line: str, rules: RuleSet) -> None:
    assert not is_accepted(line, rules, dataset_format="preference")
    assert not check_line(line, rules, "fine-tune").valid


def test_no_line_is_accepted_before_the_format_is_known() -> None:
    path = FastPath("standard", "fine-tune")
    line = conversation(SAY, REPLY).encode()
    assert not path.is_ready
    assert path.rejected(bytearray(line), [0, len(line)]) == [0]


def test_batch_requests_are_left_to_the_rules() -> None:
    path = FastPath("standard", "batch-api")
    assert path.is_ready
    assert path.rejected(bytearray(b"{}"), [0, 2]) == [0]


@pytest.mark.parametrize("seed", range(400))
def test_the_rules_accept_what_is_accepted_of_random_files(seed: int) -> None:
    text = generate_jsonl(random.Random(seed)).data.decode("utf-8", "replace")
    for line in re.split("\r\n|\r|\n", text):
        assert_the_rules_agree(line)


KEYS = st.sampled_from(
    ["messages", "tools", "role", "content", "weight", "tool_calls", "type", "text", "image_url",
     "url", "prompt", "completion", "input", "preferred_output", "non_preferred_output", "m",
     "name", "function", "arguments", "id", " m", "m\\u00a0", "detail"]
)  # fmt: skip
TOKENS = st.sampled_from(
    ['"user"', '"assistant"', '"system"', '"tool"', '"text"', '"image_url"', '"a"', '""', "null",
     "0", "1", "-0", "1.0", "true", "NaN", "[]", "{}", '"\\ud800"', '"\\u0041"', "1e999", "01",
     '"data:image/png;base64,A"', '"data:image/gif;base64,A"', '"\\x"', '"\x01"', "nul"]
)  # fmt: skip
SPACE = st.sampled_from(["", "", "", " ", "\t"])


@st.composite
def objects(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    pairs = draw(st.lists(st.tuples(KEYS, values), max_size=4))
    gap = draw(SPACE)
    return "{" + f"{gap},{gap}".join(f'"{key}"{gap}:{gap}{value}' for key, value in pairs) + "}"


ANYTHING = st.recursive(
    TOKENS,
    lambda values: st.one_of(
        objects(values), st.lists(values, max_size=3).map(lambda items: f"[{','.join(items)}]")
    ),
    max_leaves=12,
)


@st.composite
def bent(draw: st.DrawFn) -> str:
    """A usual record with some of its tokens, keys or values put in the place of others."""
    line = draw(st.sampled_from([line for line, _ in USUAL.values()] + list(TOOLS.values())))
    line = re.sub(r"(\[1\]){99,}", "", line)
    for _ in range(draw(st.integers(0, 3))):
        parts = list(re.finditer(r'"[^"]*"(?:\s*:)?|[{}\[\],]|\d', line))
        part = draw(st.sampled_from(parts))
        new = draw(
            st.one_of(
                st.sampled_from([other[0] for other in parts]),
                ANYTHING,
                KEYS.map(lambda key: f'"{key}":'),
                st.sampled_from(["", " ", ","]),
                st.just(part[0] + "null," + part[0]),
            )
        )
        line = line[: part.start()] + new + line[part.end() :]
    return line


@settings(max_examples=500, deadline=None)
@given(bent())
def test_the_rules_accept_what_is_accepted_of_bent_records(line: str) -> None:
    assert_the_rules_agree(line)


@settings(max_examples=300, deadline=None)
@given(ANYTHING)
def test_the_rules_accept_what_is_accepted_of_any_json(line: str) -> None:
    assert_the_rules_agree(line)
