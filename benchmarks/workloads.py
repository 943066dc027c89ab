"""The kinds of records that ``benchmarks.validation`` is tried on, made from real text.

Each maker returns one valid record, with ``NUMBER`` in it once: see `examples.make_corpus`.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from examples.make_corpus import NUMBER, Record, conversation, instruction, passages
from ingest.files import RuleSet

_SENTENCES = (
    "東京の天気は明日も晴れで、気温は二十度くらいになるでしょう。",
    "機械学習のモデルは、大量の文章から言葉の使い方を覚えます。",
    "الطقس في القاهرة غدًا مشمس ودرجة الحرارة حوالي خمس وعشرين درجة.",
    "تتعلم النماذج اللغوية كيفية استخدام الكلمات من نصوص كثيرة جدًا.",
    "Отлично 👍🏽, продолжаем: 🚀🌍📈 — и ещё немного текста на кириллице.",
    "👩‍👩‍👧‍👦 семья, 🏳️‍🌈 флаг, 🇯🇵 страна, 😀😃😄 лица.",
)
_NOISE = random.Random(0).randbytes(300_000)


def many_messages(rng: random.Random) -> Record:
    """Dozens of short turns, as in a chat."""
    words = rng.choice(passages()).text.split()

    def short() -> str:
        return " ".join(rng.choices(words, k=rng.randint(1, 12)))

    messages: list[Record] = []
    for _ in range(rng.randint(12, 40)):
        messages.append({"role": "user", "content": short()})
        messages.append({"role": "assistant", "content": short()})
    messages[0]["content"] += f" [{NUMBER}]"
    return {"messages": messages}


def long_content(rng: random.Random) -> Record:
    """One question and an answer of 20 to 200 kB."""
    wanted = rng.randint(20_000, 200_000)
    texts = [passage.text for passage in rng.choices(passages(), k=400)]
    return _asked_and_answered("Tell me all of it.", "\n\n".join(texts)[:wanted])


def images(rng: random.Random) -> Record:
    """A question about one to three pictures of up to 200 kB."""
    items: list[Record] = [{"type": "text", "text": f"[{NUMBER}] What do these show?"}]
    for _ in range(rng.randint(1, 3)):
        at, length = rng.randrange(100_000), rng.randint(20_000, 200_000)
        data = base64.b64encode(_NOISE[at : at + length]).decode()
        items.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}})
    answer = [{"type": "text", "text": rng.choice(passages()).text}]
    return {
        "messages": [{"role": "user", "content": items}, {"role": "assistant", "content": answer}]
    }


def non_ascii(rng: random.Random) -> Record:
    """Japanese, Arabic, Cyrillic and emoji."""
    return _asked_and_answered(
        rng.choice(_SENTENCES), " ".join(rng.choices(_SENTENCES, k=rng.randint(5, 60)))
    )


def tool_calls(rng: random.Random) -> Record:
    """A conversation in which the assistant calls a function, and gets its result."""
    found = rng.choice(passages())
    asked = {"name": "look_up", "arguments": json.dumps({"topic": found.topic, "limit": 3})}
    function = {"name": "look_up", "parameters": {"type": "object", "properties": {}}}
    record = _asked_and_answered(f"What is {found.topic}?", rng.choice(passages()).text)
    record["messages"][1:1] = [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": asked}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": found.text},
    ]
    return {**record, "tools": [{"type": "function", "function": function}]}


def _asked_and_answered(question: str, answer: str) -> Record:
    return {
        "messages": [
            {"role": "user", "content": f"[{NUMBER}] {question}"},
            {"role": "assistant", "content": answer},
        ]
    }


@dataclass(frozen=True)
class Workload:
    """Records of one kind.

    Attributes:
        name: its name in the table.
        make: makes a record.
        bad_every: one record in so many breaks a rule.
        ascii_only: what is not ASCII is escaped.
        vendors: by version of the vendor's client, the rules that are nearest to its own.
    """

    name: str
    make: Callable[[random.Random], Record]
    bad_every: int | None = None
    ascii_only: bool = False
    vendors: tuple[tuple[str, RuleSet], ...] = (("1.5.35", "strict"), ("3.1.1", "basic"))


WORKLOADS = (
    Workload("conversations", conversation),
    Workload("conversations, 1 of 1,000 bad", conversation, bad_every=1_000),
    Workload("many messages", many_messages),
    Workload("long content", long_content),
    Workload("images", images),
    Workload("non-ASCII", non_ascii),
    Workload("non-ASCII, escaped", non_ascii, ascii_only=True),
    Workload("instruction", instruction),
    Workload("tool calls", tool_calls, vendors=(("2.14.0", "standard"),)),
)
