"""Very long conversations, accepted piece by piece: a line of millions of small messages.

Called by ``fast.py``. Making an object of each message would take ten times the line's length, so
``messages`` is cut into pieces that are decoded one after another. Where to cut is guessed, and the
guess is proved: if ``[a]`` and ``[b]`` are both JSON arrays, ``[a,b]`` is one, of their items.

What is not accepted here is only *not yet* accepted, as in ``fast.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ingest.validation.counted import Parts
from ingest.validation.shapes import REFUSALS, is_string
from ingest.validation.structs import PlainMessage, StrictMessage

_PIECE_BYTES = 2**20
# A cut that is none is within a text, or in a content of items; a few tries get past most of them.
_MOST_TRIES = 16
_SEARCHED_BYTES = 2**18
_CUT = re.compile(rb"\}[ \t\r\n]*,")


class _Outer(Struct, gc=False, forbid_unknown_fields=True):
    messages: Raw


_decode_outer = msgspec.json.Decoder(_Outer).decode
_decode_each = msgspec.json.Decoder(list[Raw]).decode
_DECODE: dict[bool, Callable[[bytes], list[Any]]] = {
    True: msgspec.json.Decoder(list[StrictMessage]).decode,
    False: msgspec.json.Decoder(list[PlainMessage]).decode,
}


def accepts_conversation(
    line: memoryview, *, strict: bool, hidden_bytes: int, parts: Parts
) -> bool:
    """Whether a line is a conversation of plain texts without an oddity.

    Args:
        line: known to be UTF-8.
        strict: by the rule set ``strict``, else ``standard``.
        hidden_bytes: so many bytes besides keys and text could hide what the rules forbid.
        parts: where its messages are counted, if it is.
    """
    counted = Parts()
    previous: str | None = None
    try:
        messages = memoryview(_decode_outer(line).messages)
        if len(line) - len(messages) >= hidden_bytes or bytes(messages[:1]) != b"[":
            return False
        for piece in _pieces(messages):
            for message, raw in zip(_DECODE[strict](piece), _decode_each(piece), strict=True):
                role, content = message.role, message.content
                if (strict and role == previous) or not is_string(content):
                    return False
                if len(raw) - len(content) >= hidden_bytes:
                    return False
                previous = role
                _count(role, counted)
    except REFUSALS:
        return False
    if not counted.assistants:
        return False
    parts.add(counted)
    return True


def _count(role: str, parts: Parts) -> None:
    parts.messages += 1
    parts.assistants += role == "assistant"
    parts.users += role == "user"
    parts.systems += role == "system"


def _pieces(array: memoryview) -> Iterator[bytes]:
    """Cut a JSON array into shorter ones of the same items.

    Raises:
        ValueError: no place to cut was found.
    """
    begin, end = 1, len(array) - 1
    while end - begin > 2 * _PIECE_BYTES:
        target = begin + _PIECE_BYTES
        for tries, found in enumerate(_CUT.finditer(array, target, target + _SEARCHED_BYTES)):
            if tries == _MOST_TRIES:
                raise ValueError("no place to cut")
            piece = b"".join((b"[", array[begin : found.end() - 1], b"]"))
            if _is_array(piece):
                break
        else:
            raise ValueError("no place to cut")
        yield piece
        begin = found.end()
    yield b"".join((b"[", array[begin:end], b"]"))


def _is_array(text: bytes) -> bool:
    try:
        _decode_each(text)
    except REFUSALS:
        return False
    return True
