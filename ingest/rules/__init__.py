"""What makes a dataset file valid: the rules, as pure functions over values in memory.

    catalog.py        every rule by its code: summary, explanation, advice, a good and a bad example
      rule.py, catalog_files.py, catalog_records.py, catalog_formats.py    the entries themselves
    file_level.py     what a name and a size tell before a byte is read
    records.py        check_line: one JSON line -> its verdict; the way in for readers
      json_text.py    text -> value exactly as Python's json reads it, safe against deep nesting
      formats.py      which of the four dataset formats a record's keys fit
      conversation.py, content.py, preference.py, batch.py         what each format asks for
      parts.py        how many messages and images a record has, for statistics
      advisories.py   oddities that do not change the verdict; looked for only when asked
    verdict.py        RecordProblem, LineVerdict, and how messages name a value

Readers (``ingest.validation``) call ``check_line`` for the lines that their fast path does not
accept, and ``check_file_facts`` once a file. The command line and the report formats read the
catalog. Rules that need a whole file (``format.mixed``, a ``custom_id`` used twice, the CSV and
Parquet rules) belong to the readers; their codes are in the catalog all the same.

A rule set is one of three. ``strict`` and ``basic`` are what the vendor's 1.5 and 3.x clients
check; ``standard``, between them, is what the 2.x client checks. Verdicts and first bad lines
equal theirs for fine-tuning and evaluation data, which ``tests/differential`` proves.

Nothing in this package does I/O, keeps state, or raises on any input.
"""
