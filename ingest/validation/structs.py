"""The structs that the fast path decodes lines into.

Used by ``shapes.py`` alone, which says what they are for. Those whose name begins with ``Free``
let other keys pass wherever the rules do; the others refuse them.
"""

# ruff: noqa: D101  the names are those of the rules; the fields say the rest

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct

ABSENT: Any = Raw(b"~")
"""Stands for a key that is not there; no JSON value begins like it."""


class Image(Struct, gc=False, forbid_unknown_fields=True):
    url: Raw
    detail: str | None = None


class FreeImage(Struct, gc=False):
    url: Raw


class Item(Struct, gc=False, forbid_unknown_fields=True):
    type: Literal["text", "image_url"]
    text: Raw = ABSENT
    image_url: Image | None = None


class FreeItem(Struct, gc=False):
    type: Literal["text", "image_url"]
    text: Raw = ABSENT
    image_url: FreeImage | None = None


DecodeItems: TypeAlias = Callable[[Raw], list[Any]]
_decode_items = msgspec.json.Decoder(list[Item]).decode
_decode_free_items = msgspec.json.Decoder(list[FreeItem]).decode


class Called(Struct, gc=False, forbid_unknown_fields=True):
    name: str
    arguments: str


class ToolCall(Struct, gc=False, forbid_unknown_fields=True):
    function: Called
    id: str | None = None
    type: str | None = None
    index: int | None = None


class PlainMessage(Struct, gc=False, forbid_unknown_fields=True):
    decode_items: ClassVar[DecodeItems] = _decode_items

    role: Literal["system", "user", "assistant", "tool"]
    content: Raw
    weight: Literal[0, 1] = 0


class Message(Struct, gc=False, forbid_unknown_fields=True):
    decode_items: ClassVar[DecodeItems] = _decode_items

    role: Literal["system", "user", "assistant", "tool"]
    content: Raw = ABSENT
    tool_calls: list[ToolCall] | None = ABSENT
    weight: Literal[0, 1] = 0
    name: str | None = None
    tool_call_id: str | None = None


class FreeMessage(Struct, gc=False):
    decode_items: ClassVar[DecodeItems] = _decode_free_items

    role: Literal["system", "user", "assistant", "tool"]
    content: Raw = ABSENT
    tool_calls: Raw = ABSENT
    weight: Literal[0, 1] = 0


class StrictMessage(Struct, gc=False, forbid_unknown_fields=True):
    decode_items: ClassVar[DecodeItems] = _decode_items

    role: Literal["system", "user", "assistant"]
    content: Raw
    weight: Literal[0, 1] = 0


class FreeStrictMessage(Struct, gc=False):
    decode_items: ClassVar[DecodeItems] = _decode_free_items

    role: Literal["system", "user", "assistant"]
    content: Raw
    weight: Literal[0, 1] = 0


class PlainConversation(Struct, gc=False, forbid_unknown_fields=True):
    messages: list[PlainMessage]
    tools: ClassVar[Raw] = ABSENT


class Conversation(Struct, gc=False, forbid_unknown_fields=True):
    messages: list[Message]
    tools: Raw = ABSENT


class FreeConversation(Struct, gc=False, forbid_unknown_fields=True):
    messages: list[FreeMessage]
    tools: Raw = ABSENT


class StrictConversation(Struct, gc=False, forbid_unknown_fields=True):
    messages: list[StrictMessage]


class FreeStrictConversation(Struct, gc=False, forbid_unknown_fields=True):
    messages: list[FreeStrictMessage]


class Instruction(Struct, gc=False, forbid_unknown_fields=True):
    prompt: Raw
    completion: Raw


class General(Struct, gc=False, forbid_unknown_fields=True):
    text: Raw


class Input(Struct, gc=False, forbid_unknown_fields=True):
    messages: list[Message]
    tools: Raw = ABSENT


class FreeInput(Struct, gc=False):
    messages: list[FreeMessage]
    tools: ClassVar[Raw] = ABSENT


class StrictInput(Struct, gc=False, forbid_unknown_fields=True):
    messages: list[StrictMessage]


class FreeStrictInput(Struct, gc=False):
    messages: list[FreeStrictMessage]


class Output(Struct, gc=False, forbid_unknown_fields=True):
    role: Literal["assistant"]
    content: Raw = ABSENT
    tool_calls: list[ToolCall] | None = ABSENT


class FreeOutput(Struct, gc=False):
    role: Literal["assistant"]
    content: Raw = ABSENT
    tool_calls: Raw = ABSENT


class Preference(Struct, gc=False, forbid_unknown_fields=True):
    input: Input
    preferred_output: tuple[Output]
    non_preferred_output: tuple[Output]


class FreePreference(Struct, gc=False, forbid_unknown_fields=True):
    input: FreeInput
    preferred_output: tuple[FreeOutput]
    non_preferred_output: tuple[FreeOutput]


class StrictPreference(Struct, gc=False, forbid_unknown_fields=True):
    input: StrictInput
    preferred_output: tuple[Output]
    non_preferred_output: tuple[Output]


class FreeStrictPreference(Struct, gc=False, forbid_unknown_fields=True):
    input: FreeStrictInput
    preferred_output: tuple[FreeOutput]
    non_preferred_output: tuple[FreeOutput]
