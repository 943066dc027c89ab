"""Planning is arithmetic: tables at the boundaries, and properties over everything between."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.files import FileType, SourceFile
from ingest.planning import (
    Limits,
    needs_cutting,
    part_ranges,
    plan_slices,
    plan_upload_files,
    slice_ranges,
    upload_names,
    why_not_cut,
)

MIB = 2**20
GIB = 2**30
SMALL = Limits(
    multipart_threshold_bytes=0, part_size_bytes=100, min_part_size_bytes=10, max_parts=7
)


def source(uri: str, size_bytes: int = 10, name: str | None = None) -> SourceFile:
    return SourceFile(uri, name or uri.rpartition("/")[2], size_bytes, "1-1")


# --- parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size_bytes", "count", "first", "last"),
    [
        pytest.param(0, 0, 0, 0, id="empty"),
        pytest.param(5 * GIB, 0, 0, 0, id="exactly the threshold is a single request"),
        pytest.param(5 * GIB + 1, 21, 255652816, 255652801, id="one byte over the threshold"),
        pytest.param(250 * 250 * MIB, 250, 250 * MIB, 250 * MIB, id="250 parts of the target"),
        pytest.param(250 * 250 * MIB + 1, 250, 250 * MIB + 1, 250 * MIB - 248, id="250, grown"),
    ],
)
def test_parts_by_the_default_limits(size_bytes: int, count: int, first: int, last: int) -> None:
    parts = part_ranges(size_bytes, Limits())
    assert len(parts) == count
    if parts:
        assert (parts[0].length, parts[-1].length) == (first, last)
        assert parts[-1].offset + parts[-1].length == size_bytes


@pytest.mark.parametrize(
    ("size_bytes", "limits", "lengths"),
    [
        pytest.param(1, SMALL, [1], id="one byte is one part"),
        pytest.param(100, SMALL, [100], id="exactly one target"),
        pytest.param(101, SMALL, [51, 50], id="one byte over one target"),
        pytest.param(700, SMALL, [100] * 7, id="exactly the most parts"),
        pytest.param(701, SMALL, [101] * 6 + [95], id="over the most parts: parts grow"),
        pytest.param(19, replace(SMALL, part_size_bytes=1), [19], id="under two smallest parts"),
        pytest.param(20, replace(SMALL, part_size_bytes=1), [10, 10], id="two smallest parts"),
        pytest.param(
            10,
            replace(SMALL, part_size_bytes=1, min_part_size_bytes=1),
            [2] * 5,
            id="ceil leaves two of seven parts empty: planned away",
        ),
        pytest.param(
            5 * MIB,
            Limits(multipart_threshold_bytes=0, part_size_bytes=1),
            [5 * MIB],
            id="5 MiB is the smallest part",
        ),
        pytest.param(
            10 * MIB - 1,
            Limits(multipart_threshold_bytes=0, part_size_bytes=1),
            [10 * MIB - 1],
            id="one byte short of two parts of 5 MiB",
        ),
    ],
)
def test_part_lengths(size_bytes: int, limits: Limits, lengths: list[int]) -> None:
    assert [part.length for part in part_ranges(size_bytes, limits)] == lengths


@given(
    size=st.integers(1, 10**13),
    target=st.integers(1, 10**10),
    smallest=st.integers(1, 10**8),
    most=st.integers(1, 300),
)
def test_parts_tile_the_file_within_the_limits(
    size: int, target: int, smallest: int, most: int
) -> None:
    limits = Limits(
        multipart_threshold_bytes=0,
        part_size_bytes=target,
        min_part_size_bytes=smallest,
        max_parts=most,
    )
    parts = part_ranges(size, limits)
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert parts[0].offset == 0
    assert all(a.offset + a.length == b.offset for a, b in pairwise(parts))
    assert parts[-1].offset + parts[-1].length == size
    assert len(parts) <= most
    assert len({part.length for part in parts[:-1]}) <= 1
    assert all(part.length >= smallest for part in parts[:-1])
    assert 0 < parts[-1].length <= parts[0].length


@pytest.mark.parametrize("field", ["part_size_bytes", "max_parts", "slice_size_bytes"])
def test_a_limit_of_zero_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Limits(**{field: 0})


# --- cutting --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file_type", "size_bytes", "shard_size", "cut", "reason"),
    [
        pytest.param("jsonl", 100, 100, False, None, id="fits one shard"),
        pytest.param("jsonl", 101, 100, True, None, id="one byte over"),
        pytest.param("jsonl", 900, None, False, None, id="no shard size, below the limit"),
        pytest.param("jsonl", 1000, None, False, None, id="no shard size, exactly the limit"),
        pytest.param("jsonl", 1001, None, True, None, id="no shard size, one byte over the limit"),
        pytest.param("jsonl", 1001, 5000, True, None, id="the file limit bounds the shard size"),
        pytest.param("parquet", 101, 100, False, "it is sent whole", id="parquet over a shard"),
        pytest.param("csv", 1001, None, False, "write it as several", id="csv over the limit"),
        pytest.param("csv", 100, 100, False, None, id="csv that fits"),
    ],
)
def test_what_is_cut_and_why_not(
    file_type: FileType, size_bytes: int, shard_size: int | None, cut: bool, reason: str | None
) -> None:
    limits = Limits(max_file_size_bytes=1000, shard_size_bytes=shard_size)
    file = source(f"/d/a.{file_type}", size_bytes)
    assert needs_cutting(file, file_type, limits) is cut
    told = why_not_cut(file, file_type, limits)
    if reason is None:
        assert told is None
    else:
        assert told is not None
        assert reason in told


def test_a_file_is_planned_whole_or_in_numbered_shards() -> None:
    whole, cut = source("/d/a.jsonl", 50), source("/d/b.jsonl", 100)
    limits = Limits(multipart_threshold_bytes=30, part_size_bytes=20, min_part_size_bytes=1)
    files = plan_upload_files([whole, cut], {cut.uri: (30, 75)}, limits)
    assert [(f.name, f.size_bytes, len(f.parts)) for f in files] == [
        ("a.jsonl", 50, 3),
        ("b-00001-of-00003.jsonl", 30, 0),
        ("b-00002-of-00003.jsonl", 45, 3),
        ("b-00003-of-00003.jsonl", 25, 0),
    ]
    assert [(f.segments[0].offset, f.segments[0].length) for f in files] == [
        (0, 50),
        (0, 30),
        (30, 45),
        (75, 25),
    ]


@pytest.mark.parametrize("borders", [(0,), (10,), (5, 5), (7, 3), (11,)])
def test_borders_outside_the_file_are_refused(borders: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not rise"):
        plan_upload_files([source("/d/a.jsonl", 10)], {"/d/a.jsonl": borders}, Limits())


def test_an_unknown_file_type_cannot_be_planned() -> None:
    with pytest.raises(ValueError, match="not a dataset file"):
        plan_upload_files([source("/d/a.txt")], {}, Limits())


# --- slices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size_bytes", "borders", "slice_size", "expected"),
    [
        pytest.param(0, (), 10, ((0, 0),), id="an empty file has one empty slice"),
        pytest.param(10, (), 10, ((0, 10),), id="exactly one"),
        pytest.param(11, (), 10, ((0, 5), (5, 11)), id="one byte over: equal halves"),
        pytest.param(20, (4,), 10, ((0, 4), (4, 12), (12, 20)), id="cut at a shard's border"),
    ],
)
def test_slices(
    size_bytes: int,
    borders: tuple[int, ...],
    slice_size: int,
    expected: tuple[tuple[int, int], ...],
) -> None:
    assert slice_ranges(size_bytes, borders, slice_size) == expected


@given(
    size=st.integers(1, 10**7),
    cuts=st.sets(st.integers(1, 10**7), max_size=5),
    slice_size=st.integers(10**4, 10**7),
)
def test_slices_tile_the_file_and_each_shard(size: int, cuts: set[int], slice_size: int) -> None:
    borders = sorted(cut for cut in cuts if cut < size)
    slices = slice_ranges(size, borders, slice_size)
    assert slices[0][0] == 0
    assert slices[-1][1] == size
    assert all(a[1] == b[0] for a, b in pairwise(slices))
    assert all(0 < end - start <= slice_size for start, end in slices)
    assert set(borders) <= {start for start, _ in slices}


@pytest.mark.parametrize(("file_type", "count"), [("jsonl", 4), ("csv", 1), ("parquet", 1)])
def test_only_jsonl_is_validated_in_slices(file_type: FileType, count: int) -> None:
    file = source(f"/d/a.{file_type}", 100)
    limits = Limits(slice_size_bytes=30)
    tasks = plan_slices(file, file_type, "fine-tune", "strict", (), limits, max_problems=7)
    assert len(tasks) == count
    assert (tasks[0].start, tasks[-1].end) == (0, 100)
    assert {(t.source, t.rules, t.purpose, t.max_problems) for t in tasks} == {
        (file, "strict", "fine-tune", 7)
    }


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uris", "names"),
    [
        pytest.param(["/d/a.jsonl", "/d/b.jsonl"], ["a.jsonl", "b.jsonl"], id="their own names"),
        pytest.param(
            ["/d/train/a.jsonl", "/d/test/a.jsonl"],
            ["train-a.jsonl", "test-a.jsonl"],
            id="shared: with the folder",
        ),
        pytest.param(
            ["/d/x/train/a.jsonl", "/d/y/train/a.jsonl", "/d/test/a.jsonl"],
            ["x-train-a.jsonl", "y-train-a.jsonl", "test-a.jsonl"],
            id="ever more folders, only where needed",
        ),
        pytest.param(
            ["/d/train/a.jsonl", "/d/test/a.jsonl", "/d/train-a.jsonl"],
            ["d-train-a.jsonl", "test-a.jsonl", "train-a.jsonl"],
            id="a real name goes before a made one",
        ),
        pytest.param(
            ["/a.jsonl", "/d/a.jsonl"],
            ["a-08875414.jsonl", "d-a.jsonl"],
            id="no folder left: a hash of the URI",
        ),
        pytest.param(
            ["s3://one/p/a.jsonl", "s3://two/p/a.jsonl"],
            ["one-p-a.jsonl", "two-p-a.jsonl"],
            id="buckets count as folders",
        ),
        pytest.param(
            ["/d/train/a.tar.jsonl", "/d/test/a.tar.jsonl"],
            ["train-a.tar.jsonl", "test-a.tar.jsonl"],
            id="the suffix is kept",
        ),
    ],
)
def test_upload_names(uris: list[str], names: list[str]) -> None:
    made = upload_names([source(uri) for uri in uris])
    assert [made[uri] for uri in uris] == names


def test_shards_never_take_the_name_of_a_real_file() -> None:
    cut, real = source("/d/a.jsonl", 100), source("/d/a-00001-of-00002.jsonl", 100)
    files = plan_upload_files([cut, real], {cut.uri: (50,)}, Limits())
    assert [file.name for file in files] == [
        "d-a-00001-of-00002.jsonl",
        "d-a-00002-of-00002.jsonl",
        "a-00001-of-00002.jsonl",
    ]


def test_a_source_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="planned twice"):
        upload_names([source("/d/a.jsonl"), source("/d/a.jsonl")])


paths = st.lists(
    st.sampled_from(["a", "b", "a-b", "a-00001-of-00002"]), min_size=1, max_size=4
).map(lambda parts: "/" + "/".join(parts) + ".jsonl")


@given(st.lists(paths, unique=True, max_size=12), st.sets(paths), st.randoms())
def test_names_are_unique_flat_and_independent_of_order(uris, cut, random) -> None:  # type: ignore[no-untyped-def]
    sources = [source(uri) for uri in uris]
    borders = dict.fromkeys(cut, (5,))
    files = plan_upload_files(sources, borders, Limits())
    names = {(f.segments[0].source.uri, f.segments[0].offset): f.name for f in files}
    assert len(set(names.values())) == len(files)
    assert all(name.endswith(".jsonl") and "/" not in name for name in names.values())
    random.shuffle(sources)
    again = plan_upload_files(sources, borders, Limits())
    assert {(f.segments[0].source.uri, f.segments[0].offset): f.name for f in again} == names


@given(st.lists(paths, unique=True, max_size=8))
def test_a_file_of_another_name_renames_nothing(uris: list[str]) -> None:
    before = upload_names([source(uri) for uri in uris])
    after = upload_names([source(uri) for uri in [*uris, "/elsewhere/unrelated.jsonl"]])
    assert before.items() <= after.items()
