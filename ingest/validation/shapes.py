"""The shapes of records that the fast path decodes lines into, and what types cannot tell of them.

Called by ``fast.py``. Each dataset format has shapes of two kinds. *Known* ones have the keys that
are usual and refuse others, so a record that fits one holds nothing unseen: no untrimmed key, no
number that overflows. The *free* one lets other keys pass wherever the rules do; who uses it has
to look for oddities besides.

Text stays ``Raw``: a view of bytes whose syntax msgspec has checked, but of which no string is
made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ingest.rules.advisories import are_functions, is_plain
from ingest.rules.content import IMAGE_PREFIXES, MAX_IMAGE_URL_CHARACTERS, MAX_IMAGES
from ingest.validation import structs
from ingest.validation.counted import Parts
from ingest.validation.structs import ABSENT

INVALID = -1

REFUSALS = (msgspec.MsgspecError, RecursionError, ValueError)
"""What decoding raises for what does not fit."""

LONG_LINE_BYTES = 2**25
"""Nothing of a line above this is made a string of more than one byte a character."""

_NULL = Raw(b"null")
# Of all JSON values only strings sort before this. Comparing is the fastest way to look at the
# first byte of a Raw, which has no white space around it.
_AFTER_STRINGS = bytearray(b"#")
# The longest one, jpeg's, comes first.
_QUOTED_PREFIXES = tuple(f'"{prefix}'.encode() for prefix in sorted(IMAGE_PREFIXES, key=len)[::-1])

_CACHED_TOOLS_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Shape:
    """How lines of one format are accepted.

    Attributes:
        decode: a line to a struct; raises what does not fit.
        text_bytes: ``INVALID`` if the struct breaks a rule that its types cannot tell; else, if
            the line is long (the second argument), how much of it is known to be text, which can
            hide nothing. The parts of a valid record are added to the third argument.
        in_pieces: very long lines are for ``long_lines.py``.
    """

    decode: Callable[[memoryview], Any]
    text_bytes: Callable[[Any, bool, Parts], int]
    in_pieces: bool = False


@dataclass(frozen=True, slots=True)
class Shapes:
    """The shapes of one format.

    Attributes:
        known: from the leanest, which is the fastest, to that with all usual keys.
        free: lets other keys pass.
    """

    known: tuple[Shape, ...]
    free: Shape


def is_string(value: Raw) -> bool:
    """Whether a value of JSON is a string."""
    return _AFTER_STRINGS.__gt__(value)


def _strict_text_bytes(
    record: structs.StrictConversation | structs.StrictInput,
    is_long: bool,
    parts: Parts,
    needs_assistant: bool = True,
) -> int:
    """Contents are all strings or all lists, and no role speaks twice in a row."""
    messages = record.messages
    text_bytes = assistants = users = systems = 0
    previous: str | None = None
    all_strings, after_strings = True, _AFTER_STRINGS
    for message in messages:
        role, content = message.role, message.content
        if role == previous:
            return INVALID
        if role == "assistant":
            assistants += 1
        elif role == "user":
            users += 1
        elif role == "system":
            systems += 1
        if not after_strings > content:
            all_strings = False
        if is_long:
            text_bytes += len(content)
        previous = role
    if previous is None or (needs_assistant and not assistants):
        return INVALID
    if not all_strings:
        text_bytes = _list_bytes(messages, parts)
        if text_bytes == INVALID:
            return INVALID
    parts.messages += len(messages)
    parts.assistants += assistants
    parts.users += users
    parts.systems += systems
    return text_bytes


def _standard_text_bytes(
    record: structs.Conversation | structs.Input,
    is_long: bool,
    parts: Parts,
    needs_assistant: bool = True,
) -> int:
    """Contents are all strings or all lists; null and tool calls may stand for strings."""
    messages = record.messages
    text_bytes = assistants = users = systems = 0
    are_texts, after_strings = True, _AFTER_STRINGS
    for message in messages:
        role, content = message.role, message.content
        if role == "assistant":
            assistants += 1
        elif role == "user":
            users += 1
        elif role == "system":
            systems += 1
        if not after_strings > content and are_texts and not _is_passed_over(message):
            are_texts = False
        if is_long:
            text_bytes += len(content)
    if not messages or (needs_assistant and not assistants):
        return INVALID
    if record.tools is not ABSENT and not _are_plain_functions(record.tools):
        return INVALID
    if not are_texts:
        text_bytes = _list_bytes(messages, parts)
        if text_bytes == INVALID:
            return INVALID
    parts.messages += len(messages)
    parts.assistants += assistants
    parts.users += users
    parts.systems += systems
    return text_bytes


def _is_passed_over(message: structs.Message) -> bool:
    """Whether a content is a string, or one that goes with strings in ``standard``."""
    if message.content is ABSENT:
        return message.role == "assistant" and message.tool_calls is not ABSENT
    return is_string(message.content) or message.content == _NULL


def _list_bytes(messages: Sequence[structs.Message | structs.StrictMessage], parts: Parts) -> int:
    """The text and images of contents that are all lists of valid items; or ``INVALID``."""
    images = text_bytes = 0
    for message in messages:
        # Anything but a list is refused here.
        for item in type(message).decode_items(message.content):
            if item.type == "text":
                if not is_string(item.text):
                    return INVALID
                text_bytes += len(item.text)
            elif message.role != "user" or message.weight or not _is_image(item):
                return INVALID
            else:
                images += 1
                text_bytes += len(item.image_url.url)
    if images > MAX_IMAGES:
        return INVALID
    parts.images += images
    return text_bytes


def _is_image(item: structs.Item) -> bool:
    # A text beside an image is free, and rare.
    if item.image_url is None or item.text is not ABSENT:
        return False
    url = memoryview(item.image_url.url)
    # With its quotes and escapes it is never shorter than the string it stands for.
    return (
        bytes(url[: len(_QUOTED_PREFIXES[0])]).startswith(_QUOTED_PREFIXES)
        and len(url) <= MAX_IMAGE_URL_CHARACTERS
    )


def _are_plain_functions(tools: Raw) -> bool:
    """Whether there is nothing to warn of in ``tools``; most often they are as in other records."""
    if len(tools) > _CACHED_TOOLS_BYTES:
        return _decode_plain_functions(bytes(tools))
    return _cached_plain_functions(bytes(tools))


def _decode_plain_functions(tools: bytes) -> bool:
    value = msgspec.json.decode(tools)
    return are_functions(value) and is_plain(value)


_cached_plain_functions = lru_cache(maxsize=64)(_decode_plain_functions)


def _strict_preference_bytes(record: structs.StrictPreference, is_long: bool, parts: Parts) -> int:
    output_bytes = _output_bytes(record, lambda output: False)
    if output_bytes == INVALID:
        return INVALID
    input_bytes = _strict_text_bytes(record.input, is_long, parts, needs_assistant=False)
    return _with_outputs(input_bytes, output_bytes, parts)


def _standard_preference_bytes(record: structs.Preference, is_long: bool, parts: Parts) -> int:
    output_bytes = _output_bytes(
        record, lambda output: output.content is ABSENT and output.tool_calls is not ABSENT
    )
    if output_bytes == INVALID:
        return INVALID
    input_bytes = _standard_text_bytes(record.input, is_long, parts, needs_assistant=False)
    return _with_outputs(input_bytes, output_bytes, parts)


def _with_outputs(input_bytes: int, output_bytes: int, parts: Parts) -> int:
    if input_bytes == INVALID:
        return INVALID
    parts.messages += 2
    parts.assistants += 2
    return input_bytes + output_bytes


def _output_bytes(
    record: structs.Preference | structs.StrictPreference,
    needs_no_content: Callable[[structs.Output], bool],
) -> int:
    messages = record.input.messages
    if not messages or messages[-1].role == "assistant":
        return INVALID
    text_bytes = 0
    for output in (*record.preferred_output, *record.non_preferred_output):
        if is_string(output.content):
            text_bytes += len(output.content)
        elif not needs_no_content(output):
            return INVALID
    return text_bytes


def _strings_bytes(*values: Raw) -> int:
    return sum(map(len, values)) if all(map(is_string, values)) else INVALID


def _shape(
    struct: type[Struct],
    text_bytes: Callable[[Any, bool, Parts], int],
    makes_strings: bool = False,
    in_pieces: bool = False,
) -> Shape:
    decode = msgspec.json.Decoder(struct).decode

    def decode_unless_long(line: memoryview) -> Any:
        if len(line) > LONG_LINE_BYTES:
            raise ValueError("a string of this line might take four times its memory")
        return decode(line)

    return Shape(decode_unless_long if makes_strings else decode, text_bytes, in_pieces)


_GENERAL = _shape(structs.General, lambda record, is_long, parts: _strings_bytes(record.text))
_INSTRUCTION = _shape(
    structs.Instruction,
    lambda record, is_long, parts: _strings_bytes(record.prompt, record.completion),
)
_SAME_IN_BOTH = {
    "instruction": Shapes((_INSTRUCTION,), _INSTRUCTION),
    "general": Shapes((_GENERAL,), _GENERAL),
}
STRICT = _SAME_IN_BOTH | {
    "conversation": Shapes(
        (_shape(structs.StrictConversation, _strict_text_bytes, in_pieces=True),),
        _shape(structs.FreeStrictConversation, _strict_text_bytes),
    ),
    "preference": Shapes(
        (_shape(structs.StrictPreference, _strict_preference_bytes, makes_strings=True),),
        _shape(structs.FreeStrictPreference, _strict_preference_bytes),
    ),
}
STANDARD = _SAME_IN_BOTH | {
    "conversation": Shapes(
        (
            _shape(structs.PlainConversation, _standard_text_bytes, in_pieces=True),
            _shape(structs.Conversation, _standard_text_bytes, makes_strings=True),
        ),
        _shape(structs.FreeConversation, _standard_text_bytes),
    ),
    "preference": Shapes(
        (_shape(structs.Preference, _standard_preference_bytes, makes_strings=True),),
        _shape(structs.FreePreference, _standard_preference_bytes),
    ),
}
"""By the dataset format that ``ingest.rules`` names."""
