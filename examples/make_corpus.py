"""Make a corpus to try the product on: real text in every format, and one file full of mistakes.

    python -m examples.make_corpus /tmp/corpus --size 300MB

    /tmp/corpus/good/conversations/train.jsonl     a conversation of several turns a line
    /tmp/corpus/good/conversations/held-out.jsonl  fewer of them
    /tmp/corpus/good/instructions.jsonl            prompt and completion
    /tmp/corpus/good/preferences.jsonl             a question, a good answer and a bad one
    /tmp/corpus/good/tokenized/train.parquet       the same text as token ids
    /tmp/corpus/bad/mistakes.jsonl                 good records, and some that break one rule each

The text is the documentation that comes with Python: what `help()` shows, and the docstrings of
the standard library; the questions are in eight languages. A pool of some thousand records is
encoded once and written in varied order, each with a number of its own, so that no two records of
a file are equal. One seed and one Python always make the same bytes. The demo, the tests and the
benchmarks use it; it writes only below the folder it is given.
"""

# ruff: noqa: RUF001 (the questions are in eight languages)

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ByteSize, TypeAdapter

Record = dict[str, Any]
Tokens = npt.NDArray[np.int32]

POOL_RECORDS = 3_000
POOL_BYTES = 64 << 20
ROW_GROUP_ROWS = 2_000
WRITE_BYTES = 4 << 20

NUMBER = "\ue000"
"""Stands in a pool record's text, exactly once, where each copy gets a number of its own."""

_MODULES = "[a-l]*.py"
"""Enough of the standard library to be varied, and little enough to be read in half a second."""

_QUESTIONS = (
    "What should I know about {topic}?",
    "Was muss ich über {topic} wissen?",
    "¿Qué debería saber sobre {topic}?",
    "Que faut-il savoir à propos de {topic} ? Réponds avec précision, s'il te plaît.",
    "Что нужно знать о {topic}?",
    "{topic}について知っておくべきことは何ですか？",
    "关于 {topic}，我应该知道什么？",
    "{topic} के बारे में मुझे क्या पता होना चाहिए?",
)
_FOLLOW_UPS = (
    "And what about {topic}?",
    "Und wie verhält es sich mit {topic}?",
    "Danke! Noch eine Frage 🙂: {topic}?",
    "それでは、{topic}はどうですか？",
)
_SYSTEM = "You answer questions about Python — briefly, and from its own documentation."


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text, and what it is about."""

    topic: str
    text: str


@cache
def passages() -> tuple[Passage, ...]:
    """Return this Python's own documentation, in pieces of 80 to 2,000 characters."""
    found = [
        Passage(topic, text)
        for topic, article in sorted(topics.items())
        for text in _pieces(article)
    ]
    for source in sorted(Path(os.__file__).parent.glob(_MODULES)):
        found.extend(_docstrings(source.stem, ast.parse(source.read_text(encoding="utf-8"))))
    return tuple(found)


def _docstrings(name: str, node: ast.AST) -> Iterator[Passage]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
        for text in _pieces(ast.get_docstring(node) or ""):
            yield Passage(name, text)
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                yield from _docstrings(f"{name}.{child.name}", child)


def _pieces(text: str) -> Iterator[str]:
    """Join paragraphs up to 2,000 characters a piece; drop what says too little."""
    piece = ""
    for paragraph in re.split(r"\n\s*\n", text):
        if piece and len(piece) + len(paragraph) > 2_000:
            yield piece
            piece = ""
        piece = f"{piece}\n\n{paragraph}".strip()
    if 80 <= len(piece) <= 4_000:
        yield piece


def conversation(rng: random.Random) -> Record:
    """Return a conversation of one to four questions, sometimes with a system message."""
    turns = rng.sample(passages(), rng.randint(1, 4))
    messages = [{"role": "system", "content": _SYSTEM}] if rng.random() < 0.3 else []
    for number, passage in enumerate(turns):
        asked = rng.choice(_FOLLOW_UPS if number else _QUESTIONS).format(topic=passage.topic)
        question = asked if number else f"[{NUMBER}] {asked}"
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": passage.text})
    return {"messages": messages}


def instruction(rng: random.Random) -> Record:
    """Return a prompt and its completion."""
    passage = rng.choice(passages())
    asked = rng.choice(_QUESTIONS).format(topic=passage.topic)
    return {"prompt": f"[{NUMBER}] {asked}", "completion": passage.text}


def preference(rng: random.Random) -> Record:
    """Return a question with an answer to prefer, and one that is about something else."""
    good, bad = rng.sample(passages(), 2)
    asked = rng.choice(_QUESTIONS).format(topic=good.topic)
    return {
        "input": {"messages": [{"role": "user", "content": f"[{NUMBER}] {asked}"}]},
        "preferred_output": [{"role": "assistant", "content": good.text}],
        "non_preferred_output": [{"role": "assistant", "content": bad.text}],
    }


