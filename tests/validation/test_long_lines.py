"""Long conversations in pieces of a few bytes: accepted as the rules do, or not at all."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from ingest.files import Purpose, RuleSet
from ingest.rules.records import check_line
from ingest.validation import long_lines
from ingest.validation.counted import Parts
from ingest.validation.fast import FastPath

HIDDEN_BYTES = 1800


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_lines, "_PIECE_BYTES", 64)
    monkeypatch.setattr(long_lines, "_SEARCHED_BYTES", 4096)


def accepts(line: str, *, strict: bool = False, parts: Parts | None = None) -> bool:
    return long_lines.accepts_conversation(
        memoryview(line.encode()), strict=strict, hidden_bytes=HIDDEN_BYTES, parts=parts or Parts()
    )


def turns(count: int, text: str = "hello") -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[n % 2], "content": f"{text} {n}"} for n in range(count)]


def line_of(messages: list[Any], **more: Any) -> str:
    return json.dumps({"messages": messages, **more}, ensure_ascii=False)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    "text", ["hello", "é 日本 😀", 'a "quote" },{ and }, {', "}," * 20, "\\ \n \t"]
)
def test_a_conversation_is_accepted_and_its_messages_counted(text: str, strict: bool) -> None:
    parts = Parts()

    assert accepts(line_of(turns(200, text)), strict=strict, parts=parts)

    assert (parts.messages, parts.users, parts.assistants) == (200, 100, 100)


@pytest.mark.parametrize("place", [0, 1, 50, 98, 99])
@pytest.mark.parametrize(
    "odd",
    [
        {"role": "helper", "content": "x"},
        {"role": "user"},
        {"role": "user", "content": None},
        {"role": "user", "content": [{"type": "text", "text": "x"}]},
        {"role": "user", "content": 5},
        {"role": "user", "content": "x", "extra": 1},
        {"role": "user", "content": "x", "weight": 2},
        {"role": "user", "content": "\ud800"},
        [],
        "message",
    ],
    ids=lambda odd: json.dumps(odd)[:40],
)
def test_one_odd_message_anywhere_leaves_the_line_to_the_rules(odd: Any, place: int) -> None:
    messages: list[Any] = turns(100)
    messages[place] = odd
    assert not accepts(json.dumps({"messages": messages}))


@pytest.mark.parametrize("place", range(0, 100, 7))
def test_roles_that_repeat_over_a_cut_are_seen_by_strict_rules(place: int) -> None:
    messages = turns(100)
    messages.insert(place, messages[place])
    assert not accepts(line_of(messages), strict=True)
    assert accepts(line_of(messages), strict=False)


@pytest.mark.parametrize(
    "line",
    [
        '{"messages": []}',
        '{"messages": {}}',
        '{"messages": "text"}',
        line_of([{"role": "user", "content": "x"}] * 100),
        line_of(turns(100), tools=[]),
        line_of(turns(100)) + "x",
        line_of(turns(100))[:-1],
        line_of(turns(100)).replace("]}", ",]}"),
        line_of(turns(100)).replace('"hello 50"', '"hello\n50"'),
        "[1]",
        "",
    ],
)
def test_what_is_no_conversation_of_texts_is_not_accepted(line: str) -> None:
    assert not accepts(line)


@pytest.mark.parametrize(
    "hidden",
    ["[" * 950 + "]" * 950, "1" * 5000],
    ids=["nesting", "digits"],
)
@pytest.mark.parametrize("where", ["message", "record"])
def test_nothing_hides_behind_a_repeated_key(hidden: str, where: str) -> None:
    line = line_of(turns(100))
    if where == "message":
        line = line.replace('"content": "hello 50"', f'"content": {hidden}, "content": "hello 50"')
    else:
        line = f'{{"messages": {hidden}, ' + line[1:]
    assert check_line(line, "standard", "fine-tune").problems
    assert not accepts(line)


def test_a_text_without_a_place_to_cut_is_left_to_the_rules() -> None:
    assert not accepts(line_of(turns(2, "x" * 10_000)))


@pytest.mark.parametrize("seed", range(200))
def test_what_is_accepted_keeps_the_rules_and_has_no_oddity(seed: int) -> None:
    rng = random.Random(seed)
    messages: list[Any] = turns(rng.randint(0, 60), rng.choice(["a", "},{", 'x" ,', "é"]))
    for _ in range(rng.choice([0, 0, 1, 3])):
        odd = rng.choice(
            [
                {"role": rng.choice(["user", "system", "tool", "x", 1]), "content": "odd"},
                {"role": "user", "content": rng.choice(["", None, [], {}, 0])},
                {"role": "user", "content": "odd", rng.choice(["weight", "role "]): 1},
            ]
        )
        messages.insert(rng.randint(0, len(messages)), odd)
    line = line_of(messages)
    if rng.random() < 0.3:
        place = rng.randrange(len(line))
        line = line[:place] + rng.choice(["", '"', "{", "}", ",", "\\", " "]) + line[place + 1 :]
    rules: RuleSet = rng.choice(["strict", "standard"])
    parts = Parts()

    if accepts(line, strict=rules == "strict", parts=parts):
        verdict = check_line(line, rules, "fine-tune", with_warnings=True)
        assert (verdict.problems, verdict.warnings) == ((), ())
        assert verdict.dataset_format == "conversation"
        assert verdict.parts is not None
        assert verdict.parts.messages == parts.messages


@pytest.mark.parametrize("rules", ["strict", "standard", "basic"])
@pytest.mark.parametrize("purpose", ["fine-tune", "eval"])
def test_the_fast_path_takes_very_long_conversations_in_pieces(
    rules: RuleSet, purpose: Purpose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.validation.fast.LONG_LINE_BYTES", 2000)
    fast = FastPath(rules, purpose)
    line = bytearray(line_of(turns(100)).encode() + b"\n")

    if not fast.is_ready:
        assert fast.expect_long(line, 0, len(line))
    assert fast.rejected(line, [0, len(line)]) == []


def test_a_long_conversation_among_other_records_is_not_taken_for_one_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ingest.validation.fast.LONG_LINE_BYTES", 2000)
    fast = FastPath("standard", "fine-tune")
    fast.expect("general")
    line = bytearray(line_of(turns(100)).encode() + b"\n")

    assert fast.rejected(line, [0, len(line)]) == [0]


def test_a_long_line_says_nothing_of_the_keys_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.validation.fast.LONG_LINE_BYTES", 2000)
    fast = FastPath("standard", "fine-tune")
    long, short = (bytearray(line_of(turns(count)).encode() + b"\n") for count in (100, 2))
    assert fast.expect_long(long, 0, len(long))
    assert fast.rejected(long, [0, len(long)]) == []
    monkeypatch.setattr(fast, "_accepts_freely", lambda *_: False)

    assert fast.rejected(short, [0, len(short)]) == []
