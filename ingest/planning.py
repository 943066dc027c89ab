"""Plans a run by arithmetic alone: sources become upload files, parts and validation slices.

Called by the driver and by ``ingest plan``, after discovery and after the record borders of files
that must be cut are known. Limits come in as one value, so that each boundary can be tested as a
table. It must never do I/O, and the same sources and limits must always give the same plan: a
later run compares its own plan with what an earlier one has sent.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import PurePosixPath

from ingest.files import (
    FileType,
    Part,
    Purpose,
    RuleSet,
    Segment,
    SliceTask,
    SourceFile,
    UploadFile,
)
from ingest.rules.file_level import DEFAULT_MAX_FILE_SIZE_BYTES, file_type_of

_HASH_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the size of what is sent and validated, in bytes.

    The defaults are those of the vendor's clients and of S3.

    Attributes:
        multipart_threshold_bytes: a file over this is sent in parts.
        part_size_bytes: the part size to aim at; large files get larger parts.
        min_part_size_bytes: the smallest part but for the last (an S3 rule).
        max_parts: the most parts of one upload.
        max_file_size_bytes: the largest upload file.
        shard_size_bytes: JSONL files over this are cut into several; None cuts only those over
            the largest upload file.
        slice_size_bytes: how much of a JSONL file one validation task takes.
    """

    multipart_threshold_bytes: int = 5 * 2**30
    part_size_bytes: int = 250 * 2**20
    min_part_size_bytes: int = 5 * 2**20
    max_parts: int = 250
    max_file_size_bytes: int = DEFAULT_MAX_FILE_SIZE_BYTES
    shard_size_bytes: int | None = None
    slice_size_bytes: int = 64 * 2**20

    def __post_init__(self) -> None:
        positive = (
            self.part_size_bytes,
            self.min_part_size_bytes,
            self.max_parts,
            self.max_file_size_bytes,
            self.slice_size_bytes,
            1 if self.shard_size_bytes is None else self.shard_size_bytes,
        )
        if min(positive) < 1 or self.multipart_threshold_bytes < 0:
            raise ValueError(f"every limit must be positive: {self}")

    @property
    def cut_size_bytes(self) -> int:
        """The longest shard: a JSONL file over this becomes several upload files."""
        return min(self.shard_size_bytes or self.max_file_size_bytes, self.max_file_size_bytes)


# --- parts ----------------------------------------------------------------------------------------