def write_conversations(
    path: Path, size_bytes: int, seed: int = 0, bad_every: int | None = None
) -> int:
    """Write conversations as JSON Lines until the file has ``size_bytes`` or a little more.

    Args:
        path: the file to write; its folder exists.
        size_bytes: where to stop.
        seed: another seed, other records.
        bad_every: put a record that breaks a rule on every such line (1,000: lines 1,000,
            2,000, ...); None leaves the file valid.

    Returns:
        How many records the file holds.
    """
    return write_records(path, size_bytes, seed, conversation, bad_every)


def write_instructions(path: Path, size_bytes: int, seed: int = 0) -> int:
    """Write prompts and completions; see `write_conversations`."""
    return write_records(path, size_bytes, seed, instruction)


def write_preferences(path: Path, size_bytes: int, seed: int = 0) -> int:
    """Write preference pairs; see `write_conversations`."""
    return write_records(path, size_bytes, seed, preference)


def write_records(
    path: Path,
    size_bytes: int,
    seed: int,
    make: Callable[[random.Random], Record],
    bad_every: int | None = None,
    ascii_only: bool = False,
) -> int:
    """Write what ``make`` returns, with ``NUMBER`` in it once, as `write_conversations` does.

    Args:
        path: the file to write; its folder exists.
        size_bytes: where to stop.
        seed: another seed, other records.
        make: makes a record.
        bad_every: put a record that breaks a rule among conversations on every such line.
        ascii_only: escape what is not ASCII.

    Returns:
        How many records the file holds.
    """
    pool = _encoded_pool(make, seed, ascii_only)
    bad_lines = [mistake.line for mistake in MISTAKES]
    order = random.Random(seed + 1)
    written = records = 0
    with path.open("wb") as file:
        while written < size_bytes:
            block: list[bytes] = []
            block_bytes = 0
            while block_bytes < min(WRITE_BYTES, size_bytes - written):
                records += 1
                if bad_every and records % bad_every == 0:
                    line = bad_lines[records // bad_every % len(bad_lines)]
                else:
                    before, after = order.choice(pool)
                    line = b"%b%08d%b" % (before, records, after)
                block.append(line)
                block_bytes += len(line)
            written += file.write(b"".join(block))
    return records


def _encoded_pool(
    make: Callable[[random.Random], Record], seed: int, ascii_only: bool = False
) -> list[tuple[bytes, bytes]]:
    """Return records as encoded lines, each cut in two where its number goes."""
    rng = random.Random(seed)
    number = encoded(NUMBER, ascii_only)[1:-2]  # without its quotes and the newline
    pool: list[tuple[bytes, bytes]] = []
    pool_bytes = 0
    while len(pool) < POOL_RECORDS and pool_bytes < POOL_BYTES:
        line = encoded(make(rng), ascii_only)
        before, after = line.split(number)
        pool.append((before, after))
        pool_bytes += len(line)
    return pool


def encoded(record: object, ascii_only: bool = False) -> bytes:
    """Return ``record`` as one line of JSON Lines."""
    return json.dumps(record, ensure_ascii=ascii_only, separators=(",", ":")).encode() + b"\n"


def write_tokens(path: Path, size_bytes: int, seed: int = 0) -> int:
    """Write tokenised text as Parquet, in row groups, until about ``size_bytes`` are there.

    The tokens are hashes of words: of a size and a spread like a real tokeniser's, and the same
    on every machine. The first quarter of each row is masked in ``labels``.

    Returns:
        How many rows the file holds.
    """
    pool = [_tokens(passage.text) for passage in passages()[:POOL_RECORDS]]
    schema = pa.schema(
        {
            "input_ids": pa.list_(pa.int32()),
            "attention_mask": pa.list_(pa.int8()),
            "labels": pa.list_(pa.int32()),
        }
    )
    order = random.Random(seed)
    rows = 0
    with path.open("wb") as file, pq.ParquetWriter(file, schema) as writer:
        while rows == 0 or file.tell() < size_bytes:
            chosen = order.choices(pool, k=ROW_GROUP_ROWS)
            ids = [np.append(np.int32(rows + at), row) for at, row in enumerate(chosen)]
            writer.write_table(_token_table(ids, schema), row_group_size=ROW_GROUP_ROWS)
            rows += len(ids)
    return rows


def _tokens(text: str) -> Tokens:
    words = re.findall(r"\s?\w+|\s?[^\w\s]", text)
    return np.array([zlib.crc32(word.encode()) % 50_000 for word in words], dtype=np.int32)


def _token_table(rows: list[Tokens], schema: pa.Schema) -> pa.Table:
    lengths = np.array([len(row) for row in rows])
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    ids = np.concatenate(rows)
    labels = np.concatenate([_masked(row) for row in rows])
    columns = [ids, np.ones(len(ids), dtype=np.int8), labels]
    arrays = [pa.ListArray.from_arrays(offsets, pa.array(column)) for column in columns]
    return pa.Table.from_arrays(arrays, schema=schema)


def _masked(row: Tokens) -> Tokens:
    labels: Tokens = row.copy()
    labels[: len(row) // 4] = -100
    return labels


@dataclass(frozen=True, slots=True)
class Mistake:
    """A line, ending in a newline, that breaks exactly the rule ``code`` among conversations."""

    code: str
    line: bytes


def _mistake(code: str, *messages: object, **more: object) -> Mistake:
    return Mistake(code, encoded({"messages": list(messages), **more}))


_ASKED = {"role": "user", "content": "Wie spät ist es?"}
_ANSWERED = {"role": "assistant", "content": "Es ist zwölf Uhr."}

MISTAKES: tuple[Mistake, ...] = (
    Mistake("json.malformed", b'{"messages": [{"role": "user", "content": "cut sho\n'),
    Mistake("json.not_object", b'["messages", "role", "content"]\n'),
    Mistake("format.unknown", encoded({"question": "Why?", "answer": "Because."})),
    Mistake("format.mixed", encoded({"prompt": "Why?", "completion": "Because."})),
    _mistake("format.extra_key", _ASKED, _ANSWERED, source="forum"),
    Mistake("messages.not_list", encoded({"messages": "Wie spät ist es?"})),
    _mistake("messages.empty"),
    _mistake("message.not_object", _ASKED, "Es ist zwölf Uhr."),
    _mistake("message.missing_role", {"content": "Wie spät ist es?"}, _ANSWERED),
    _mistake("message.missing_content", {"role": "user"}, _ANSWERED),
    _mistake("message.role", {"role": "human", "content": "Wie spät ist es?"}, _ANSWERED),
    _mistake("message.weight", _ASKED, {**_ANSWERED, "weight": 0.5}),
    _mistake("message.content_type", {"role": "user", "content": 12}, _ANSWERED),
    _mistake("conversation.no_assistant", _ASKED),
)
"""One record for each of the mistakes that are made most, valid but for the rule it names."""


def write_mistakes(path: Path, seed: int = 0, every: int = 150) -> dict[int, str]:
    """Write good conversations with each of ``MISTAKES`` once, on every ``every``-th line.

    Returns:
        The code to expect at each bad line, counted from 1.
    """
    pool = _encoded_pool(conversation, seed)
    expected = {every * (at + 1): mistake for at, mistake in enumerate(MISTAKES)}
    order = random.Random(seed + 1)
    with path.open("wb") as file:
        for number in range(1, every * (len(MISTAKES) + 1)):
            before, after = order.choice(pool)
            good = b"%b%08d%b" % (before, number, after)
            file.write(expected[number].line if number in expected else good)
    return {number: mistake.code for number, mistake in expected.items()}


def make_corpus(folder: Path, size_bytes: int, seed: int = 0) -> None:
    """Write the whole corpus below ``folder``: ``good/`` of ``size_bytes`` in all, and ``bad/``."""
    good, bad = folder / "good", folder / "bad"
    for subfolder in (good / "conversations", good / "tokenized", bad):
        subfolder.mkdir(parents=True, exist_ok=True)
    write_conversations(good / "conversations" / "train.jsonl", size_bytes * 50 // 100, seed)
    write_conversations(good / "conversations" / "held-out.jsonl", size_bytes * 5 // 100, seed + 1)
    write_instructions(good / "instructions.jsonl", size_bytes * 15 // 100, seed)
    write_preferences(good / "preferences.jsonl", size_bytes * 15 // 100, seed)
    write_tokens(good / "tokenized" / "train.parquet", size_bytes * 15 // 100, seed)
    write_mistakes(bad / "mistakes.jsonl", seed)


def main() -> None:
    """Read the arguments and make the corpus."""
    parser = argparse.ArgumentParser(description="Make a corpus to try the product on.")
    parser.add_argument("folder", type=Path, help="where to write; made if missing")
    parser.add_argument("--size", default="300MB", help="size of all files, e.g. 300MB (default)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    size_bytes = int(TypeAdapter(ByteSize).validate_python(arguments.size))
    make_corpus(arguments.folder, size_bytes, arguments.seed)
    for path in sorted(arguments.folder.rglob("*.*")):
        print(f"{path.stat().st_size:>13,}  {path.relative_to(arguments.folder)}")


if __name__ == "__main__":
    main()
