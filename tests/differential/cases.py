"""Hand-made files, at least one on each side of every rule the vendor's clients have too."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

from ingest.files import RULE_SETS, Purpose, RuleSet
from ingest.rules.catalog import RULES, written_out
from ingest.rules.content import MAX_IMAGE_URL_CHARACTERS
from tests.differential.generate import DatasetFile
from tests.rules.lines import assistant, chat, image, preference, text, user


@dataclass(frozen=True, slots=True)
class Case:
    """A named file."""

    name: str
    file: DatasetFile


def all_cases() -> Iterator[Case]:
    """Make every case. They are made anew each time: some are megabytes."""
    for name, data in _LINES.items():
        for purpose in ("fine-tune", "eval"):
            yield _jsonl(f"{name}, {purpose}", data, purpose)
    for name, line in _JSON.items():
        # The second line of three: a wrong line number shows.
        yield _jsonl(name, b'{"text": "a"}\n%s\n{"text": "b"}\n' % line.encode(), "fine-tune")
    for name, record in _RECORDS.items():
        yield _jsonl(name, json.dumps(record).encode() + b"\n", "fine-tune")
    for name, (first, second) in _PAIRS.items():
        yield _jsonl(name, f"{json.dumps(first)}\n{json.dumps(second)}\n".encode(), "fine-tune")
    for more in (0, 1):
        url = "data:image/webp;base64,".ljust(MAX_IMAGE_URL_CHARACTERS + more, "A")
        record = {"text": [image(url)]}
        yield _jsonl(f"image of the limit + {more}", json.dumps(record).encode(), "fine-tune")
    for name, data in _CSV.items():
        yield Case(f"csv: {name}", DatasetFile(".csv", "eval", data))
    for name, table in _TABLES.items():
        yield Case(f"parquet: {name}", DatasetFile(".parquet", "fine-tune", _parquet(table)))
    yield from _odd_parquet_files()
    yield from _wrong_types()
    yield from _catalog_examples()


@dataclass(frozen=True, slots=True)
class Exempt:
    """A file on which the verdicts differ, as the rules say they do.

    Attributes:
        codes: what we report; empty if we accept the file.
        vendor_valid: what the vendor's client says.
        rule_sets: for which of them.
    """

    name: str
    file: DatasetFile
    codes: tuple[str, ...]
    vendor_valid: bool
    rule_sets: tuple[RuleSet, ...] = RULE_SETS


def exceptions() -> Iterator[Exempt]:
    """Make a file for each exception to "equals the reference" in the rules."""
    for weight in (True, False):
        data = json.dumps(chat(user("a", weight=weight))).encode()
        yield Exempt(
            f"weight {weight}",
            DatasetFile(".jsonl", "fine-tune", data),
            ("message.weight",),
            vendor_valid=True,
            rule_sets=("strict", "standard"),
        )
    falsy: tuple[Any, ...] = (0, 0.0, False, {})
    for content in falsy:
        data = json.dumps(chat(user(content))).encode()
        yield Exempt(
            f"content {content}",
            DatasetFile(".jsonl", "fine-tune", data),
            ("message.content_type",),
            vendor_valid=True,
            rule_sets=("standard",),
        )
    yield Exempt(
        "CSV field of 131,073 characters",
        DatasetFile(".csv", "eval", b"a,b\n1," + b"x" * 131_073 + b"\n"),
        (),
        vendor_valid=False,
    )
    tables: dict[str, tuple[str, dict[str, Any]]] = {
        "integers": ("parquet.column_type", {"input_ids": [1, 2]}),
        "lists of strings": ("parquet.column_type", {"input_ids": [["a"], ["b"]]}),
        "short labels": (
            "parquet.length_mismatch",
            {"input_ids": _IDS, "labels": [[1], [2, 3, 4]]},
        ),
        "a null row": ("parquet.length_mismatch", {"input_ids": [None, [1]]}),
    }
    for name, (code, columns) in tables.items():
        file = DatasetFile(".parquet", "fine-tune", _parquet(columns))
        yield Exempt(f"parquet: {name}", file, (code,), vendor_valid=True)


def _jsonl(name: str, data: bytes, purpose: Purpose) -> Case:
    return Case(name, DatasetFile(".jsonl", purpose, data))


def _catalog_examples() -> Iterator[Case]:
    """What people are told about the rules is what the vendor's clients do."""
    for rule in RULES:
        purpose: Purpose = "eval" if rule.example_kind == "csv" else "fine-tune"
        comparable = purpose in rule.purposes and rule.code != "json.too_deep"
        if rule.example_kind == "words" or not comparable:
            continue
        for kind, example in (("good", rule.good), ("bad", rule.bad)):
            data = written_out(example).encode()
            file = DatasetFile(f".{rule.example_kind}", purpose, data)
            yield Case(f"the {kind} example of {rule.code}", file)


