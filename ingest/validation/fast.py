"""The fast path: accepts most valid lines without decoding their text.

Called by ``jsonl.py`` for lines that are known to be UTF-8. It may be stricter than
``ingest.rules``, never laxer: what it accepts, ``check_line`` accepts, with the same dataset
format; what it does not accept is only *not yet* accepted, and goes to ``check_line``.
``tests/validation/test_fast.py`` holds it to that.

msgspec checks a line's JSON and decodes its skeleton into typed structs, while text stays
``Raw``: a view of bytes whose syntax (escapes, control characters) is checked but of which no
string is made. Measured on one core of one machine, conversations of 0.8 and 3 kB a line, in
MB/s: this 450 and 1,100; the same with text as ``str`` 430 and 750; one RE2 regular expression
per batch in Arrow 550 and 620; the vendor's check 61 and 138 (``benchmarks/validation.py``).

Where msgspec reads otherwise than Python's ``json``, and what is done about it:

- It takes newlines as white space, so several records on a line, or one record on several, pass
  ``decode_lines``: here each line is decoded by itself.
- It does not look at the UTF-8 of what it skips: Arrow has, for the whole batch.
- It reads integers of any length, and nests deeper than the rules allow. A line that is long
  enough to hold such a thing besides its text is searched for it (``_is_plain``).
- Lone surrogates, NaN and Infinity it refuses; the rules accept them in their own time.
- Of a repeated key it keeps the last value, like Python, but refuses the record when an earlier
  one has the wrong type.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from ingest.files import Purpose, RuleSet
from ingest.rules.content import IMAGE_PREFIXES, MAX_IMAGE_URL_CHARACTERS, MAX_IMAGES
from ingest.rules.json_text import MAX_INTEGER_DIGITS, MAX_NESTING

# Stands for a key that is not there; no JSON value begins like it.
_ABSENT = Raw(b"~")
_first_byte = struct.Struct("c").unpack_from
_STRING, _LIST, _NULL = (b'"',), (b"[",), (b"n",)
# The longest one, jpeg's, comes first.
_QUOTED_PREFIXES = tuple(f'"{prefix}'.encode() for prefix in sorted(IMAGE_PREFIXES, key=len)[::-1])

# Nesting takes two bytes a level, so a line has to be this long to be too deep.
_LONG_BYTES = 2 * MAX_NESTING
# An integer of too many digits covers four samples in a row that are so far apart.
_SAMPLE_STEP = MAX_INTEGER_DIGITS // 4 - 1
_FOUR_DIGITS = re.compile(rb"[0-9]{4}")

_REFUSALS = (msgspec.MsgspecError, RecursionError, ValueError)


class _Message(Struct, gc=False):
    role: Literal["system", "user", "assistant", "tool"]
    content: Raw = _ABSENT
    tool_calls: Raw = _ABSENT
    weight: Literal[0, 1] = 0


class _Conversation(Struct, gc=False, forbid_unknown_fields=True):
    messages: list[_Message]
    tools: Raw = _ABSENT


class _Instruction(Struct, gc=False, forbid_unknown_fields=True):
    prompt: Raw
    completion: Raw


class _General(Struct, gc=False, forbid_unknown_fields=True):
    text: Raw


class _Input(Struct, gc=False):
    messages: list[_Message]


class _Output(Struct, gc=False):
    role: Literal["assistant"]
    content: Raw = _ABSENT
    tool_calls: Raw = _ABSENT


class _Preference(Struct, gc=False, forbid_unknown_fields=True):
    input: _Input
    preferred_output: tuple[_Output]
    non_preferred_output: tuple[_Output]


class _Image(Struct, gc=False):
    url: Raw


class _Item(Struct, gc=False):
    type: Literal["text", "image_url"]
    text: Raw = _ABSENT
    image_url: _Image | None = None


class _Object(Struct, gc=False):
    """Any object: all keys are unknown, and are skipped."""


@dataclass(frozen=True, slots=True)
class _Way:
    """How lines of one format are accepted.

    Attributes:
        decode: a line to a struct; raises what does not fit.
        is_valid: whether the struct obeys the rules that its types cannot tell.
        text_bytes: how much of the line is strings in known places, which can hide nothing.
    """

    decode: Callable[[memoryview], Any]
    is_valid: Callable[[Any], bool]
    text_bytes: Callable[[Any], int]


class FastPath:
    """Accepts lines for one rule set and purpose, and for the dataset format met last.

    Most files have one format, so only one is tried. Until ``expect`` has named it, no line is
    accepted where formats apply.
    """

    def __init__(self, rules: RuleSet, purpose: Purpose) -> None:
        self._strict = rules == "strict"
        self._has_formats = purpose == "fine-tune" and rules != "basic"
        # Batch files are small, and their ids have to be decoded anyway.
        self._way = _OBJECTS if purpose != "batch-api" and not self._has_formats else None
        self.dataset_format: str | None = None

    @property
    def is_ready(self) -> bool:
        """Whether lines can be accepted; if not, a format has to be named, or none can be."""
        return self._way is not None or not self._has_formats

    def expect(self, dataset_format: str) -> None:
        """From now on accept lines of this format, where formats apply."""
        if self._has_formats:
            self.dataset_format = dataset_format
            self._way = (_STRICT if self._strict else _STANDARD)[dataset_format]

    def rejected(self, buffer: bytearray, borders: list[int]) -> list[int]:
        """Return the indexes of the lines that are not accepted, in order.

        Args:
            buffer: holds the lines; they are UTF-8.
            borders: where lines begin in it, and the end of the last. A line may have its
                terminator, which is white space to JSON.
        """
        if self._way is None:
            return list(range(len(borders) - 1))
        decode, is_valid, text_bytes = self._way.decode, self._way.is_valid, self._way.text_bytes
        data = memoryview(buffer)
        rejected = []
        for index, (begin, end) in enumerate(pairwise(borders)):
            try:
                record = decode(data[begin:end])
                if is_valid(record) and (
                    end - begin < _LONG_BYTES
                    or end - begin - text_bytes(record) < _LONG_BYTES
                    or _is_plain(buffer, begin, end)
                ):
                    continue
            except _REFUSALS:
                pass
            rejected.append(index)
        return rejected


def _is_plain(buffer: bytearray, begin: int, end: int) -> bool:
    """Whether a line can hold neither too deep a nesting nor an integer of too many digits."""
    brackets = buffer.count(b"{", begin, end) + buffer.count(b"[", begin, end)
    if brackets > MAX_NESTING:
        return False
    return not _FOUR_DIGITS.search(buffer[begin:end:_SAMPLE_STEP])


def _is_string(value: Raw) -> bool:
    return _first_byte(value) == _STRING


def _is_strict_conversation(record: _Conversation) -> bool:
    return record.tools is _ABSENT and _are_strict_messages(record.messages, True)


def _is_standard_conversation(record: _Conversation) -> bool:
    return _are_standard_messages(record.messages, True)


def _are_strict_messages(messages: list[_Message], needs_assistant: bool) -> bool:
    """Contents are all strings or all lists, and no role speaks twice in a row."""
    previous: str | None = None
    has_assistant = not needs_assistant
    all_strings = True
    for message in messages:
        role = message.role
        if role == previous or role == "tool":
            return False
        if role == "assistant":
            has_assistant = True
        if _first_byte(message.content) != _STRING:
            all_strings = False
        previous = role
    return has_assistant and previous is not None and (all_strings or _are_lists(messages))


def _are_standard_messages(messages: list[_Message], needs_assistant: bool) -> bool:
    """Contents are all strings or all lists; null and tool calls may stand for strings."""
    has_assistant = not needs_assistant
    all_strings = True
    for message in messages:
        if message.role == "assistant":
            has_assistant = True
        if _first_byte(message.content) != _STRING:
            all_strings = False
    return (
        has_assistant
        and bool(messages)
        and (all_strings or all(map(_is_passed_over, messages)) or _are_lists(messages))
    )


def _is_passed_over(message: _Message) -> bool:
    """Whether a content is a string, or one that goes with strings in ``standard``."""
    if message.content is _ABSENT:
        return message.role == "assistant" and message.tool_calls is not _ABSENT
    return _first_byte(message.content) in (_STRING, _NULL)


def _are_lists(messages: list[_Message]) -> bool:
    """Whether all contents are lists of valid items, with not too many images in all."""
    images = 0
    for message in messages:
        if _first_byte(message.content) != _LIST:
            return False
        for item in _decode_items(message.content):
            if item.type == "text":
                if not _is_string(item.text):
                    return False
            elif message.role != "user" or message.weight or not _is_image(item):
                return False
            else:
                images += 1
    return images <= MAX_IMAGES


_decode_items = msgspec.json.Decoder(list[_Item]).decode


def _is_image(item: _Item) -> bool:
    if item.image_url is None:
        return False
    url = memoryview(item.image_url.url)
    # With its quotes and escapes it is never shorter than the string it stands for.
    return (
        bytes(url[: len(_QUOTED_PREFIXES[0])]).startswith(_QUOTED_PREFIXES)
        and len(url) <= MAX_IMAGE_URL_CHARACTERS
    )


def _is_strict_preference(record: _Preference) -> bool:
    return _is_preference(record, _are_strict_messages) and all(
        _is_string(output[0].content)
        for output in (record.preferred_output, record.non_preferred_output)
    )


def _is_standard_preference(record: _Preference) -> bool:
    return _is_preference(record, _are_standard_messages) and all(
        _is_string(output.content)
        or (output.content is _ABSENT and output.tool_calls is not _ABSENT)
        for output in (record.preferred_output[0], record.non_preferred_output[0])
    )


def _is_preference(
    record: _Preference, are_messages: Callable[[list[_Message], bool], bool]
) -> bool:
    messages = record.input.messages
    return are_messages(messages, False) and messages[-1].role != "assistant"


def _text_bytes_of(messages: list[_Message]) -> int:
    return sum(
        len(message.content) for message in messages if _first_byte(message.content) == _STRING
    )


_OBJECTS = _Way(msgspec.json.Decoder(_Object).decode, lambda record: True, lambda record: 0)
_GENERAL = _Way(
    msgspec.json.Decoder(_General).decode,
    lambda record: _is_string(record.text),
    lambda record: len(record.text),
)
_INSTRUCTION = _Way(
    msgspec.json.Decoder(_Instruction).decode,
    lambda record: _is_string(record.prompt) and _is_string(record.completion),
    lambda record: len(record.prompt) + len(record.completion),
)


def _ways(
    is_conversation: Callable[[_Conversation], bool], is_preference: Callable[[_Preference], bool]
) -> dict[str, _Way]:
    return {
        "conversation": _Way(
            msgspec.json.Decoder(_Conversation).decode,
            is_conversation,
            lambda record: _text_bytes_of(record.messages),
        ),
        "instruction": _INSTRUCTION,
        "general": _GENERAL,
        "preference": _Way(
            msgspec.json.Decoder(_Preference).decode,
            is_preference,
            lambda record: (
                _text_bytes_of(record.input.messages)
                + _text_bytes_of(record.preferred_output)
                + _text_bytes_of(record.non_preferred_output)
            ),
        ),
    }


_STRICT = _ways(_is_strict_conversation, _is_strict_preference)
_STANDARD = _ways(_is_standard_conversation, _is_standard_preference)
