"""Random files against the vendor's clients, for as long as you like.

    python -m tests.differential.fuzz --seconds 600 --seed 1

Prints one line for each difference, with the seed that makes its file again
(``--seed S --files 1 --keep DIR`` leaves the file in DIR), and ends with 1 if there was any.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ingest.files import FileReport, RuleSet
from tests.differential import ours
from tests.differential.compare import difference
from tests.differential.generate import DatasetFile, generate_csv, generate_jsonl
from tests.differential.generate_parquet import generate_parquet
from tests.differential.reference import Reference, open_references
from tests.differential.sequential import Finding, check_jsonl

References = Mapping[RuleSet, Reference]


GENERATORS = {"jsonl": generate_jsonl, "csv": generate_csv, "parquet": generate_parquet}
_SHARES = (80, 14, 6)


def generate(
    seed: int, file_types: tuple[str, ...] = tuple(GENERATORS)
) -> tuple[DatasetFile, random.Random]:
    """Make the file of a seed, and the source of whatever else is random about its check."""
    rng = random.Random(seed)
    (drawn,) = rng.choices(tuple(GENERATORS), _SHARES)
    file_type = drawn if drawn in file_types else rng.choice(file_types)
    return GENERATORS[file_type](rng), rng


def differences(
    seed: int,
    references: References,
    directory: Path,
    file_types: tuple[str, ...] = tuple(GENERATORS),
) -> Iterator[str]:
    """Say every difference over the file of one seed: with the vendor, and among our readers."""
    file, rng = generate(seed, file_types)
    path = file.write(directory)
    slices = rng.choice((1, 2, 3, 7))
    for rules, reference in references.items():
        report = ours.check(path, rules, file.purpose, slices)
        answer = reference.check(path, file.purpose)
        found = difference(report, answer)
        if found:
            yield f"seed {seed}, {rules}, {file.suffix}: {found} ({answer.message})"
        if file.suffix == ".jsonl":
            wanted, records = check_jsonl(file.data, rules, file.purpose)
            found = _reader_difference(report, wanted, records)
            if found:
                yield f"seed {seed}, {rules}, in {slices} slices: {found}"


def _reader_difference(report: FileReport, wanted: list[Finding], records: int) -> str | None:
    """Say how the reader's report differs from what the simplest reader found."""
    found = [Finding(p.line, p.record, p.path, p.code) for p in report.problems]
    if report.problem_count != len(found):
        return f"{report.problem_count} problems counted, {len(found)} listed"
    if any(f.code == "file.not_utf8" for f in wanted):
        # What the readable lines of such a file break is told besides; one problem must be this.
        return None if wanted[0] in found else f"file.not_utf8 is missing from {found[:3]}"
    # Problems of one line may come in any order of rules.
    if sorted(map(repr, found)) != sorted(map(repr, wanted)):
        extra = [f for f in found if f not in wanted]
        missing = [f for f in wanted if f not in found]
        return f"the reader reports {extra[:3]} and lacks {missing[:3]}"
    if report.records != records:
        return f"the reader counts {report.records} records, there are {records}"
    return None


def main() -> int:
    """Run until the time is over or the files are done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--files", type=int, default=sys.maxsize)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path, help="keep the last file here")
    parser.add_argument("--only", choices=tuple(GENERATORS), help="one type of file")
    settings = parser.parse_args()
    file_types = (settings.only,) if settings.only else tuple(GENERATORS)
    deadline = time.monotonic() + settings.seconds
    files = count = 0
    with contextlib.ExitStack() as stack:
        directory = settings.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        directory.mkdir(parents=True, exist_ok=True)
        references = stack.enter_context(open_references())
        while files < settings.files and time.monotonic() < deadline:
            for found in differences(settings.seed + files, references, directory, file_types):
                count += 1
                print(found, flush=True)
            files += 1
            if files % 5000 == 0:
                print(f"{files} files, {count} differences so far", file=sys.stderr, flush=True)
    last = settings.seed + files - 1
    print(f"{files} files, seeds {settings.seed} to {last}: {count} differences", file=sys.stderr)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
