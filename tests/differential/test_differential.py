"""Our verdicts and first bad lines are those of the vendor's clients."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.files import RuleSet
from ingest.rules.catalog import RULES
from tests.differential import ours
from tests.differential.cases import all_cases, exceptions
from tests.differential.compare import BEYOND_THE_REFERENCE, difference
from tests.differential.fuzz import differences
from tests.differential.reference import Reference, open_references

pytestmark = pytest.mark.vendor

FILES = int(os.environ.get("DIFFERENTIAL_FILES", "2000"))
"""How many random files are tried; a quarter of them in each test, to spread over processes."""

NOT_IN_THE_CASES = frozenset(
    {
        "file.not_found",  # nothing to compare: there is no file
        "file.unreadable",
        "file.too_large",  # 50 GiB
        *BEYOND_THE_REFERENCE,
    }
)


@pytest.fixture(scope="module")
def references() -> Iterator[dict[RuleSet, Reference]]:
    """One process of each generation of the client."""
    with open_references() as opened:
        yield opened


def test_hand_made_files(references: dict[RuleSet, Reference], tmp_path: Path) -> None:
    found = []
    for case in all_cases():
        path = case.file.write(tmp_path)
        for rules, reference in references.items():
            answer = reference.check(path, case.file.purpose)
            for slices in (1, 3):
                report = ours.check(path, rules, case.file.purpose, slices)
                said = difference(report, answer)
                if said:
                    found.append(f"{case.name}, {rules}, {slices} slices: {said}")
    assert not found, "\n".join(found)


def test_the_hand_made_files_break_every_rule_that_can_be_compared(tmp_path: Path) -> None:
    met = set()
    for case in all_cases():
        path = case.file.write(tmp_path)
        report = ours.check(path, "strict", case.file.purpose)
        met |= {problem.code for problem in report.problems}
    comparable = {
        rule.code for rule in RULES if rule.severity == "error" and rule.purposes != ("batch-api",)
    }
    assert comparable - met == NOT_IN_THE_CASES


def test_the_listed_exceptions_are_what_the_rules_say(
    references: dict[RuleSet, Reference], tmp_path: Path
) -> None:
    for exempt in exceptions():
        path = exempt.file.write(tmp_path)
        for rules in exempt.rule_sets:
            report = ours.check(path, rules, exempt.file.purpose)
            codes = {problem.code for problem in report.problems}
            assert codes == set(exempt.codes), exempt.name
            answer = references[rules].check(path, exempt.file.purpose)
            assert answer.valid == exempt.vendor_valid, exempt.name


@pytest.mark.parametrize("quarter", range(4))
def test_random_files(quarter: int, references: dict[RuleSet, Reference], tmp_path: Path) -> None:
    count = FILES // 4
    found: list[str] = []
    for seed in range(quarter * count, (quarter + 1) * count):
        found += differences(seed, references, tmp_path)
    assert not found, "\n".join(found)