def _wrong_types() -> Iterator[Case]:
    """Endings and purposes that do not go together."""
    data = b'{"text": "a"}\n'
    for suffix in (".json", ".JSONL", ".txt", ".csv", ".parquet", ""):
        for purpose in ("fine-tune", "eval"):
            yield Case(f"JSON Lines as {suffix!r}, {purpose}", DatasetFile(suffix, purpose, data))
    rows = _parquet({"input_ids": [[1]]})
    yield Case("parquet for eval", DatasetFile(".parquet", "eval", rows))


_A = b'{"text": "a"}'
_BAD = b'{"text": 1}'

_LINES: dict[str, bytes] = {
    "empty file": b"",
    "one record": _A,
    "LF": _A + b"\n" + _A + b"\n",
    "CRLF": _A + b"\r\n" + _BAD + b"\r\n",
    "CR": _A + b"\r" + _BAD + b"\r",
    "LF CR is a blank line": _A + b"\n\r" + _A + b"\n",
    "CR CR LF is a blank line": _A + b"\r\r\n" + _A,
    "mixed line ends": _A + b"\r" + _A + b"\n" + _A + b"\r\n" + _BAD,
    "CR at the end": _A + b"\n" + _A + b"\r",
    "no last line end": _A + b"\n" + _BAD,
    "blank line first": b"\n" + _A + b"\n",
    "blank line between": _A + b"\n\n" + _A + b"\n",
    "blank line last": _A + b"\n\n",
    "line of spaces": _A + b"\n  \t\n" + _A,
    "line of no-break spaces": _A + b"\n\xc2\xa0\xe3\x80\x80\n" + _A,
    "blank line, then a bad one": b"\n" + _A + b"\n[]\n",
    "only a line end": b"\n",
    "only CRLF": b"\r\n\r\n",
    "only spaces": b"   ",
    "spaces after the last line end": _A + b"\n   ",
    "space and tab around": b" \t" + _A + b"\t \n",
    "no-break space before": b"\xc2\xa0" + _A,
    "form feed after": _A + b"\x0c\n",
    "line separators in a string": '{"text": "\u2028\u2029\u0085\x7f"}\n[]\n'.encode(),
    "line separator between": (_A.decode() + "\u2028" + _A.decode()).encode(),
    "byte-order mark": b"\xef\xbb\xbf" + _A,
    "byte-order mark, then a bad line": b"\xef\xbb\xbf" + _A + b"\n[]",
    "only a byte-order mark": b"\xef\xbb\xbf",
    "byte-order mark and a line end": b"\xef\xbb\xbf\n" + _A,
    "byte-order mark on line 2": _A + b"\n\xef\xbb\xbf" + _A,
    "two byte-order marks": b"\xef\xbb\xbf\xef\xbb\xbf" + _A,
    "byte-order mark inside": b'{"text": "\xef\xbb\xbf"}',
    "NUL after": _A + b"\x00",
    "control-Z at the end": _A + b"\n\x1a",
    "UTF-16": _A.decode().encode("utf-16"),
    "Latin-1": b'{"text": "\xe9"}',
    "Latin-1 after a bad line": b"[]\n" + b'{"text": "\xe9"}',
    "cut in a character": b'{"text": "\xc3',
    "encoded surrogate": b'{"text": "\xed\xa0\x80"}',
    "overlong slash": b'{"text": "\xc0\xaf"}',
    "beyond Unicode": b'{"text": "\xf4\x90\x80\x80"}',
    "long line": b'{"text": "' + b"a" * 300_000 + b'"}\n[]\n',
    "many lines": (_A + b"\n") * 5000 + b"[]\n",
    "two records on a line": _A + _A,
    "a record over two lines": b'{"text":\n"a"}',
    "a CR in a record": b'{"text":\r"a"}',
    "a raw line end in a string": b'{"text": "a\nb"}',
}

