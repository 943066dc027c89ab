"""The verdict on one line, and the words in which problems name what they found.

Built by the rule modules of this package; read by ``ingest.validation``. A message never holds a
whole value, only its beginning: records carry megabytes of text and images.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

MAX_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class RecordProblem:
    """One rule that a record breaks.

    Attributes:
        path: the place inside the record (``messages[2].role``); None for the whole record.
        code: the rule's code in the catalog.
        message: one sentence: what was expected and what was found.
    """

    path: str | None
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class RecordParts:
    """What a record is made of, for statistics.

    Attributes:
        messages: how many there are, whoever speaks.
        roles: those of them that are known, message by message.
        images: how many content items are images.
    """

    messages: int
    roles: tuple[str, ...]
    images: int


@dataclass(frozen=True, slots=True)
class LineVerdict:
    """What the rules say about one line.

    Attributes:
        dataset_format: the one format whose required keys the record has; None when none or
            several fit, and wherever formats do not apply.
        problems: the broken rules, in document order; empty for a valid line.
        custom_id: of a batch-api request, if it is well formed; it must be unique in its file.
        skipped: a line that is no record and no problem (blank lines under ``basic``).
        warnings: oddities that do not change the verdict; empty unless they were asked for.
        parts: what the record is made of, where it has a dataset format.
    """

    dataset_format: str | None = None
    problems: tuple[RecordProblem, ...] = ()
    custom_id: str | None = None
    skipped: bool = False
    warnings: tuple[RecordProblem, ...] = ()
    parts: RecordParts | None = None

    @property
    def valid(self) -> bool:
        """Whether the line breaks no rule."""
        return not self.problems


class Problems:
    """Collects the problems of one record, in the order in which the rules meet them."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: list[RecordProblem] = []

    def add(self, path: str | None, code: str, message: str) -> None:
        """Note that the rule ``code`` is broken at ``path``."""
        self._found.append(RecordProblem(path, code, message))

    def as_tuple(self) -> tuple[RecordProblem, ...]:
        """Return what was found, first things first."""
        return tuple(self._found)


def show(value: object) -> str:
    """Name a decoded JSON value for a message, in at most 80 characters and on one line.

    Scalars are shown as JSON. Objects and lists are told by their size alone: they can be nested
    too deeply to print, and their beginning seldom explains a problem.
    """
    if isinstance(value, dict):
        return "an empty object" if not value else f"an object with {_count(len(value), 'key')}"
    if isinstance(value, list):
        return "an empty list" if not value else f"a list of {_count(len(value), 'item')}"
    if isinstance(value, str):
        return _quoted(value)
    return cut(json.dumps(value))


def show_keys(keys: list[str]) -> str:
    """Name the keys of an object for a message, in at most 80 characters."""
    if not keys:
        return "no keys"
    # Far more than 80 characters of them: an object can have millions of keys.
    return cut(", ".join(_quoted(key) for key in keys[:MAX_SHOWN_CHARACTERS]))


def key_path(key: str) -> str:
    """Write a record's own key as a path: bare when it reads as a name, else ``["the key"]``."""
    return key if key.isidentifier() and key.isascii() and len(key) <= 80 else f"[{_quoted(key)}]"


def cut(text: str) -> str:
    """Shorten text to 80 characters, the last of them an ellipsis if any are lost."""
    if len(text) <= MAX_SHOWN_CHARACTERS:
        return text
    return text[: MAX_SHOWN_CHARACTERS - 1] + "…"


def _quoted(text: str) -> str:
    # One character more than fits, so that `cut` can tell that some are missing.
    shown = json.dumps(text[: MAX_SHOWN_CHARACTERS + 1], ensure_ascii=False)
    # Lone surrogates cannot be encoded, and control characters would reach a terminal.
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else _escaped(c) for c in shown)
    return cut(shown)


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
