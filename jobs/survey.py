"""Stages 1 and 2: what there is to send, and how it would be cut and sent. No worker is needed.

Used by `ingest check`, `ingest plan` and `ingest publish`. It reads no content but the few blocks
around the places where a file is cut.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from ingest.borders import RecordTooLarge, find_borders
from ingest.errors import IngestError, UsageError
from ingest.files import FileReport, Problem, SliceTask, SourceFile, UploadFile
from ingest.planning import Limits, needs_cutting, plan_slices, plan_upload_files
from ingest.rules.file_level import check_file_facts, file_type_of
from ingest.settings import CheckSettings, PlanSettings
from ingest.sources import Skipped, discover, is_s3

UNREADABLE = frozenset({"file.not_found", "file.unreadable"})
"""The codes of files that could not be read at all, which is exit code 2, not 5."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found and planned.

    Attributes:
        sources: what may be sent, as far as names and sizes tell.
        refused: the reports of what is missing, unreadable, or wrong by name or size.
        skipped: what was left out on purpose (hidden files).
        borders: for each source that is cut, the offsets of its cuts.
        uploads: the upload files, in the order of their sources.
    """

    sources: tuple[SourceFile, ...]
    refused: tuple[FileReport, ...]
    skipped: tuple[Skipped, ...]
    borders: dict[str, tuple[int, ...]]
    uploads: tuple[UploadFile, ...]
    limits: Limits

    def slices(self, settings: CheckSettings, source: SourceFile) -> tuple[SliceTask, ...]:
        """The validation tasks of one of the sources, in file order."""
        file_type = file_type_of(source.name)
        assert file_type is not None, "sources of other types are refused"
        return plan_slices(
            source,
            file_type,
            settings.purpose,
            settings.rules,
            self.borders.get(source.uri, ()),
            self.limits,
            settings.max_problems,
        )


def limits_of(settings: CheckSettings) -> Limits:
    """The limits a plan is held to."""
    limits = Limits(
        max_file_size_bytes=settings.max_file_size,
        shard_size_bytes=settings.shard_size,
        slice_size_bytes=settings.slice_size,
    )
    if not isinstance(settings, PlanSettings):
        return limits
    part_size_bytes = int(settings.part_size)
    if settings.max_bandwidth is not None:  # a part has to arrive in time though it goes slowly
        in_time_bytes = int(settings.max_bandwidth * settings.part_timeout / 2)
        part_size_bytes = max(settings.min_part_bytes, min(part_size_bytes, in_time_bytes))
    return replace(
        limits,
        multipart_threshold_bytes=settings.multipart_threshold,
        part_size_bytes=part_size_bytes,
        min_part_size_bytes=settings.min_part_bytes,
    )


def survey(settings: CheckSettings) -> Survey:
    """Find the sources and plan their upload.

    Raises:
        SourceError: a store cannot be reached or listed.
        UsageError: the inputs name nothing at all.
    """
    limits = limits_of(settings)
    found = discover(settings.inputs, settings.s3_endpoint)
    refused = [missing_report(uri, problem) for uri, problem in found.problems]
    sources: list[SourceFile] = []
    borders: dict[str, tuple[int, ...]] = {}
    for source in found.files:
        if _is_own(source.uri, settings):
            continue
        file_type = file_type_of(source.name)
        cut = needs_cutting(source, file_type, limits)
        problems = check_file_facts(
            source.name, source.size_bytes, settings.purpose, settings.max_file_size, cut
        )
        if cut and not problems and isinstance(settings, PlanSettings):
            problems = _look_up_borders(source, limits, borders)
        if problems:
            refused.append(report_of(source, problems))
        else:
            sources.append(source)
    if not sources and not refused:
        raise UsageError(f"{' '.join(settings.inputs)}: holds no dataset files")
    uploads = plan_upload_files(sources, borders, limits)
    return Survey(tuple(sources), tuple(refused), found.skipped, borders, uploads, limits)


def _is_own(uri: str, settings: CheckSettings) -> bool:
    """Whether it is the manifest or lies beside it as its journal: found, but not data.

    A link may lead the inputs and the manifest to the same folder by two names.
    """
    manifest = settings.manifest if isinstance(settings, PlanSettings) else None
    if manifest is None or is_s3(manifest) != is_s3(uri):
        return False
    if is_s3(uri):
        # The journal's objects are PREFIX.journal/NUMBER.jsonl.
        return uri in (manifest, f"{manifest}.lock") or uri.startswith(f"{manifest}.journal/")
    own = os.path.realpath(manifest)
    if not os.path.basename(uri).startswith(os.path.basename(manifest)):  # noqa: PTH119
        return False
    return os.path.realpath(uri) in (own, f"{own}.journal", f"{own}.tmp")


def _look_up_borders(
    source: SourceFile, limits: Limits, borders: dict[str, tuple[int, ...]]
) -> tuple[Problem, ...]:
    try:
        borders[source.uri] = find_borders(source, limits.cut_size_bytes)
    except RecordTooLarge as error:
        return (error.problem,)
    except IngestError as error:
        return (unreadable(error),)
    return ()


def unreadable(error: Exception) -> Problem:
    """A source that could not be read to its end, as a problem of its report."""
    return Problem(None, None, None, "file.unreadable", str(error))


def report_of(source: SourceFile, problems: tuple[Problem, ...]) -> FileReport:
    """The report of a source that was not read."""
    return FileReport(
        uri=source.uri,
        size_bytes=source.size_bytes,
        file_type=file_type_of(source.name),
        dataset_format=None,
        records=0,
        problem_count=len(problems),
        problems=problems,
    )


def missing_report(uri: str, problem: Problem) -> FileReport:
    """The report of something that was named and is not there, or is no file."""
    return FileReport(uri, 0, file_type_of(uri), None, 0, 1, (problem,))