def part_ranges(size_bytes: int, limits: Limits) -> tuple[Part, ...]:
    """The parts of a multipart upload; none if one request carries the file.

    All parts but the last have the same length. None is empty, and none but the last is shorter
    than ``min_part_size_bytes``.
    """
    if size_bytes <= limits.multipart_threshold_bytes:
        return ()
    count = min(
        limits.max_parts,
        _ceil_div(size_bytes, limits.part_size_bytes),
        max(1, size_bytes // limits.min_part_size_bytes),
    )
    length = _ceil_div(size_bytes, count)
    # Rounding up can leave nothing for the last parts of many small ones; they do not exist then.
    return tuple(
        Part(number, offset, min(length, size_bytes - offset))
        for number, offset in enumerate(range(0, size_bytes, length), start=1)
    )


# --- cutting --------------------------------------------------------------------------------------


def needs_cutting(source: SourceFile, file_type: FileType | None, limits: Limits) -> bool:
    """Whether the file is sent as several; its record borders must be looked up first."""
    return file_type == "jsonl" and source.size_bytes > limits.cut_size_bytes


def why_not_cut(source: SourceFile, file_type: FileType | None, limits: Limits) -> str | None:
    """Why a file above a size limit is not cut, and what to do; None if it is, or need not be."""
    if file_type == "jsonl" or source.size_bytes <= limits.cut_size_bytes:
        return None
    too_large = source.size_bytes > limits.max_file_size_bytes
    kind = file_type or "unknown"
    advice = "write it as several files" if too_large else "it is sent whole"
    return f"only jsonl files can be cut, this one is {kind}; {advice}"


def plan_upload_files(
    sources: Sequence[SourceFile], borders: Mapping[str, Sequence[int]], limits: Limits
) -> tuple[UploadFile, ...]:
    """The upload files of a run, in the order of their sources.

    Args:
        sources: each URI once, with names that end in a file type of ours.
        borders: for the sources that are cut, by URI: the offsets of the cuts.
        limits: the sizes of parts.

    Raises:
        ValueError: a source's file type is unknown, or its borders do not lie within it.
    """
    shard_counts = {uri: len(offsets) + 1 for uri, offsets in borders.items() if offsets}
    names = _unique_names(sources, shard_counts)
    files = []
    for source in sources:
        file_type = file_type_of(source.name)
        if file_type is None:
            raise ValueError(f"{source.uri}: not a dataset file, it cannot be planned")
        edges = _edges(source.size_bytes, borders.get(source.uri, ()))
        ranges = list(pairwise(edges))
        for name, (start, end) in zip(names[source.uri], ranges, strict=True):
            parts = part_ranges(end - start, limits)
            least = max(limits.min_part_size_bytes, _ceil_div(end - start, limits.max_parts))
            files.append(
                UploadFile(
                    name=name,
                    file_type=file_type,
                    segments=(Segment(source, start, end - start),),
                    parts=parts,
                    least_part_bytes=least if parts else 0,
                )
            )
    return tuple(files)


def fit_parts(file: UploadFile, bytes_s: float, timeout_s: float, limits: Limits) -> UploadFile:
    """``file`` in parts that a link of ``bytes_s`` carries in half of ``timeout_s``.

    As it is if its parts are small enough already, or cannot be smaller.
    """
    length = max(file.least_part_bytes, int(bytes_s * timeout_s / 2))
    if not file.parts or file.parts[0].length <= length:
        return file
    limits = replace(limits, multipart_threshold_bytes=0, part_size_bytes=length)
    return replace(file, parts=part_ranges(file.size_bytes, limits))


# --- validation slices ----------------------------------------------------------------------------


def slice_ranges(
    size_bytes: int, borders: Sequence[int], slice_size_bytes: int
) -> tuple[tuple[int, int], ...]:
    """The ``(start, end)`` of a JSONL file's slices, about equally long within each shard.

    A slice never lies in two shards, so that the counts of its slices add up to a shard's.
    An empty file has one empty slice: somebody has to say that it is empty.
    """
    slices: list[tuple[int, int]] = []
    edges = _edges(size_bytes, borders)
    for start, end in pairwise(edges):
        count = max(1, _ceil_div(end - start, slice_size_bytes))
        cuts = [start + (end - start) * n // count for n in range(count + 1)]
        slices += pairwise(cuts)
    return tuple(slices)


def plan_slices(
    source: SourceFile,
    file_type: FileType,
    purpose: Purpose,
    rules: RuleSet,
    borders: Sequence[int],
    limits: Limits,
    max_problems: int,
) -> tuple[SliceTask, ...]:
    """The validation tasks of one source, in file order. CSV and Parquet files are one slice."""
    if file_type == "jsonl":
        ranges = slice_ranges(source.size_bytes, borders, limits.slice_size_bytes)
    else:
        ranges = ((0, source.size_bytes),)
    return tuple(
        SliceTask(source, file_type, purpose, rules, start, end, max_problems)
        for start, end in ranges
    )


def _edges(size_bytes: int, borders: Sequence[int]) -> list[int]:
    edges = [0, *borders, size_bytes]
    if borders and any(start >= end for start, end in pairwise(edges)):
        raise ValueError(f"borders {list(borders)} do not rise within a file of {size_bytes} bytes")
    return edges


def _ceil_div(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


# --- names ----------------------------------------------------------------------------------------


def upload_names(sources: Sequence[SourceFile]) -> dict[str, str]:
    """The name of each source at the API, by URI: its own, made unique by its folders.

    ``train/a.jsonl`` and ``test/a.jsonl`` become ``train-a.jsonl`` and ``test-a.jsonl``; a file
    that shares its name with none keeps it, whatever else is in the run. See ``plan_upload_files``
    for the names of shards.
    """
    return {uri: names[0] for uri, names in _unique_names(sources, {}).items()}


def _unique_names(
    sources: Sequence[SourceFile], shard_counts: Mapping[str, int]
) -> dict[str, tuple[str, ...]]:
    """The names of each source's upload files, by URI, no two alike.

    Every source starts with its own name (depth 0). Of those that claim the same name, the one
    that took in the fewest folders keeps it if it is the only such one; the others take in one
    more, and so on until nothing is shared. The outcome does not depend on the order of sources.
    """
    depths = {source.uri: 0 for source in sources}
    if len(depths) != len(sources):
        raise ValueError("a source is planned twice")
    claims: dict[str, tuple[str, ...]] = {}
    deeper = set(depths)
    while deeper:
        for uri in deeper:
            claims[uri] = _claimed(uri, depths[uri], shard_counts.get(uri, 1))
        deeper = _losers(claims, depths)
        for uri in deeper:
            depths[uri] += 1
    return {uri: names[1:] or names for uri, names in claims.items()}


def _losers(claims: Mapping[str, tuple[str, ...]], depths: Mapping[str, int]) -> set[str]:
    """The sources that must give up a name which another one claims with more right, or as much."""
    claimants: dict[str, list[tuple[int, bool, str]]] = defaultdict(list)
    for uri, names in claims.items():
        for name in names:
            # A file that is really called a-00001-of-00002.jsonl goes before a shard of a.jsonl.
            claimants[name].append((depths[uri], name != names[0], uri))
    losers: set[str] = set()
    for rivals in claimants.values():
        first, *others = sorted(rivals)
        losers.update(uri for _, _, uri in others)
        if others and others[0][:2] == first[:2]:
            losers.add(first[2])
    return losers


def _claimed(uri: str, depth: int, shards: int) -> tuple[str, ...]:
    """The whole file's name, and those of its shards if it is cut."""
    name = _name_at_depth(uri, depth)
    if shards == 1:
        return (name,)
    stem, suffix = _split_suffix(name)
    return (name, *(f"{stem}-{n:05}-of-{shards:05}{suffix}" for n in range(1, shards + 1)))


def _name_at_depth(uri: str, depth: int) -> str:
    """The file's own name with ``depth`` of its folders before it; past the last, with a hash."""
    *folders, name = [part for part in uri.removeprefix("s3://").split("/") if part]
    if depth <= len(folders):
        return "-".join([*folders[len(folders) - depth :], name])
    stem, suffix = _split_suffix(name)
    digest = hashlib.sha256(f"{depth - len(folders)} {uri}".encode()).hexdigest()
    return f"{stem}-{digest[:_HASH_DIGITS]}{suffix}"


def _split_suffix(name: str) -> tuple[str, str]:
    path = PurePosixPath(name)
    return path.stem, path.suffix
