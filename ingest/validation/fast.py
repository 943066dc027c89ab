"""The fast path: accepts most valid lines without decoding their text.

Called by ``jsonl.py`` for lines that are known to be UTF-8. It may be stricter than
``ingest.rules``, never laxer: what it accepts, ``check_line`` accepts, with the same dataset
format and parts, and without a warning; what it does not accept is only *not yet* accepted, and
goes to ``check_line``. ``tests/validation/test_fast.py`` holds it to that.

msgspec checks a line's JSON and decodes its skeleton into typed structs, while text stays
``Raw``: a view of bytes whose syntax (escapes, control characters) is checked but of which no
string is made. Lines are first tried in the known shape of their format (``shapes.py``); those
with other keys then in the free one, and are decoded whole to look for oddities. Measured on one
core, this step alone, conversations of 0.8 and 2 kB a line, in MB/s: this 480 and 1,000; with
text as ``str`` 430 and 750; pysimdjson 320 and 620; one RE2 expression a batch in Arrow 550 and
600. (Telling known keys from others and counting messages have since taken 8 % of it.) The vendor's
whole check makes 62 and 115 of the same lines (``benchmarks/validation.py``).
Decoding dozens of lines in one call, and looking at all their messages in a few passes, was tried:
it saves 8 % of the decoding, and loses that again, as the messages have left the nearest cache.

Where msgspec reads otherwise than Python's ``json``, and what is done about it:

- It takes newlines as white space, so several records on a line, or one record on several, pass
  ``decode_lines``: here each line is decoded by itself.
- It does not look at the UTF-8 of what it skips: Arrow has, for the whole batch.
- It reads integers of any length, and nests deeper than the rules allow. A line that is long
  enough to hold such a thing besides its text is searched for it (``_is_plain``).
- Lone surrogates, NaN and Infinity it refuses; the rules accept them in their own time, with a
  warning. Numbers that overflow it passes where it skips them, so nothing is skipped unseen.
- Of a repeated key it keeps the last value, like Python, but refuses the record when an earlier
  one has the wrong type.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from ingest.files import Purpose, RuleSet
from ingest.rules.advisories import find_warnings
from ingest.rules.formats import DATASET_FORMATS
from ingest.rules.json_text import MAX_INTEGER_DIGITS, MAX_NESTING
from ingest.validation.counted import Parts
from ingest.validation.long_lines import accepts_conversation
from ingest.validation.shapes import (
    INVALID,
    LONG_LINE_BYTES,
    REFUSALS,
    STANDARD,
    STRICT,
    Shape,
    Shapes,
)

# Nesting takes two bytes a level, so a line has to be this long to be too deep.
_LONG_BYTES = 2 * MAX_NESTING
# An integer of too many digits covers sixteen samples in a row, taken this far apart. In other
# data (base64, say) so many of them are hardly ever all digits.
_SAMPLE_STEP = MAX_INTEGER_DIGITS // 16
_SIXTEEN_DIGITS = re.compile(rb"[0-9]{16}")

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class FastPath:
    """Accepts lines for one rule set and purpose, and for the dataset format met last.

    Most files have one format, so only one is tried. Until ``expect`` has named it, no line is
    accepted where formats apply. Where they do not, any object passes; a record that fits a known
    shape all the same is the quickest to see through.

    Attributes:
        dataset_format: of the lines that are accepted, where formats apply.
        parts: of the lines accepted since ``take_parts``.
    """

    def __init__(self, rules: RuleSet, purpose: Purpose) -> None:
        self._rules = rules
        self._purpose = purpose
        self._has_formats = purpose == "fine-tune" and rules != "basic"
        # Batch files are small, and their ids have to be decoded anyway.
        self._takes_any_object = not self._has_formats and purpose != "batch-api"
        self._shapes: Shapes | None = None
        self._first_known = 0
        self.dataset_format: str | None = None
        self.parts = Parts()

    @property
    def is_ready(self) -> bool:
        """Whether lines can be accepted; if not, a format has to be named, or none can be."""
        return self._shapes is not None or not self._has_formats

    def expect(self, dataset_format: str) -> None:
        """From now on accept lines of this format, where formats apply."""
        if self._has_formats:
            self.dataset_format = dataset_format
            self._look_for((STRICT if self._rules == "strict" else STANDARD)[dataset_format])

    def expect_long(self, buffer: bytearray, begin: int, end: int) -> bool:
        """Expect conversations if a first, very long line is one; it is yet to be accepted."""
        if end - begin <= LONG_LINE_BYTES or not self._has_formats:
            return False
        if not self._accepts_in_pieces(buffer, begin, end, Parts()):
            return False
        self.expect("conversation")
        return True

    def take_parts(self) -> Parts:
        """What the lines accepted since the last call are made of, where formats apply."""
        taken, self.parts = self.parts, Parts()
        return taken if self._has_formats else self.parts

    def _look_for(self, shapes: Shapes) -> None:
        if shapes is not self._shapes:
            self._shapes = shapes
            self._first_known = 0

    def rejected(self, buffer: bytearray, borders: list[int]) -> list[int]:
        """Return the indexes of the lines that are not accepted, in order.

        Args:
            buffer: holds the lines; they are UTF-8.
            borders: where lines begin in it, and the end of the last. A line may have its
                terminator, which is white space to JSON.
        """
        if self._shapes is None and not self._takes_any_object:
            return list(range(len(borders) - 1))
        rejected = []
        first = 0
        # The first record that fits a format names the shapes to try.
        while self._shapes is None and first < len(borders) - 1:
            if not self._accepts_freely(buffer, borders[first], borders[first + 1]):
                rejected.append(first)
            first += 1
        return rejected + self._rejected_from(first, buffer, borders)

    def _rejected_from(self, first: int, buffer: bytearray, borders: list[int]) -> list[int]:
        left: Sequence[int] = range(first, len(borders) - 1)
        has_long = borders[-1] - borders[first] > LONG_LINE_BYTES  # they say nothing of others
        if self._shapes is not None:
            for number, shape in enumerate(self._shapes.known):
                if left and number >= self._first_known:
                    tried = len(left)
                    left = self._not_of_shape(shape, buffer, borders, left)
                    if number == self._first_known and 2 * len(left) > tried and not has_long:
                        # Most records have other keys than these: go past it from now on.
                        self._first_known += 1
        return [i for i in left if not self._accepts_freely(buffer, borders[i], borders[i + 1])]

    def _not_of_shape(
        self, shape: Shape, buffer: bytearray, borders: list[int], lines: Sequence[int]
    ) -> list[int]:
        """Those of ``lines`` that do not fit a known shape."""
        decode, text_bytes = shape.decode, shape.text_bytes
        data, parts = memoryview(buffer), self.parts
        left = []
        for index in lines:
            begin, end = borders[index], borders[index + 1]
            length = end - begin
            if shape.in_pieces and length > LONG_LINE_BYTES:
                left.append(index)
                continue
            try:
                text = text_bytes(decode(data[begin:end]), length >= _LONG_BYTES, parts)
            except REFUSALS:
                text = INVALID
            if text == INVALID:
                left.append(index)
            elif length - text >= _LONG_BYTES and not _is_plain(buffer, begin, end):
                left.append(index)
                counted = Parts()
                text_bytes(decode(data[begin:end]), True, counted)
                parts.add(counted, times=-1)
        return left

    def _accepts_freely(self, buffer: bytearray, begin: int, end: int) -> bool:
        """Whether a line keeps the rules and has no oddity, whatever keys it has besides."""
        if end - begin > LONG_LINE_BYTES:
            # Decoding it whole would take too much memory.
            may_be = not self._has_formats or self.dataset_format == "conversation"
            return may_be and self._accepts_in_pieces(buffer, begin, end, self.parts)
        line = memoryview(buffer)[begin:end]
        counted = Parts()
        text = 0
        try:
            if self._shapes is not None and self._has_formats:
                shape = self._shapes.free
                text = shape.text_bytes(shape.decode(line), True, counted)
                if text == INVALID:
                    return False
            if len(line) - text >= _LONG_BYTES and not _is_plain(buffer, begin, end):
                return False
            if not self._has_no_oddity(_decode_object(line)):
                return False
        except REFUSALS:
            return False
        self.parts.add(counted)
        return True

    def _accepts_in_pieces(self, buffer: bytearray, begin: int, end: int, parts: Parts) -> bool:
        return accepts_conversation(
            memoryview(buffer)[begin:end],
            strict=self._rules == "strict" and self._has_formats,
            hidden_bytes=_LONG_BYTES,
            parts=parts,
        )

    def _has_no_oddity(self, record: dict[str, object]) -> bool:
        if not self._has_formats:
            fitting = (f.name for f in DATASET_FORMATS if record.keys() >= set(f.required))
            name = next(fitting, None)
            if name is not None:
                self._look_for(STANDARD[name])
        return not find_warnings(record, self._rules, self._purpose)


def _is_plain(buffer: bytearray, begin: int, end: int) -> bool:
    """Whether a line can hold neither too deep a nesting nor an integer of too many digits."""
    brackets = buffer.count(b"{", begin, end) + buffer.count(b"[", begin, end)
    if brackets > MAX_NESTING:
        return False
    return not _SIXTEEN_DIGITS.search(buffer[begin:end:_SAMPLE_STEP])
