"""Catalog entries: Parquet, CSV and batch-api files, and the warnings."""

from __future__ import annotations

from ingest.rules.rule import Rule

PARQUET_RULES: tuple[Rule, ...] = (
    Rule(
        code="parquet.unreadable",
        summary="the Parquet file can be read to its end",
        explanation="The file opens without a key, no column name comes twice, and every page of "
        "every column can be decoded.",
        advice="Write the file anew; a file cut short while it was copied has no footer.",
        good="a file as pyarrow.parquet.write_table leaves it",
        bad="a file cut in the middle, encrypted, or with two columns named input_ids",
        purposes=("fine-tune", "calibration"),
    ),
    Rule(
        code="parquet.missing_input_ids",
        summary="there is a column input_ids",
        explanation="Parquet files hold tokenised data; the tokens are in input_ids.",
        advice="Tokenise the data, or publish text as JSON Lines instead.",
        good="columns input_ids, attention_mask",
        bad="columns text",
        purposes=("fine-tune", "calibration"),
    ),
    Rule(
        code="parquet.extra_column",
        summary="there are no unknown columns",
        explanation="Columns may be input_ids, attention_mask, labels and, but not under strict, "
        "position_ids.",
        advice="Drop the other columns before writing the file.",
        good="columns input_ids, labels",
        bad="columns input_ids, text",
        purposes=("fine-tune", "calibration"),
    ),
    Rule(
        code="parquet.column_type",
        summary="each column is a list of integers",
        explanation="A row holds the tokens of one sample, so each of its values is a list (also "
        "a large or fixed-size one) of integers of any width. The vendor's clients do not look.",
        advice="Cast the column, for instance to list<int32>.",
        good="input_ids: list<int32>",
        bad="input_ids: int32, or list<string>",
        purposes=("fine-tune", "calibration"),
    ),
    Rule(
        code="parquet.length_mismatch",
        summary="in a row, all lists have the same length",
        explanation="Masks, labels and positions stand beside tokens one to one, and none of "
        "them is null. The vendor's clients do not look.",
        advice="Pad or truncate all columns of a row together.",
        good="input_ids [5, 6], labels [5, 6]",
        bad="input_ids [5, 6], labels [5]",
        purposes=("fine-tune", "calibration"),
    ),
)

CSV_RULES: tuple[Rule, ...] = (
    Rule(
        code="csv.no_header",
        summary="the first line is a header",
        explanation="The first line names the columns. It may not be blank; a byte-order mark "
        "before it is allowed.",
        advice="Write the column names on the first line.",
        good="question,answer\n2 + 2,4\n",
        bad="\nquestion,answer\n2 + 2,4\n",
        example_kind="csv",
        purposes=("eval",),
    ),
    Rule(
        code="csv.row_width",
        summary="each row has as many fields as the header",
        explanation="A field with a comma, a quote or a line end in it must be quoted. Line ends "
        "inside quotes are data. Blank rows are passed over.",
        advice="Quote the field; write CSV with a library.",
        good='question,answer\n"2, or 3?",2\n',
        bad="question,answer\n2, or 3?,2\n",
        example_kind="csv",
        purposes=("eval",),
    ),
)

