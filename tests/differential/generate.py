"""Seeded random dataset files: valid records, bent and broken in every way we could think of.

A file starts as valid records. Then some records are mutated as values (keys dropped, renamed,
added; values retyped, nested, replaced by odd ones), are written with random escapes, spacing and
repeated keys, are damaged as text, and are put together with random line ends, blank lines,
byte-order marks and bytes that are not UTF-8. The same seed makes the same files.

What the rules list as exceptions to "equals the reference" is kept out, as far as it would make
the comparison meaningless.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.files import Purpose

# A decoded record: JSON values, with `Token` for what Python cannot hold.
Value = Any


class Token(str):
    """A piece of JSON text to be written as it is (``-0``, ``1e400``, ``NaN``)."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """One generated file: what the readers and the vendor's clients are given."""

    suffix: str
    purpose: Purpose
    data: bytes

    def write(self, directory: Path) -> Path:
        """Write the file into a directory, in the place of the one before."""
        path = directory / f"data{self.suffix}"
        # A new inode: the vendor's process may still have the last file mapped into its memory,
        # and would die of a bus error if that were cut short.
        path.unlink(missing_ok=True)
        path.write_bytes(self.data)
        return path


STRINGS = (
    "", "hi", "What is 2 + 2?", " padded ", "é", "日本語", "😀", "line\nbreak", "tab\t", "cr\r",
    'quote"', "back\\slash", "\x00", "\x7f", "\x85", "\xa0", "\u2028", "\u2029", "\ufeff", "\u3000",
    "\ud800", "}{", "[", "]", '"}\n{"', "null", "0", "data:image/png;base64,", "\\u0041", "a" * 300,
)  # fmt: skip
ROLES: tuple[Value, ...] = (
    "system", "user", "assistant", "tool", "User", "assistant ", "", "function", None, 1,
    ["user"], {},
)  # fmt: skip
# No booleans: those pass in the reference by accident, which the rules list as an exception.
WEIGHTS: tuple[Value, ...] = (
    0, 1, 0, 1, Token("-0"), 2, -1, 1.0, 0.0, Token("1e0"), None, "1", [], {}, Token("NaN"),
    10**30,
)  # fmt: skip
# Not 0, 0.0, false or {}, for the same reason.
CONTENTS: tuple[Value, ...] = (
    "hello", "", None, [], 1, True, 1.5, [None], ["text"], [{}], [[]], {"type": "text"},
    [{"type": "text", "text": "a"}], [{"type": "text"}], [{"type": "text", "text": None}],
    [{"type": "text", "text": ""}, {"type": "text", "text": "b", "more": 1}], [{"type": ["text"]}],
    [{"text": "a"}], [{"type": "image"}], [{"type": None}], Token("NaN"),
)  # fmt: skip
URLS: tuple[Value, ...] = (
    "data:image/jpeg;base64,AAAA", "data:image/png;base64,AAAA", "data:image/webp;base64,",
    "data:image/gif;base64,AAAA", "data:image/JPEG;base64,AAAA", "https://example.com/a.png", "",
    None, 5, ["data:image/png;base64,"], " data:image/png;base64,AAAA", "data:image/png;base64",
)  # fmt: skip
TOKENS = tuple(
    Token(text)
    for text in (
        "0", "-0", "1", "2", "1.0", "-0.0", "1e0", "1E400", "-1e-400", "NaN", "Infinity",
        "-Infinity", "true", "false", "null", "{}", "[]", '""', '"\\ud800"', '"\\udc00\\ud800"',
        '"\\u0000"', "9" * 4300, "-" + "9" * 4300, "9" * 4301, "0." + "1" * 5000, "9" * 5000 + ".0",
        "01", "+1", ".5", "1.", "1e", "0x1", "'a'", "True", "None", "undefined", "nan", "-NaN",
        "- 1",
        '"\t"', '"\\x41"', '"\\u12"', '"\\', "[1,]", '{"a":1,}', "{a:1}", "//", "",
        "[" * 800 + "]" * 800,
        "[" * 20_000 + "]" * 20_000,
    )
)  # fmt: skip
KEYS = (
    "messages", "tools", "prompt", "completion", "text", "input", "preferred_output", "tool_calls",
    "non_preferred_output", "role", "content", "weight", "type", "image_url", "url", "id", " role",
    "Messages", "", "naïve", "a b",
)  # fmt: skip
BLANKS = (
    "",
    " ",
    "\t",
    "  \t ",
    "\xa0",
    "\u3000",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x85",
    "\u2028",
    "\ufeff",
)
NOT_UTF8 = (
    b"\xff",
    b"\xc3",
    b"\xe2\x80",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xf5\x80\x80\x80",
    b"\x80",
)


