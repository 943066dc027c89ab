"""Text to value, exactly as Python's ``json`` reads it, but safe and the same on every machine.

Called by ``records.py`` alone. The reference reads lines with ``json.loads``, so NaN, Infinity,
lone surrogate escapes and repeated keys pass. Python's own reader depends on its surroundings in
two ways, which are evened out here: how deep it can nest depends on how deep the caller's stack
already is, and how long an integer may be is a setting of the interpreter.

Of a very long text, messages that are alike to the rules are one object, so that a conversation of
millions of them takes no more memory than its text.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass

from ingest.rules.advisories import is_plain
from ingest.rules.conversation import ROLES_STANDARD
from ingest.rules.verdict import show

MAX_NESTING = 900
MAX_INTEGER_DIGITS = 4300

_LONG_CHARACTERS = 2**24

_QUOTE_OR_BRACKET = re.compile(r'["\[\]{}]')
_QUOTE_OR_ESCAPE = re.compile(r'["\\]')
# What comes out at the depth at which it goes in: scalars, and objects of some scalars. All counts
# have limits, since each turn of a group takes memory; their product is what a match can take.
_SCALARS = r'(?:[^"\[\]{}]|"[^"\\]*(?:\\.[^"\\]*){0,20}")'
_FLAT = re.compile(rf"(?:{_SCALARS}|\{{{_SCALARS}{{0,64}}\}}){{0,50}}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class JsonFault:
    """Why a text was not read: a rule's code and the message for it."""

    code: str
    message: str


_TOO_DEEP = JsonFault(
    "json.too_deep", f"expected nesting of at most {MAX_NESTING} levels, found more"
)


def read_json(text: str) -> object | JsonFault:
    """Decode one JSON text, or say why it cannot be read.

    Args:
        text: the line without its line end. Space and tab around the value are allowed.

    Returns:
        The value (dict, list, str, int, float, bool or None), or a ``JsonFault``.
    """
    if nesting_exceeds(text, MAX_NESTING):
        return _TOO_DEEP
    try:
        return _decode(text)
    except RecursionError:
        return _read_on_fresh_stack(text)
    except ValueError as error:
        return _fault(text, error)


def nesting_exceeds(text: str, levels: int) -> bool:
    """Whether brackets, outside of strings, are open more than ``levels`` deep anywhere."""
    if text.count("{") + text.count("[") <= levels:
        return False
    depth = position = 0
    while match := _QUOTE_OR_BRACKET.search(text, _after_flat(text, position, levels - depth)):
        position = match.end()
        mark = match[0]
        if mark == '"':
            position = _end_of_string(text, position)
        elif mark in ("{", "["):
            depth += 1
            if depth > levels:
                return True
        else:
            depth -= 1
    return False


def _after_flat(text: str, position: int, levels_left: int) -> int:
    """Past what needs no more than one of the levels that are left: most of a record, at speed."""
    flat = _FLAT.match(text, position) if levels_left else None
    return flat.end() if flat else position


def _end_of_string(text: str, position: int) -> int:
    """Where a string that has begun before ``position`` ends, be it only with the text.

    Not one expression for the whole string: that would take memory for each escape in it.
    """
    while match := _QUOTE_OR_ESCAPE.search(text, position):
        position = match.end()
        if match[0] == '"':
            return position
        position += 1
    return len(text)


def _parse_int(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_INTEGER_DIGITS:
        raise ValueError(f"an integer of more than {MAX_INTEGER_DIGITS:,} digits")
    return int(digits)


# By the order of the keys too: messages about a whole record show it.
_ALIKE: dict[tuple[object, ...], dict[str, object]] = {
    (*keys, role, bool(content)): {key: {"role": role, "content": content}[key] for key in keys}
    for keys in (("role", "content"), ("content", "role"))
    for role in ROLES_STANDARD
    for content in ("", "a text")
}


def _shared(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The object of these keys and values, or one that the rules cannot tell from it.

    They look at the role of a message, and at a content that is a string only for being one, for
    being empty and for oddities; and they only read.
    """
    record = dict(pairs)
    if len(pairs) == 2 and record.keys() == {"role", "content"}:
        role, content = record["role"], record["content"]
        if isinstance(role, str) and isinstance(content, str) and is_plain(content):
            return _ALIKE.get((*record, role, bool(content)), record)
    return record


_decoder = json.JSONDecoder(parse_int=_parse_int)
_sharing_decoder = json.JSONDecoder(parse_int=_parse_int, object_pairs_hook=_shared)


def _decode(text: str) -> object:
    decoder = _decoder if len(text) <= _LONG_CHARACTERS else _sharing_decoder
    value: object = decoder.decode(text)
    return value


def _read_on_fresh_stack(text: str) -> object | JsonFault:
    """Decode in a thread of its own, whose stack holds nothing but the decoder."""
    outcome: list[object | JsonFault] = []

    def run() -> None:
        try:
            outcome.append(_decode(text))
        except ValueError as error:
            outcome.append(_fault(text, error))
        except RecursionError:
            outcome.append(_TOO_DEEP)

    thread = threading.Thread(target=run, name="deep-json")
    thread.start()
    thread.join()
    return outcome[0]


def _fault(text: str, error: ValueError) -> JsonFault:
    if isinstance(error, json.JSONDecodeError):
        return JsonFault("json.malformed", _fault_message(text, error.msg, error.pos))
    return JsonFault("json.malformed", f"expected JSON, found {error}")


def _fault_message(text: str, reason: str, position: int) -> str:
    if not text.strip(" \t\n\r"):
        return "expected a JSON object, found a blank line"
    if position >= len(text):
        return f"expected JSON, found the end of the line at column {position + 1}: {reason}"
    found = show(text[position : position + 20])
    return f"expected JSON, found a fault at column {position + 1}, before {found}: {reason}"
