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
- It reads integers of any length, and nests deeper than the rules allow: lines long enough to
  hold such a thing are looked at first (``_is_plain``). Lone surrogates, NaN and Infinity it
  refuses; the rules accept them in their own time.
- Of a repeated key it keeps the last value, like Python, but refuses the record when an earlier
  one has the wrong type.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from ingest.files import Purpose, RuleSet
from ingest.rules.content import IMAGE_PREFIXES, MAX_IMAGE_URL_CHARACTERS, MAX_IMAGES
from ingest.rules.json_text import MAX_INTEGER_DIGITS, MAX_NESTING

_ABSENT = Raw()
_QUOTE, _BRACKET, _N = b'"[n'
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


class FastPath:
    """Accepts lines for one rule set and purpose, and for the dataset format met last.

    Most files have one format, so only one is tried. Until ``expect`` has named it, no line is
    accepted where formats apply.
    """

    def __init__(self, rules: RuleSet, purpose: Purpose) -> None:
        self._strict = rules == "strict"
        self._accepts: Callable[[memoryview], bool] | None = None
        self.dataset_format: str | None = None
        # Batch files are small, and their ids have to be read anyway.
        self._has_formats = purpose == "fine-tune" and rules != "basic"
        if purpose != "batch-api" and not self._has_formats:
            self._accepts = _accept_objects()

    @property
    def is_ready(self) -> bool:
        """Whether lines can be accepted; if not, a format has to be named, or none can be."""
        return self._accepts is not None or not self._has_formats

    def expect(self, dataset_format: str) -> None:
        """From now on accept lines of this format."""
        if self._has_formats and dataset_format != self.dataset_format:
            self.dataset_format = dataset_format
            self._accepts = _BY_FORMAT[dataset_format](self._strict)

    def rejected(self, buffer: bytearray, borders: list[int]) -> list[int]:
        """Return the indexes of the lines that are not accepted, in order.

        Args:
            buffer: holds the lines; they are UTF-8.
            borders: where lines begin in it, and the end of the last. A line may have its
                terminator, which is white space to JSON.
        """
        accepts = self._accepts
        if accepts is None:
            return list(range(len(borders) - 1))
        data = memoryview(buffer)
        rejected = []
        for index, (begin, end) in enumerate(pairwise(borders)):
            try:
                if (end - begin < _LONG_BYTES or _is_plain(buffer, begin, end)) and accepts(
                    data[begin:end]
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


def _accept_objects() -> Callable[[memoryview], bool]:
    decode = msgspec.json.Decoder(_Object).decode

    def accepts(line: memoryview) -> bool:
        decode(line)
        return True

    return accepts


def _accept_conversations(strict: bool) -> Callable[[memoryview], bool]:
    decode = msgspec.json.Decoder(_Conversation).decode
    are_valid = _strict_messages if strict else _standard_messages

    def accepts(line: memoryview) -> bool:
        record = decode(line)
        return are_valid(record.messages, True) and not (strict and record.tools is not _ABSENT)

    return accepts


def _accept_instructions(strict: bool) -> Callable[[memoryview], bool]:
    decode = msgspec.json.Decoder(_Instruction).decode

    def accepts(line: memoryview) -> bool:
        record = decode(line)
        return _is_string(record.prompt) and _is_string(record.completion)

    return accepts


def _accept_general(strict: bool) -> Callable[[memoryview], bool]:
    decode = msgspec.json.Decoder(_General).decode

    def accepts(line: memoryview) -> bool:
        return _is_string(decode(line).text)

    return accepts


def _accept_preferences(strict: bool) -> Callable[[memoryview], bool]:
    decode = msgspec.json.Decoder(_Preference).decode
    are_valid = _strict_messages if strict else _standard_messages

    def accepts(line: memoryview) -> bool:
        record = decode(line)
        messages = record.input.messages
        return (
            are_valid(messages, False)
            and messages[-1].role != "assistant"
            and _is_output(record.preferred_output[0], strict)
            and _is_output(record.non_preferred_output[0], strict)
        )

    return accepts


_BY_FORMAT: dict[str, Callable[[bool], Callable[[memoryview], bool]]] = {
    "conversation": _accept_conversations,
    "instruction": _accept_instructions,
    "general": _accept_general,
    "preference": _accept_preferences,
}


def _is_string(value: Raw) -> bool:
    return memoryview(value)[0] == _QUOTE


def _is_output(output: _Output, strict: bool) -> bool:
    if output.content is _ABSENT:
        return not strict and output.tool_calls is not _ABSENT
    return _is_string(output.content)


def _strict_messages(messages: list[_Message], needs_assistant: bool) -> bool:
    """Contents are all strings or all lists, and no role speaks twice in a row."""
    previous: str | None = None
    has_assistant = not needs_assistant
    all_strings = True
    for message in messages:
        role = message.role
        if role == previous or role == "tool" or message.content is _ABSENT:
            return False
        if memoryview(message.content)[0] != _QUOTE:
            all_strings = False
        if role == "assistant":
            has_assistant = True
        previous = role
    return has_assistant and previous is not None and (all_strings or _are_lists(messages))


def _standard_messages(messages: list[_Message], needs_assistant: bool) -> bool:
    """Contents are all strings or all lists; null and tool calls may stand for strings."""
    has_assistant = not needs_assistant
    all_strings = True
    for message in messages:
        role = message.role
        if role == "assistant":
            has_assistant = True
        if message.content is _ABSENT:
            if role != "assistant" or message.tool_calls is _ABSENT:
                return False
        elif (first := memoryview(message.content)[0]) != _QUOTE and first != _N:
            all_strings = False
    return has_assistant and bool(messages) and (all_strings or _are_lists(messages))


def _are_lists(messages: list[_Message]) -> bool:
    """Whether all contents are lists of valid items, with not too many images in all."""
    images = 0
    for message in messages:
        content = memoryview(message.content)
        if not content or content[0] != _BRACKET:
            return False
        for item in _decode_items(content):
            if item.type == "text":
                if item.text is _ABSENT or not _is_string(item.text):
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