_JSON: dict[str, str] = {
    "NaN": '{"text": [NaN]}',
    "Infinity": '{"text": -Infinity}',
    "lone surrogate": '{"text": "\\ud800"}',
    "surrogates the wrong way round": '{"text": "\\udc00\\ud800"}',
    "key twice, good last": '{"text": 1, "text": "a"}',
    "key twice, bad last": '{"text": "a", "text": 1}',
    "4300 digits": '{"text": "a", "n": %s}' % ("9" * 4300),
    "4301 digits": '{"text": "a", "n": %s}' % ("9" * 4301),
    "4300 digits for eval's sake": "9" * 4300,
    "float of 5000 digits": "9" * 5000 + ".5",
    "1e999": '{"text": 1e999}',
    "leading zero": '{"text": 01}',
    "trailing comma": '{"text": "a",}',
    "single quotes": "{'text': 'a'}",
    "comment": '{"text": "a"} // b',
    "raw tab": '{"text": "\t"}',
    "raw NUL": '{"text": "\x00"}',
    "unknown escape": '{"text": "\\x41"}',
    "escaped key": '{"te\\u0078t": "a"}',
    "list": "[]",
    "string": '"text"',
    "null": "null",
    "empty object": "{}",
    "900 levels": '{"text": %s}' % ("[" * 899 + "]" * 899),
    "50,000 levels": '{"text": %s}' % ("[" * 50_000 + "]" * 50_000),
    "brackets in a string": '{"text": "%s"}' % ("[" * 50_000),
}

_TOOL = {"role": "tool", "content": "42"}
_CALL: dict[str, Any] = {"role": "assistant", "tool_calls": []}