def generate_jsonl(rng: random.Random) -> DatasetFile:
    """Make one JSON Lines file."""
    make = rng.choice(tuple(_RECORDS))
    count = rng.choice((1, 1, 2, 3, 3, 5, 8, 60))
    lines = [_write(make(rng), rng) for _ in range(count)]
    for _ in range(rng.choice((0, 1, 1, 1, 1, 2))):
        at = rng.randrange(len(lines))
        lines[at] = _bad_line(make, rng)
    data = _join(lines, rng)
    if rng.random() < 0.03:
        data = _with_bytes_inserted(data, rng.choice(NOT_UTF8), rng)
    return DatasetFile(".jsonl", rng.choice(("fine-tune", "fine-tune", "fine-tune", "eval")), data)


def generate_csv(rng: random.Random) -> DatasetFile:
    """Make one CSV file."""
    width = rng.choice((1, 2, 3))
    cells = (
        "a", "b c", "", " ", '"x"', '"a,b"', '"a\nb"', '"a\r\nb"', '"a\rb"', '"a""b"', '"a"b',
        'a"b', '"open', "é", "\u2028", "\x0b", "\x00", "\ufeff", "'", "\\", '""', "x" * 3000,
    )  # fmt: skip
    weights = [8, 8, 4] + [1] * (len(cells) - 3)
    rows = []
    for _ in range(rng.choice((0, 1, 2, 3, 10))):
        row_width = width if rng.random() < 0.9 else rng.choice((1, 2, 3, 4))
        rows.append(",".join(rng.choices(cells, weights, k=row_width)))
        if rng.random() < 0.08:
            rows.append(rng.choice(("", "", " ", "\t", ",", '""')))
    if rng.random() < 0.1:
        rows.insert(0, rng.choice(("", " ", ",", '""', "\ufeff", '\ufeff"a,b"', '"a\nb"')))
    data = _join(rows, rng)
    if rng.random() < 0.03:
        data = _with_bytes_inserted(data, rng.choice(NOT_UTF8), rng)
    return DatasetFile(".csv", rng.choice(("eval", "eval", "eval", "eval", "fine-tune")), data)


# Records ------------------------------------------------------------------------------------------


def _string(rng: random.Random) -> str:
    return rng.choice(STRINGS) if rng.random() < 0.3 else f"sentence {rng.randrange(1000)}"


def _text_message(role: str, rng: random.Random) -> Value:
    message: Value = {"role": role, "content": _string(rng)}
    if rng.random() < 0.15:
        message["weight"] = rng.choice((0, 1, Token("-0")))
    return message


def _roles(rng: random.Random) -> list[str]:
    roles = ["system"] if rng.random() < 0.4 else []
    for _ in range(rng.choice((1, 1, 2, 3))):
        roles += ["user", "assistant"]
    return roles


def _conversation(rng: random.Random) -> Value:
    return {"messages": [_text_message(role, rng) for role in _roles(rng)]}


def _tool_conversation(rng: random.Random) -> Value:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        _text_message("user", rng),
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": _string(rng), "tool_call_id": "1"},
        {"role": "assistant", "content": rng.choice((None, "", [], "done")), "tool_calls": [call]},
    ]
    record: Value = {"messages": messages}
    if rng.random() < 0.7:
        record["tools"] = rng.choice(([], [{"type": "function"}], None, "x"))
    return record


def _image(rng: random.Random) -> Value:
    return {"type": "image_url", "image_url": {"url": rng.choice(URLS[:3])}}


def _items(role: str, images: int, rng: random.Random) -> Value:
    items = [{"type": "text", "text": _string(rng)} for _ in range(rng.choice((0, 1, 1, 2)))]
    if role == "user":
        items += [_image(rng) for _ in range(images)]
    rng.shuffle(items)
    return items


def _images(rng: random.Random) -> int:
    return rng.choice((0, 0, 1, 1, 2)) if rng.random() < 0.95 else rng.choice((5, 9, 10, 11))


def _image_conversation(rng: random.Random) -> Value:
    messages = [{"role": r, "content": _items(r, _images(rng), rng)} for r in _roles(rng)]
    if rng.random() < 0.3:
        rng.choice(messages)["weight"] = rng.choice((0, 0, 1))
    return {"messages": messages}


def _instruction(rng: random.Random) -> Value:
    record = {"prompt": _string(rng), "completion": _string(rng)}
    if rng.random() < 0.3:
        record["prompt"] = _items("user", _images(rng), rng)
    if rng.random() < 0.2:
        record["completion"] = _items("assistant", 0, rng)
    return record


