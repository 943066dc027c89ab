"""The fast path: accepts most valid lines without decoding their text.

Called by ``jsonl.py`` for lines that are known to be UTF-8. It may be stricter than
``ingest.rules``, never laxer: what it accepts, ``check_line`` accepts, with the same dataset
format; what it does not accept is only *not yet* accepted, and goes to ``check_line``.
``tests/validation/test_fast.py`` holds it to that.

msgspec checks a line's JSON and decodes its skeleton into typed structs, while text stays
``Raw``: a view of bytes whose syntax (escapes, control characters) is checked but of which no
string is made. Measured on one core, this step alone, conversations of 0.8 and 2 kB a line, in
MB/s: this 480 and 1,000; with text as ``str`` 430 and 750; pysimdjson 320 and 620; one RE2
expression a batch in Arrow 550 and 600. The vendor's whole check makes 62 and 115 of the same
lines (``benchmarks/validation.py``).

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from ingest.files import Purpose, RuleSet
from ingest.rules.content import IMAGE_PREFIXES, MAX_IMAGE_URL_CHARACTERS, MAX_IMAGES
from ingest.rules.json_text import MAX_INTEGER_DIGITS, MAX_NESTING

_INVALID = -1

# Stands for a key that is not there; no JSON value begins like it.
_ABSENT = Raw(b"~")
_NULL = Raw(b"null")
# Of all JSON values only strings sort before this. Comparing is the fastest way to look at the
# first byte of a Raw, which has no white space around it.
_AFTER_STRINGS = bytearray(b"#")
# The longest one, jpeg's, comes first.
_QUOTED_PREFIXES = tuple(f'"{prefix}'.encode() for prefix in sorted(IMAGE_PREFIXES, key=len)[::-1])

# Nesting takes two bytes a level, so a line has to be this long to be too deep.
_LONG_BYTES = 2 * MAX_NESTING
# An integer of too many digits covers sixteen samples in a row, taken this far apart. In other
# data (base64, say) so many of them are hardly ever all digits.
_SAMPLE_STEP = MAX_INTEGER_DIGITS // 16
_SIXTEEN_DIGITS = re.compile(rb"[0-9]{16}")

_REFUSALS = (msgspec.MsgspecError, RecursionError, ValueError)


class _Message(Struct, gc=False):
    role: Literal["system", "user", "assistant", "tool"]
    content: Raw = _ABSENT
    tool_calls: Raw = _ABSENT
    weight: Literal[0, 1] = 0


class _StrictMessage(Struct, gc=False):
    role: Literal["system", "user", "assistant"]
    content: Raw
    weight: Literal[0, 1] = 0


class _Conversation(Struct, gc=False, forbid_unknown_fields=True):
    messages: list[_Message]
    tools: Raw = _ABSENT


class _StrictConversation(Struct, gc=False, forbid_unknown_fields=True):
    messages: list[_StrictMessage]


class _Instruction(Struct, gc=False, forbid_unknown_fields=True):
    prompt: Raw
    completion: Raw


class _General(Struct, gc=False, forbid_unknown_fields=True):
    text: Raw


class _Input(Struct, gc=False):
    messages: list[_Message]


class _StrictInput(Struct, gc=False):
    messages: list[_StrictMessage]


class _Output(Struct, gc=False):
    role: Literal["assistant"]
    content: Raw = _ABSENT
    tool_calls: Raw = _ABSENT


class _Preference(Struct, gc=False, forbid_unknown_fields=True):
    input: _Input
    preferred_output: tuple[_Output]
    non_preferred_output: tuple[_Output]


class _StrictPreference(Struct, gc=False, forbid_unknown_fields=True):
    input: _StrictInput
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
class _Acceptor:
    """How lines of one format are accepted.

    Attributes:
        decode: a line to a struct; raises what does not fit.
        text_bytes: ``_INVALID`` if the struct breaks a rule that its types cannot tell; else, if
            the line is long, how much of it is known to be text, which can hide nothing.
    """

    decode: Callable[[memoryview], Any]
    text_bytes: Callable[[Any, bool], int]


class FastPath:
    """Accepts lines for one rule set and purpose, and for the dataset format met last.

    Most files have one format, so only one is tried. Until ``expect`` has named it, no line is
    accepted where formats apply.
    """

    def __init__(self, rules: RuleSet, purpose: Purpose) -> None:
        self._strict = rules == "strict"
        self._has_formats = purpose == "fine-tune" and rules != "basic"
        # Batch files are small, and their ids have to be decoded anyway.
        self._acceptor = _OBJECTS if purpose != "batch-api" and not self._has_formats else None
        self.dataset_format: str | None = None

    @property
    def is_ready(self) -> bool:
        """Whether lines can be accepted; if not, a format has to be named, or none can be."""
        return self._acceptor is not None or not self._has_formats

    def expect(self, dataset_format: str) -> None:
        """From now on accept lines of this format, where formats apply."""
        if self._has_formats:
            self.dataset_format = dataset_format
            self._acceptor = (_STRICT if self._strict else _STANDARD)[dataset_format]

    def rejected(self, buffer: bytearray, borders: list[int]) -> list[int]:
        """Return the indexes of the lines that are not accepted, in order.

        Args:
            buffer: holds the lines; they are UTF-8.
            borders: where lines begin in it, and the end of the last. A line may have its
                terminator, which is white space to JSON.
        """
        if self._acceptor is None:
            return list(range(len(borders) - 1))
        decode, text_bytes = self._acceptor.decode, self._acceptor.text_bytes
        data = memoryview(buffer)
        rejected = []
        for index, (begin, end) in enumerate(pairwise(borders)):
            length = end - begin
            try:
                text = text_bytes(decode(data[begin:end]), length >= _LONG_BYTES)
            except _REFUSALS:
                text = _INVALID
            if text == _INVALID or (
                length - text >= _LONG_BYTES and not _is_plain(buffer, begin, end)
            ):
                rejected.append(index)
        return rejected


def _is_plain(buffer: bytearray, begin: int, end: int) -> bool:
    """Whether a line can hold neither too deep a nesting nor an integer of too many digits."""
    brackets = buffer.count(b"{", begin, end) + buffer.count(b"[", begin, end)
    if brackets > MAX_NESTING:
        return False
    return not _SIXTEEN_DIGITS.search(buffer[begin:end:_SAMPLE_STEP])


def _is_string(value: Raw) -> bool:
    return _AFTER_STRINGS.__gt__(value)


def _strict_text_bytes(
    record: _StrictConversation | _StrictInput, is_long: bool, needs_assistant: bool = True
) -> int:
    """Contents are all strings or all lists, and no role speaks twice in a row."""
    text_bytes = 0
    previous: str | None = None
    has_assistant = not needs_assistant
    all_strings, after_strings = True, _AFTER_STRINGS
    for message in record.messages:
        role, content = message.role, message.content
        if role == previous:
            return _INVALID
        if role == "assistant":
            has_assistant = True
        if not after_strings > content:
            all_strings = False
        if is_long:
            text_bytes += len(content)
        previous = role
    if not has_assistant or previous is None:
        return _INVALID
    return text_bytes if all_strings else _valid_if(_are_lists(record.messages))


def _standard_text_bytes(
    record: _Conversation | _Input, is_long: bool, needs_assistant: bool = True
) -> int:
    """Contents are all strings or all lists; null and tool calls may stand for strings."""
    text_bytes = 0
    has_assistant = not needs_assistant
    all_strings, after_strings = True, _AFTER_STRINGS
    for message in record.messages:
        content = message.content
        if message.role == "assistant":
            has_assistant = True
        if not after_strings > content:
            all_strings = False
        if is_long:
            text_bytes += len(content)
    if not has_assistant or not record.messages:
        return _INVALID
    if all_strings or all(map(_is_passed_over, record.messages)):
        return text_bytes
    return _valid_if(_are_lists(record.messages))


def _valid_if(is_valid: bool) -> int:
    return 0 if is_valid else _INVALID


def _is_passed_over(message: _Message) -> bool:
    """Whether a content is a string, or one that goes with strings in ``standard``."""
    if message.content is _ABSENT:
        return message.role == "assistant" and message.tool_calls is not _ABSENT
    return _is_string(message.content) or message.content == _NULL


def _are_lists(messages: Sequence[_Message | _StrictMessage]) -> bool:
    """Whether all contents are lists of valid items, with not too many images in all."""
    images = 0
    for message in messages:
        # Anything but a list is refused here.
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


def _strict_preference_bytes(record: _StrictPreference, is_long: bool) -> int:
    conversation_bytes = _strict_text_bytes(record.input, is_long, needs_assistant=False)
    return _preference_bytes(record, conversation_bytes, lambda output: False)


def _standard_preference_bytes(record: _Preference, is_long: bool) -> int:
    conversation_bytes = _standard_text_bytes(record.input, is_long, needs_assistant=False)
    return _preference_bytes(
        record,
        conversation_bytes,
        lambda output: output.content is _ABSENT and output.tool_calls is not _ABSENT,
    )


def _preference_bytes(
    record: _Preference | _StrictPreference,
    conversation_bytes: int,
    needs_no_content: Callable[[_Output], bool],
) -> int:
    if conversation_bytes == _INVALID or record.input.messages[-1].role == "assistant":
        return _INVALID
    for output in (*record.preferred_output, *record.non_preferred_output):
        if _is_string(output.content):
            conversation_bytes += len(output.content)
        elif not needs_no_content(output):
            return _INVALID
    return conversation_bytes


def _strings_bytes(*values: Raw) -> int:
    return sum(map(len, values)) if all(map(_is_string, values)) else _INVALID


_OBJECTS = _Acceptor(msgspec.json.Decoder(_Object).decode, lambda record, is_long: 0)
_GENERAL = _Acceptor(
    msgspec.json.Decoder(_General).decode, lambda record, is_long: _strings_bytes(record.text)
)
_INSTRUCTION = _Acceptor(
    msgspec.json.Decoder(_Instruction).decode,
    lambda record, is_long: _strings_bytes(record.prompt, record.completion),
)
_STRICT = {
    "conversation": _Acceptor(msgspec.json.Decoder(_StrictConversation).decode, _strict_text_bytes),
    "instruction": _INSTRUCTION,
    "general": _GENERAL,
    "preference": _Acceptor(
        msgspec.json.Decoder(_StrictPreference).decode, _strict_preference_bytes
    ),
}
_STANDARD = {
    "conversation": _Acceptor(msgspec.json.Decoder(_Conversation).decode, _standard_text_bytes),
    "instruction": _INSTRUCTION,
    "general": _GENERAL,
    "preference": _Acceptor(msgspec.json.Decoder(_Preference).decode, _standard_preference_bytes),
}
