"""Where the work runs: two engines with one interface, under one scheduler.

``local`` is process and thread pools of this machine; ``ray`` is tasks and actors of a cluster.
Both run the same functions of ``ingest`` on the same task objects and give futures, so the driver
does not know which one it drives. Ray is imported only when it is chosen, and what sends only for
a run that does.
"""

from __future__ import annotations

import os
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

from ingest.files import Segment, SliceTask, SourceFile
from ingest.validation import SliceResult

if TYPE_CHECKING:
    from ingest.settings import CheckSettings
    from ingest.transfer import PutResult, PutTask


class Engine(Protocol):
    """Runs stage functions in workers. Futures hold results, or errors of the ``ingest`` tree.

    Attributes:
        name: ``local`` or ``ray``.
    """

    name: str

    @property
    def workers(self) -> int:
        """How many slices can be validated at the same time; a cluster grows and shrinks."""

    def validate(self, task: SliceTask) -> Future[SliceResult]:
        """Validate one slice."""

    def digest(self, segments: tuple[Segment, ...]) -> Future[str]:
        """SHA-256 of an upload file."""

    def put(self, task: PutTask) -> Future[PutResult]:
        """Make one attempt to send a body; at most ``max_in_flight`` run at the same time."""

    def check_sources(self, sources: tuple[SourceFile, ...]) -> None:
        """Prove before any work that the workers see the driver's local files.

        Raises:
            SourceError: some worker does not.
        """

    def close(self) -> None:
        """End the workers. Work in flight is dropped."""


def choose(settings: CheckSettings) -> str:
    """``ray`` where there is an address or a Ray job around, else ``local``."""
    if settings.engine != "auto":
        return settings.engine
    # Within a Ray job, Ray itself sets RAY_ADDRESS.
    return "ray" if settings.address or os.environ.get("RAY_ADDRESS") else "local"


def start(settings: CheckSettings, total_bytes: int, max_in_flight: int = 0) -> Engine:
    """Start the engine that ``settings`` ask for.

    Args:
        settings: which engine, where, and how many workers.
        total_bytes: how much there is to read; a little is not worth starting processes for.
        max_in_flight: how many bodies may be sent at the same time; with 0, none may be.

    Raises:
        UsageError: there is no cluster at the address.
    """
    if choose(settings) == "ray":
        from jobs.engines.on_ray import RayEngine

        return RayEngine(settings.address, max_in_flight)
    from jobs.engines.local import LocalEngine

    return LocalEngine(settings.workers, total_bytes, max_in_flight)
