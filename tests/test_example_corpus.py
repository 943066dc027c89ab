"""The corpus of the demo and the benchmarks is what it says it is."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from examples.make_corpus import MISTAKES, make_corpus, write_conversations, write_mistakes
from ingest.rules.catalog import find_rule
from ingest.rules.records import check_line


def codes_by_line(path: Path) -> dict[int, list[str]]:
    """The codes of the records that break a rule by themselves (not by their company)."""
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        verdict = check_line(line, "standard", "fine-tune")
        if verdict.problems:
            found[number] = [problem.code for problem in verdict.problems]
    return found


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder, 4_000_000)
    return folder


@pytest.mark.parametrize(
    ("name", "dataset_format"),
    [
        ("conversations/train.jsonl", "conversation"),
        ("conversations/held-out.jsonl", "conversation"),
        ("instructions.jsonl", "instruction"),
        ("preferences.jsonl", "preference"),
    ],
)
def test_good_files_are_good_and_no_two_of_their_records_are_equal(
    corpus: Path, name: str, dataset_format: str
) -> None:
    path = corpus / "good" / name
    assert codes_by_line(path) == {}
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(set(lines)) == len(lines) > 50
    assert check_line(lines[0], "standard", "fine-tune").dataset_format == dataset_format
    assert not path.read_text(encoding="utf-8").isascii()


def test_the_tokens_are_lists_of_equal_length_in_several_row_groups(tmp_path: Path) -> None:
    make_corpus(tmp_path, 20_000_000)
    file = pq.ParquetFile(tmp_path / "good" / "tokenized" / "train.parquet")
    assert file.num_row_groups > 1
    table = file.read()
    assert table.column_names == ["input_ids", "attention_mask", "labels"]
    lengths = [[len(row) for row in column] for column in table.columns]
    assert lengths[0] == lengths[1] == lengths[2]


def test_the_good_files_have_about_the_size_that_was_asked_for(corpus: Path) -> None:
    sizes = [path.stat().st_size for path in (corpus / "good").rglob("*.jsonl")]
    assert sum(sizes) == pytest.approx(3_400_000, rel=0.01)


def test_each_mistake_is_on_the_line_that_is_promised_and_breaks_one_rule(tmp_path: Path) -> None:
    expected = write_mistakes(tmp_path / "mistakes.jsonl", every=20)
    assert len(set(expected.values())) == len(expected) == len(MISTAKES) >= 12
    assert all(find_rule(code) for code in expected.values())
    # A record of another format is good by itself, and wrong only among conversations.
    alone = {line: [code] for line, code in expected.items() if code != "format.mixed"}
    assert codes_by_line(tmp_path / "mistakes.jsonl") == alone


def test_one_seed_makes_the_same_bytes_and_another_one_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_conversations(tmp_path / name, 200_000, seed)
    contents = [(tmp_path / name).read_bytes() for name in "abc"]
    assert contents[0] == contents[1] != contents[2]


def test_mistakes_can_be_spread_evenly_over_a_large_file(tmp_path: Path) -> None:
    records = write_conversations(tmp_path / "a.jsonl", 1_000_000, bad_every=25)
    bad = codes_by_line(tmp_path / "a.jsonl")
    assert set(bad) <= set(range(25, records + 1, 25))
    assert len(bad) >= records // 25 - records // 25 // len(MISTAKES) - 1


def test_a_file_stops_at_its_size(tmp_path: Path) -> None:
    records = write_conversations(tmp_path / "a.jsonl", 500_000)
    data = (tmp_path / "a.jsonl").read_bytes()
    assert data.count(b"\n") == records
    assert 500_000 <= len(data) < 600_000