def _general(rng: random.Random) -> Value:
    return {"text": _string(rng) if rng.random() < 0.7 else _items("user", _images(rng), rng)}


def _preference(rng: random.Random) -> Value:
    messages = [*_roles(rng), "user"]
    record: Value = {"input": {"messages": [_text_message(role, rng) for role in messages]}}
    if rng.random() < 0.2:
        record["input"]["tools"] = []
    for key in ("preferred_output", "non_preferred_output"):
        record[key] = [{"role": "assistant", "content": _string(rng)}]
        if rng.random() < 0.1:
            record[key][0] = {"role": "assistant", "tool_calls": []}
    return record


_RECORDS: tuple[Callable[[random.Random], Value], ...] = (
    _conversation,
    _conversation,
    _tool_conversation,
    _image_conversation,
    _image_conversation,
    _instruction,
    _general,
    _preference,
    _preference,
)

# Mutations of values ------------------------------------------------------------------------------


def _bad_line(make: Callable[[random.Random], Value], rng: random.Random) -> str:
    """Write a record that probably breaks a rule, or is not a record at all."""
    kind = rng.random()
    if kind < 0.06:
        return rng.choice(BLANKS)
    if kind < 0.10:
        return str(rng.choice(TOKENS))
    if kind < 0.16:
        return _write(rng.choice(_RECORDS)(rng), rng)
    record = copy.deepcopy(make(rng))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if rng.random() < 0.5:
            _mutate(record, rng)
        else:
            _bend(record, rng)
    text = _write(record, rng)
    return _damage(text, rng) if rng.random() < 0.25 else text


def _nodes(value: Value) -> list[Value]:
    """All objects and lists inside a value, itself included."""
    found, todo = [], [value]
    while todo:
        node = todo.pop()
        if isinstance(node, dict | list):
            found.append(node)
            todo += node.values() if isinstance(node, dict) else node
    return found


def _mutate(record: Value, rng: random.Random) -> None:
    node = rng.choice(_nodes(record))
    if isinstance(node, dict):
        _mutate_object(node, record, rng)
    else:
        _mutate_list(node, record, rng)


def _mutate_object(node: dict[str, Value], record: Value, rng: random.Random) -> None:
    kind = rng.randrange(6)
    if not node or kind == 0:
        key = rng.choice(KEYS)
        node[key] = _odd_value(key, record, rng)
        return
    key = rng.choice(tuple(node))
    if kind == 1:
        del node[key]
    elif kind == 2:
        value = node.pop(key)
        # A value moved below `weight` or `content` could be one of the listed exceptions.
        other = rng.choice([k for k in KEYS if k not in ("weight", "content")])
        node[other] = value
    else:
        node[key] = _odd_value(key, record, rng)


def _mutate_list(node: list[Value], record: Value, rng: random.Random) -> None:
    kind = rng.randrange(6)
    if not node or kind == 0:
        node.insert(rng.randint(0, len(node)), _odd_value("", record, rng))
    elif kind == 1:
        del node[rng.randrange(len(node))]
    elif kind == 2:
        node.insert(rng.randint(0, len(node)), copy.deepcopy(rng.choice(node)))
    elif kind == 3:
        node[rng.randrange(len(node))] = _odd_value("", record, rng)
    elif kind == 4:
        rng.shuffle(node)
    else:
        node.clear()


def _bend(record: dict[str, Value], rng: random.Random) -> None:
    """Change a record where the rules look: roles, weights, contents, images, formats."""
    messages = [node for node in _nodes(record) if isinstance(node, dict) and "role" in node]
    kind = rng.randrange(8) if messages else 0
    if kind == 0:
        record.update(rng.choice(_RECORDS)(rng))
        return
    message = rng.choice(messages)
    if kind == 1:
        message["role"] = copy.deepcopy(rng.choice(ROLES))
    elif kind == 2:
        message["weight"] = copy.deepcopy(rng.choice(WEIGHTS))
    elif kind == 3:
        message["content"] = copy.deepcopy(rng.choice(CONTENTS))
    elif kind == 4:
        message["content"] = _items("user", rng.choice((1, 9, 10, 11)), rng)
    elif kind == 5:
        message.pop("content", None)
        message[rng.choice(KEYS)] = rng.choice((None, [], "x"))
    elif kind == 6:
        for other in messages:
            other["role"] = message["role"]
    else:
        last = rng.choice(("user", "assistant", "tool"))
        for node in _nodes(record):
            if isinstance(node, list) and node and node[-1] in messages:
                node[-1]["role"] = last


