"""Readers that turn dataset files into verdicts, one slice at a time.

    validate_slice   runs in a worker (process pool or Ray task): one slice -> SliceResult
    merge_slices     runs in the driver: all results of a file, in order -> FileReport
    every_problem.iter_problems   runs in the driver: finds again what a report has only counted

    slices.py        validate_slice: opens the source and chooses the reader for its file type
      jsonl.py       JSON Lines: batches of lines; the fast path, and check_line for the rest
        lines.py     a byte range of a stream -> Arrow batches of whole lines, zero copy
        fast.py      what accepts most valid lines without decoding their text
          shapes.py  how lines of each format are accepted, and structs.py what of
      parquet_rows.py   tokenised Parquet, batch by batch
      csv_rows.py       evaluation CSV, row by row
    findings.py      SliceResult, and what collects it while a slice is read
    merge.py         merge_slices: pure; makes line numbers absolute, applies whole-file rules
    every_problem.py iter_problems: a second reading of files with more problems than are kept

What a record must be is said once, in ``ingest.rules``: the fast path may only ever be stricter.
Anything wrong with data is a problem with a code; only a source that cannot be read, or is no
longer the one that was planned, raises (``SourceError``, ``SourceChanged``, ``Retryable``).
A report does not depend on how a file is cut into slices, or on the size of the blocks read.
Importing this package is cheap, for the sake of drivers: only workers need the readers.
"""

from ingest.validation.findings import SliceResult
from ingest.validation.merge import join_statistics, merge_slices
from ingest.validation.slices import validate_slice

__all__ = ["SliceResult", "join_statistics", "merge_slices", "validate_slice"]
