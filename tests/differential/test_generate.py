"""The random files are worth trying: varied, repeatable, and neither all good nor all bad."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from ingest.rules.catalog import RULES
from tests.differential.fuzz import generate
from tests.differential.generate import generate_jsonl
from tests.differential.sequential import check_jsonl

TOO_RARE = {"content.image_size", "json.too_deep", "file.empty", "file.no_records"}


@pytest.fixture(scope="module")
def met() -> Counter[str]:
    """How many of 1,500 files break each rule; "" counts the valid ones."""
    counter: Counter[str] = Counter()
    for seed in range(1500):
        file = generate_jsonl(random.Random(seed))
        findings, _ = check_jsonl(file.data, "strict", file.purpose)
        counter.update({finding.code for finding in findings} or {""})
    return counter


def test_the_same_seed_makes_the_same_file() -> None:
    for seed in range(50):
        assert generate(seed)[0] == generate(seed)[0]


def test_random_files_break_every_rule_on_records(met: Counter[str]) -> None:
    wanted = {
        rule.code
        for rule in RULES
        if rule.example_kind == "jsonl"
        and rule.severity == "error"
        and "fine-tune" in rule.purposes
    }
    for code in wanted - TOO_RARE:
        assert met[code] >= 3, code


def test_many_random_files_are_valid(met: Counter[str]) -> None:
    assert 150 < met[""] < 1000