def _odd_value(key: str, record: Value, rng: random.Random) -> Value:
    """A value that suits a key more or less."""
    by_key = {"role": ROLES, "weight": WEIGHTS, "content": CONTENTS, "url": URLS}
    if key in by_key:
        return copy.deepcopy(rng.choice(by_key[key]))
    if key == "type":
        return rng.choice(("text", "image_url", "image", None, ["text"], "Text"))
    kind = rng.random()
    if kind < 0.25:
        return rng.choice(TOKENS)
    if kind < 0.45:
        return copy.deepcopy(rng.choice(_nodes(record)))
    if kind < 0.65:
        return copy.deepcopy(rng.choice(CONTENTS))
    if kind < 0.75:
        return [_items("user", _images(rng), rng) for _ in range(rng.randrange(3))]
    return rng.choice((None, True, 0, 1, 1.5, "x", "", [], {}, [{}], [[]], [None], {"url": "x"}))


# Writing ------------------------------------------------------------------------------------------


def _write(value: Value, rng: random.Random) -> str:
    """Write a record on one line, with random spacing and escapes, and now and then a key twice."""
    loose = rng.random() < 0.2
    text = _write_value(value, loose, rng)
    # Mostly white space that is JSON's: a bad character here hides whatever else is wrong.
    if rng.random() < 0.05:
        text = rng.choice(BLANKS[:4]) + text
    if rng.random() < 0.05:
        text += rng.choice(BLANKS[:4])
    if rng.random() < 0.005:
        text = rng.choice(BLANKS) + text + rng.choice(BLANKS)
    return text


def _write_value(value: Value, loose: bool, rng: random.Random) -> str:
    gap = rng.choice(("", " ", "\t", "  ")) if loose else ""
    if isinstance(value, Token):
        return str(value)
    if isinstance(value, dict):
        pairs = [(k, _write_value(v, loose, rng)) for k, v in value.items()]
        if pairs and rng.random() < 0.01:
            # Of repeated keys the last counts, so one that comes first changes nothing ...
            pairs.insert(0, (rng.choice(pairs)[0], "0"))
        if pairs and rng.random() < 0.005:
            # ... and one that comes last does.
            pairs.append((rng.choice(pairs)[0], '"last"'))
        inner = f",{gap}".join(f"{_write_string(k, rng)}{gap}:{gap}{v}" for k, v in pairs)
        return f"{{{gap}{inner}{gap}}}"
    if isinstance(value, list):
        inner = f",{gap}".join(_write_value(v, loose, rng) for v in value)
        return f"[{gap}{inner}{gap}]"
    if isinstance(value, str):
        return _write_string(value, rng)
    return json.dumps(value)


def _write_string(value: str, rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.02:
        return '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in value) + '"'
    lone_surrogates = any("\ud800" <= c <= "\udfff" for c in value)
    return json.dumps(value, ensure_ascii=kind < 0.3 or lone_surrogates)


def _damage(text: str, rng: random.Random) -> str:
    """Break a line as text."""
    at = rng.randint(0, len(text))
    kind = rng.randrange(8)
    if kind == 0:
        return text[:at]
    if kind == 1:
        return text[:at] + text[at + 1 :]
    if kind == 2:
        return text[:at] + rng.choice('{}[]",:\\0 \x00\x0b\ufeff\xa0') + text[at:]
    if kind == 3:
        return text + rng.choice((",", "}", "{}", text, " x", "\x00", "//"))
    if kind == 4:
        return text[:at] + rng.choice(("\n", "\r", "\r\n", "\u2028", "\x85")) + text[at:]
    if kind == 5:
        return rng.choice(("[", "x", '"', "\ufeff", "\x00")) + text
    if kind == 6:
        return text.replace('"', "'", 2)
    return text.replace(":", "", 1)


def _join(lines: list[str], rng: random.Random) -> bytes:
    """Put lines together as a file."""
    lines = list(lines)
    for _ in range(rng.choice((0,) * 15 + (1, 2))):
        lines.insert(rng.randint(0, len(lines)), rng.choice(BLANKS))
    usual = rng.choice(("\n", "\n", "\n", "\r\n", "\r"))
    mixed = rng.random() < 0.1
    ends = [rng.choice(("\n", "\r\n", "\r", "\n\r")) if mixed else usual for _ in lines]
    if ends and rng.random() < 0.3:
        ends[-1] = ""
    text = "".join(line + end for line, end in zip(lines, ends, strict=True))
    if rng.random() < 0.03:
        text = "\ufeff" + text
    if rng.random() < 0.02:
        text += rng.choice(("\n", "\n\n", " ", "\r", "\x1a", "\x00", "\n "))
    # Generated text may hold lone surrogates only in its escapes.
    return text.encode("utf-8", errors="replace")


def _with_bytes_inserted(data: bytes, inserted: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + inserted + data[at:]