BATCH_RULES: tuple[Rule, ...] = (
    Rule(
        code="batch.custom_id",
        summary="each request has a custom_id of its own, of 1 to 64 characters",
        explanation="Answers come back in any order, and custom_id is what tells them apart. It "
        "must be a string and unique in the file.",
        advice="Number the requests when the file is written.",
        good='{"custom_id": "1", "body": {"model": "m", "prompt": "Hello"}}\n'
        '{"custom_id": "2", "body": {"model": "m", "prompt": "Hello"}}',
        bad='{"custom_id": 1, "body": {"model": "m", "prompt": "Hello"}}',
        example_kind="jsonl",
        purposes=("batch-api",),
    ),
    Rule(
        code="batch.body",
        summary="each request has a body with a model and something to run it on",
        explanation="body is what would be posted to the endpoint: an object with a non-empty "
        'string model, and messages, prompt or input; with "method": "FILE", file instead.',
        advice="Put the request's parameters under body.",
        good='{"custom_id": "1", "body": {"model": "m", "messages": []}}\n'
        '{"custom_id": "2", "method": "FILE", "body": {"model": "m", "file": "a.wav"}}',
        bad='{"custom_id": "1", "model": "m", "messages": []}',
        example_kind="jsonl",
        purposes=("batch-api",),
    ),
    Rule(
        code="batch.too_many",
        summary="a batch-api file has at most 50,000 requests",
        explanation="The vendor's limit for one batch.",
        advice="Write several files, and run a batch for each.",
        good="a file of 50,000 lines",
        bad="a file of 50,001 lines",
        purposes=("batch-api",),
    ),
    Rule(
        code="batch.too_large",
        summary="a batch-api file has at most 100 MB",
        explanation="The vendor's limit for one batch, 100,000,000 bytes.",
        advice="Write several files, and run a batch for each.",
        good="a file of 100,000,000 bytes",
        bad="a file of 100,000,001 bytes",
        purposes=("batch-api",),
    ),
)

WARNINGS: tuple[Rule, ...] = (
    Rule(
        code="warn.not_finite",
        summary="numbers are finite",
        explanation="NaN and Infinity are Python's own addition to JSON. The vendor's clients "
        "read them; other readers refuse the line.",
        advice="Write null, or leave the key out.",
        good='{"messages": [{"role": "assistant", "content": "Hello", "score": null}]}',
        bad='{"messages": [{"role": "assistant", "content": "Hello", "score": NaN}]}',
        example_kind="jsonl",
        severity="warning",
    ),
    Rule(
        code="warn.lone_surrogate",
        summary="escapes make whole characters",
        explanation="An escape such as \\ud83d is half a character. It decodes, but the text "
        "cannot be written as UTF-8, which breaks tokenisers; it is what is left when text is "
        "cut in the middle of an emoji.",
        advice="Cut text by characters, not by UTF-16 units.",
        good='{"text": "\\ud83d\\ude00"}',
        bad='{"text": "\\ud83d"}',
        example_kind="jsonl",
        severity="warning",
    ),
    Rule(
        code="warn.untrimmed_key",
        summary="keys have no white space around them",
        explanation='A key such as "role " is another key than "role". Where keys are free, it '
        "passes, and its value goes unread.",
        advice="Trim the column names where the records are made.",
        good='{"messages": [{"role": "assistant", "content": "Hello", "weight": 0}]}',
        bad='{"messages": [{"role": "assistant", "content": "Hello", " weight": 0}]}',
        example_kind="jsonl",
        severity="warning",
    ),
    Rule(
        code="warn.tools",
        summary="tools is a list of functions",
        explanation="The vendor's clients accept any value under tools; a chat template needs a "
        'list of objects of type "function" with a function that has a name.',
        advice="Write tools as for a chat completion.",
        good='{"messages": [{"role": "assistant", "content": "Hello"}], '
        '"tools": [{"type": "function", "function": {"name": "look_up"}}]}',
        bad='{"messages": [{"role": "assistant", "content": "Hello"}], "tools": "look_up"}',
        example_kind="jsonl",
        rule_sets=("standard",),
        purposes=("fine-tune",),
        severity="warning",
    ),
    Rule(
        code="warn.duplicate_record",
        summary="no record is there twice",
        explanation="Looked for with --duplicates: the same bytes, without the line's end, on "
        "another line before it, or in a file before it. A model learns repeated records by "
        "heart, and those in both training and evaluation data make results look better than "
        "they are.",
        advice="Remove the copies, unless they are there to give a record more weight.",
        good="ten lines, each another record",
        bad="ten lines, two of them the same",
        severity="warning",
    ),
)