_RECORDS: dict[str, dict[str, Any]] = {
    "two formats": {"text": "a", **chat()},
    "two formats and a key": {"text": "a", "prompt": "b", "completion": "c", "x": 1},
    "half of a second format": {"text": "a", "prompt": "b"},
    "extra key": {"text": "a", "id": 1},
    "tools": {**chat(), "tools": []},
    "tools null": {**chat(), "tools": None},
    "tools in an instruction": {"prompt": "a", "completion": "b", "tools": []},
    "messages null": {"messages": None},
    "messages 5": {"messages": 5},
    "messages empty": {"messages": []},
    "messages an empty string": {"messages": ""},
    "messages an object": {"messages": {"role": "user"}},
    "message null": chat(None),  # type: ignore[arg-type]
    "message a string": chat("hello"),  # type: ignore[arg-type]
    "no role": chat({"content": "a"}),
    "no content": chat({"role": "user"}),
    "user with tool_calls alone": chat({"role": "user", "tool_calls": []}),
    "assistant without content": chat(user("a"), {"role": "assistant"}),
    "assistant with tool_calls": {"messages": [user("a"), _CALL, _TOOL, assistant("b")]},
    "tool_calls null": {"messages": [user("a"), {"role": "assistant", "tool_calls": None}]},
    "tool role": {"messages": [user("a"), _TOOL, assistant("b")]},
    "weight 0": chat(user("a", weight=0)),
    "weight 1": chat(user("a", weight=1)),
    "weight 2": chat(user("a", weight=2)),
    "weight 1.0": chat(user("a", weight=1.0)),
    "weight null": chat(user("a", weight=None)),
    'weight "1"': chat(user("a", weight="1")),
    "weight a list": chat(user("a", weight=[])),
    "weight without content": {"messages": [user("a"), {**_CALL, "weight": 3}]},
    "role null": chat({"role": None, "content": "a"}),
    "role a list": chat({"role": ["user"], "content": "a"}),
    "role in capitals": chat({"role": "User", "content": "a"}),
    "user twice": chat(user("a"), user("b")),
    "assistant twice": chat(assistant("a")),
    "system twice": chat({"role": "system", "content": "a"}, {"role": "system", "content": "a"}),
    "content null": {"messages": [user("a"), assistant(None)]},
    "content a number": chat(user(5)),
    "content true": chat(user(True)),
    "content an object": chat(user({"type": "text", "text": "a"})),
    "only a user": chat(user("a"), answered=False),
    "string, list": chat(user([text()])),
    "empty string, list": {"messages": [user(""), assistant([text()])]},
    "string, empty list": {"messages": [user("a"), assistant([])]},
    "null between lists": {"messages": [user([text()]), assistant(None), user([text()])]},
    "all null": {"messages": [user(None), assistant(None)]},
    "10 images": {"messages": [user([image()] * 10), assistant([text()])]},
    "11 images": {"messages": [user([image()] * 11), assistant([text()])]},
    "10 images in two messages": {
        "messages": [user([image()] * 5), assistant([]), user([image()] * 5), assistant([text()])]
    },
    "11 images in two messages": {
        "messages": [user([image()] * 5), assistant([]), user([image()] * 6), assistant([text()])]
    },
    "11 images in a text": {"text": [image()] * 11},
    "10 images in a prompt": {"prompt": [image()] * 10, "completion": "a"},
    "item a string": {"text": ["a"]},
    "item without type": {"text": [{"text": "a"}]},
    "item of another type": {"text": [{"type": "audio"}]},
    "item type a list": {"text": [{"type": ["text"]}]},
    "text item without text": {"text": [{"type": "text"}]},
    "text item of null": {"text": [text(None)]},
    "text item of nothing": {"text": [text("")]},
    "image for an assistant": {"messages": [assistant([image()])]},
    "image for a system": {"messages": [{"role": "system", "content": [image()]}, assistant([])]},
    "image in a completion": {"prompt": "a", "completion": [image()]},
    "image_url a string": {"text": [{"type": "image_url", "image_url": "data:image/png;base64,"}]},
    "image_url without url": {"text": [{"type": "image_url", "image_url": {}}]},
    "image without image_url": {"text": [{"type": "image_url"}]},
    "url empty": {"text": [image("")]},
    "url a number": {"text": [image(5)]},
    "url of the web": {"text": [image("https://example.com/a.png")]},
    "url in capitals": {"text": [image("data:image/PNG;base64,")]},
    "image of weight 0": {"messages": [user([image()], weight=0), assistant([text()])]},
    "image of weight 1": {"messages": [user([image()], weight=1), assistant([text()])]},
    "items of weight 1": {"messages": [user([text()], weight=1), assistant([text()])]},
    "text null": {"text": None},
    "text empty": {"text": ""},
    "text an empty list": {"text": []},
    "completion null": {"prompt": "a", "completion": None},
    "prompt a list, completion a string": {"prompt": [text()], "completion": "a"},
    "preference": preference(),
    "input null": preference(input=None),
    "input a list": preference(input=[user("a")]),
    "input without messages": preference(input={}),
    "input messages empty": preference(input={"messages": []}),
    "input messages a string": preference(input={"messages": "a"}),
    "input ends with the assistant": preference(input={"messages": [user("a"), assistant("b")]}),
    "input of the assistant alone": preference(input={"messages": [assistant("b")]}),
    "input weight 2": preference(input={"messages": [user("a", weight=2)]}),
    "output null": preference(preferred_output=None),
    "output empty": preference(preferred_output=[]),
    "output of two": preference(preferred_output=[assistant("a"), assistant("b")]),
    "output an object": preference(non_preferred_output=assistant("a")),
    "output a string": preference(non_preferred_output=["a"]),
    "output of a user": preference(non_preferred_output=[user("a")]),
    "output without role": preference(non_preferred_output=[{"content": "a"}]),
    "output without content": preference(preferred_output=[{"role": "assistant"}]),
    "output with tool_calls": preference(preferred_output=[_CALL]),
    "output null beside tool_calls": preference(preferred_output=[{**_CALL, "content": None}]),
    "output content null": preference(preferred_output=[assistant(None)]),
    "output content empty": preference(preferred_output=[assistant("")]),
    "output content of items": preference(preferred_output=[assistant([text()])]),
    "output with an image": preference(preferred_output=[assistant([image()])]),
    "output weight 5": preference(preferred_output=[assistant("a", weight=5)]),
    "preference with a key more": preference(tools=[]),
}

_PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "two formats in a file": ({"text": "a"}, {"prompt": "a", "completion": "b"}),
    "a bad record, then another format": ({"text": 1}, chat()),
    "an unknown record, then a good one": ({"x": 1}, {"text": "a"}),
    "an ambiguous record, then a good one": ({"text": "a", **chat()}, {"text": "a"}),
    "string contents, then lists": (chat(user("a")), {"messages": [assistant([text()])]}),
}

