"""Stage 3: validation of everything, in parallel.

Used by `ingest check` and `ingest publish`, on either engine. A file that cannot be read to its
end, or changes meanwhile, is a problem of its report: the others are still validated. This module
imports neither readers nor what sends: a check of small files takes less time than importing them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from ingest.errors import IngestError
from ingest.files import FileReport, SliceTask, SourceFile
from ingest.rules.file_level import file_type_of
from ingest.settings import CheckSettings
from ingest.statistics import ContentStatistics, content_statistics
from ingest.validation import SliceResult, join_statistics, merge_slices
from jobs import engines
from jobs.engines import Engine
from jobs.progress import Progress
from jobs.survey import Survey, report_of, survey, unreadable
from jobs.windowed import Job, run_windowed


@dataclass(slots=True)
class CheckResult:
    """What a check found.

    Attributes:
        reports: one a source, in the order in which they were found, refused ones first.
    """

    engine: str
    reports: list[FileReport]


class Validation:
    """Collects the results of slices, and merges those of a file once all are there.

    Attributes:
        reports: by the URI of a source.
        statistics: of what begins in each shard, by source URI and the shard's offset.
    """

    def __init__(
        self, plan: Survey, settings: CheckSettings, engine: Engine, progress: Progress
    ) -> None:
        self.reports: dict[str, FileReport] = {}
        self.statistics: dict[tuple[str, int], ContentStatistics] = {}
        self._plan = plan
        self._settings = settings
        self._engine = engine
        self._progress = progress

    def jobs(self, sources: Iterable[SourceFile]) -> Iterator[Job]:
        """The validation of ``sources``, slice by slice."""
        for source in sources:
            slices = self._plan.slices(self._settings, source)
            pending = _PendingFile(source, len(slices))
            for task in slices:
                yield Job(partial(self._engine.validate, task), partial(self._take, pending, task))

    def _take(self, pending: _PendingFile, task: SliceTask, future: Future[SliceResult]) -> None:
        try:
            pending.results[task.start] = future.result()
        except IngestError as error:
            if type(error) is IngestError:
                raise  # the engine failed: that is nothing to blame the data for
            pending.error = pending.error or error
        pending.left -= 1
        self._progress.advance(task.end - task.start, files=int(pending.left == 0))
        if pending.left == 0:
            self.reports[pending.source.uri] = self._merged(pending)

    def _merged(self, pending: _PendingFile) -> FileReport:
        source = pending.source
        if pending.error is not None:
            return report_of(source, (unreadable(pending.error),))
        file_type = file_type_of(source.name)
        assert file_type is not None, "sources of other types are refused by the survey"
        results = [pending.results[start] for start in sorted(pending.results)]
        report = merge_slices(
            source,
            file_type,
            self._settings.purpose,
            self._settings.rules,
            self._settings.max_problems,
            results,
        )
        self._count_shards(pending, report.dataset_format)
        return report

    def _count_shards(self, pending: _PendingFile, dataset_format: str | None) -> None:
        source = pending.source
        shards = [0, *self._plan.borders.get(source.uri, ())]
        for begin, end in pairwise([*shards, source.size_bytes]):
            # Slices end where shards do.
            results = [
                pending.results[start] for start in sorted(pending.results) if begin <= start < end
            ]
            self.statistics[source.uri, begin] = content_statistics(
                sum(result.records for result in results),
                end - begin,
                dataset_format,
                join_statistics(results),
            )


@dataclass(slots=True)
class _PendingFile:
    """A source some of whose slices are still being validated."""

    source: SourceFile
    left: int
    results: dict[int, SliceResult] = field(default_factory=dict)
    error: IngestError | None = None


def window_of(engine: Engine) -> Callable[[], int]:
    """How many jobs keep every worker busy while the driver takes results in.

    More than there are workers, which is also what makes a cluster's autoscaler start nodes.
    """
    return lambda: 2 * engine.workers + 2


def check(settings: CheckSettings, progress: Progress, stop: threading.Event) -> CheckResult:
    """Stages 1 to 3: validate everything that ``settings.inputs`` name.

    Raises:
        UsageError: there is nothing to check, or a store or cluster cannot be reached.
        Interrupted: ``stop`` was set.
    """
    plan = survey(settings)
    total = sum(source.size_bytes for source in plan.sources)
    engine = engines.start(settings, total)
    try:
        engine.check_sources(plan.sources)
        validation = Validation(plan, settings, engine, progress)
        progress.stage("validate", total, len(plan.sources))
        run_windowed(validation.jobs(plan.sources), window_of(engine), stop)
    finally:
        engine.close()
    reports = [validation.reports[source.uri] for source in plan.sources]
    return CheckResult(engine.name, [*plan.refused, *reports])
