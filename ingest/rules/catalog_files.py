"""Catalog entries: what any file must be, and what each line of a JSON Lines file must be."""

from __future__ import annotations

from ingest.rules.rule import Rule

FILE_RULES: tuple[Rule, ...] = (
    Rule(
        code="file.not_found",
        summary="the file exists",
        explanation="The path or object was there when inputs were listed, and is gone now, or "
        "it is not a regular file.",
        advice="Check the path, and that nothing moves files while they are published.",
        good="data/train.jsonl, a regular file",
        bad="data/train.jsonl, removed after the run was planned; or a named pipe",
    ),
    Rule(
        code="file.unreadable",
        summary="the file can be read",
        explanation="The file exists, but opening or reading it failed.",
        advice="Check permissions, and for objects the credentials and the bucket's policy.",
        good="a file that the user of this process may read",
        bad="a file of mode 000",
    ),
    Rule(
        code="file.empty",
        summary="the file has at least one byte",
        explanation="A file of no bytes holds no records. It is often the trace of an export "
        "that failed.",
        advice="Look at what wrote the file; leave the file out if it is meant to be empty.",
        good="train.jsonl of 1 byte or more",
        bad="train.jsonl of 0 bytes",
    ),
    Rule(
        code="file.too_large",
        summary="the file is not above the size limit",
        explanation="The vendor's clients send files of up to 50.1 GiB. A file above the limit "
        "can be sent as several files.",
        advice="Split it (--shard-size), or raise the limit (--max-file-size) if your account "
        "allows more.",
        good="a file of exactly 50.1 GiB; or a larger one with --shard-size 10GiB",
        bad="a file of 60 GiB that is sent whole",
    ),
    Rule(
        code="file.unknown_type",
        summary="the name ends in .jsonl, .parquet or .csv",
        explanation="The type of a file is told by its name's ending, in lower case. A name that "
        "is nothing but an ending has none.",
        advice="Rename the file; unpack it if it is compressed.",
        good="train.jsonl",
        bad="train.JSONL, train.json, train.jsonl.gz, or a file named .jsonl",
    ),
    Rule(
        code="file.wrong_type_for_purpose",
        summary="the file's type suits the purpose",
        explanation="Fine-tuning and calibration take .jsonl and .parquet, evaluation takes "
        ".jsonl and .csv, and batch-api takes .jsonl.",
        advice="Choose another --purpose, or convert the file.",
        good="--purpose eval with questions.csv",
        bad="--purpose fine-tune with questions.csv",
    ),
    Rule(
        code="file.not_utf8",
        summary="text is UTF-8",
        explanation="JSON Lines and CSV files are read as UTF-8. One byte that is not makes the "
        "whole file unreadable for the API, so no line is named, but a byte offset.",
        advice="Convert the file (iconv -f latin1 -t utf-8), and look at the bytes at the offset.",
        good="é written as the bytes C3 A9",
        bad="é written as the byte E9 (Latin-1)",
    ),
    Rule(
        code="file.bom",
        summary="a JSON Lines file has no byte-order mark",
        explanation="The three bytes EF BB BF at the start of a file are not JSON. Some editors "
        "and spreadsheets write them. In CSV files they are allowed.",
        advice="Save the file as UTF-8 without a signature (BOM), or cut its first three bytes "
        "(tail -c +4).",
        good="a file whose first byte is {",
        bad="a file whose first bytes are EF BB BF",
    ),
    Rule(
        code="file.no_records",
        summary="the file has at least one record",
        explanation="The file has bytes but no records: only blank lines, only a CSV header, or "
        "a Parquet file of no rows.",
        advice="Look at what wrote the file; leave it out if it is meant to be empty.",
        good="a CSV file with a header and one row",
        bad="a CSV file with a header alone",
    ),
    Rule(
        code="json.malformed",
        summary="each line is one JSON value",
        explanation="Lines are read as Python's json module reads them: NaN, Infinity and escapes "
        "of lone surrogates pass, integers may have 4,300 digits, and of repeated keys the last "
        "one counts. A record may not span lines. Under strict and standard a blank line is "
        "malformed too; basic passes over it.",
        advice="Write each record with a JSON library, on one line, and no blank lines between.",
        good='{"text": "one record on one line"}',
        bad="{'text': 'Python, not JSON'}",
        example_kind="jsonl",
    ),
    Rule(
        code="json.too_deep",
        summary="values nest at most 900 levels deep",
        explanation="Deeper values make JSON readers give up, the vendor's among them.",
        advice="Flatten the value, or keep it as a string.",
        good='{"messages": [{"role": "assistant", "content": "Hello", '
        '"note": <<[ x 897>><<] x 897>>}]}',
        bad='{"messages": [{"role": "assistant", "content": "Hello", '
        '"note": <<[ x 898>><<] x 898>>}]}',
        example_kind="jsonl",
    ),
    Rule(
        code="json.not_object",
        summary="each line is an object",
        explanation="A record is a JSON object; a list, a string or a number has no keys to tell "
        "what it is.",
        advice="Write {...} on each line; a file that is one JSON list has to be turned into "
        "lines (jq -c '.[]').",
        good='{"text": "Hello"}',
        bad='["Hello"]',
        example_kind="jsonl",
    ),
)