_CSV: dict[str, bytes] = {
    "empty file": b"",
    "header and row": b"a,b\n1,2\n",
    "header alone": b"a,b\n",
    "header without line end": b"a,b",
    "blank first line": b"\na,b\n1,2\n",
    "spaces as a header": b"  \n1\n",
    "byte-order mark": b"\xef\xbb\xbfa,b\n1,2\n",
    "byte-order mark before a quoted name": b'\xef\xbb\xbf"a,b",c\n1,2\n',
    "byte-order mark alone": b"\xef\xbb\xbf",
    "byte-order mark and a blank line": b"\xef\xbb\xbf\n1\n",
    "short row": b"a,b\n1,2\n1\n",
    "long row": b"a,b\n1,2\n1,2,3\n",
    "blank rows": b"a,b\n\n1,2\n\n\n1\n",
    "blank rows alone": b"a,b\n\n\n",
    "row of spaces": b"a,b\n  \n",
    "CRLF": b"a,b\r\n1,2\r\n1\r\n",
    "CR": b"a,b\r1,2\r1\r",
    "quoted comma": b'a,b\n"1,2",3\n',
    "quoted line ends": b'a,b\n"1\n\r\n\r2",3\n4\n',
    "quoted line end in the header": b'"a\nb",c\n1,2\n1\n',
    "doubled quote": b'a,b\n"1""2",3\n',
    "text after a quote": b'a,b\n"1"x,2\n',
    "quote inside": b'a,b\n1"2,3\n',
    "open quote at the end": b'a,b\n1,"2',
    "open quote swallows rows": b'a,b\n1,"2\n3,4\n',
    "open quote swallows a field": b'a,b\n"1,2\n',
    "open quote in the header": b'a,"b\n1,2\n',
    "repeated names": b"a,a\n1,2\n",
    "empty names": b",\n1,2\n",
    "one column": b"a\n1\n\n2\n",
    "one column, quoted nothing": b'a\n""\n',
    "space before a quote": b'a,b\n1, "2,3"\n',
    "NUL": b"a,b\n1,\x00\n",
    "Latin-1": b"a,b\n1,\xe9\n",
    "semicolons": b"a;b\n1;2\n",
    "line separators": "a,b\n1,\u2028\u0085\n1\n".encode(),
    "field of 131,072 characters": b"a,b\n1," + b"x" * 131_072 + b"\n",
}

_IDS = [[1, 2, 3], [4, 5, 6]]
_TABLES: dict[str, dict[str, Any]] = {
    "input_ids": {"input_ids": _IDS},
    "all of strict": {"input_ids": _IDS, "attention_mask": _IDS, "labels": _IDS},
    "position_ids": {"input_ids": _IDS, "position_ids": _IDS},
    "no input_ids": {"labels": _IDS},
    "another column": {"input_ids": _IDS, "text": ["a", "b"]},
    "no rows": {"input_ids": []},
    "no rows, another column": {"input_ids": [], "text": []},
    "no columns": {},
}


def _parquet(columns: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


class _OpenKms(pe.KmsClient):  # type: ignore[misc]
    """A key store that keeps no secrets."""

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        return base64.b64decode(wrapped_key)


def _encrypted() -> bytes:
    """A file whose footer cannot be read without its key."""
    config = pe.EncryptionConfiguration(footer_key="f", column_keys={"c": ["input_ids"]})
    properties = pe.CryptoFactory(lambda _: _OpenKms()).file_encryption_properties(
        pe.KmsConnectionConfig(), config
    )
    sink = io.BytesIO()
    table = pa.table({"input_ids": _IDS})
    with pq.ParquetWriter(sink, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _odd_parquet_files() -> Iterator[Case]:
    whole = _parquet({"input_ids": [list(range(1000))] * 50})
    twice = io.BytesIO()
    column = pa.array(_IDS)
    table = pa.Table.from_arrays([column, column], names=["input_ids", "input_ids"])
    pq.write_table(table, twice)
    damaged = bytearray(whole)
    damaged[8 : len(whole) // 2] = bytes(len(whole) // 2 - 8)
    files = {
        "encrypted": _encrypted(),
        "cut": whole[: len(whole) // 2],
        "without its end": whole[:-1],
        "damaged pages": bytes(damaged),
        "a column twice": twice.getvalue(),
        "not Parquet": b'{"text": "a"}\n',
        "magic alone": b"PAR1",
        "empty": b"",
    }
    for name, data in files.items():
        yield Case(f"parquet: {name}", DatasetFile(".parquet", "fine-tune", data))
