"""Checks one file as one slice, in this process: what ``benchmarks.validation`` measures.

    python -m benchmarks.kernel FILE RULES

Prints the seconds of the check alone; ends with 0 where the file is valid, else with 5. It imports
nothing but what a worker does, so that its peak of memory is a worker's.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import cast

from ingest.files import RuleSet, SliceTask
from ingest.sources import stat_source
from ingest.validation import merge_slices, validate_slice

BAD_DATA = 5


def main() -> int:
    """Check."""
    path, rules = sys.argv[1], cast("RuleSet", sys.argv[2])
    source = stat_source(path, Path(path).name)
    # Readers are imported when the first slice asks for one.
    validate_slice(SliceTask(source, "jsonl", "fine-tune", rules, 0, 0))
    began = time.perf_counter()
    task = SliceTask(source, "jsonl", "fine-tune", rules, 0, source.size_bytes)
    result = validate_slice(task)
    report = merge_slices(source, "jsonl", "fine-tune", rules, 100, [result])
    print(time.perf_counter() - began)
    return 0 if report.valid else BAD_DATA


if __name__ == "__main__":
    sys.exit(main())
