"""The engine for a Ray cluster: tasks validate and hash, actors send.

File bytes never enter the object store: a task gets a URI and a range, an actor a URI, a range
and a presigned URL (in a type whose repr hides it). Errors of ours come back as values, so that
Ray neither retries them nor wraps them in its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ingest.digest import digest_segments
from ingest.errors import IngestError, Retryable, SourceError, UsageError
from ingest.files import Segment, SliceTask, SourceFile
from ingest.sources import is_s3, stat_source
from ingest.transfer import PutResult, PutTask, put_body
from ingest.validation import SliceResult, validate_slice

_T = TypeVar("_T")
_A = TypeVar("_A")

_TASK_RETRIES = 3
_SENDS_PER_ACTOR = 4


def _captured(function: Callable[[_A], _T], argument: _A) -> _T | IngestError:
    """Run in a worker: an error of ours is a value, not a failure of the task."""
    try:
        return function(argument)
    except IngestError as error:
        return error


@ray.remote(max_retries=_TASK_RETRIES)
def _validate(task: SliceTask) -> SliceResult | IngestError:
    return _captured(validate_slice, task)


@ray.remote(max_retries=_TASK_RETRIES)
def _digest(segments: tuple[Segment, ...]) -> str | IngestError:
    return _captured(digest_segments, segments)


@ray.remote(num_cpus=0, max_retries=_TASK_RETRIES)
def _sees(source: SourceFile) -> SourceFile | IngestError:
    return _captured(lambda s: stat_source(s.uri, s.name, s.endpoint_url), source)


class _Sender:
    """Sends bodies, a few at a time, from the node it is placed on."""

    def put(self, task: PutTask) -> PutResult | IngestError:
        return _captured(put_body, task)


_sender_actor: Any = ray.remote(num_cpus=0, scheduling_strategy="SPREAD")(_Sender)


@dataclass(slots=True, eq=False)
class _ActorSlot:
    """An actor and how many bodies it is sending."""

    actor: Any
    busy: int = 0


@dataclass(slots=True)
class _Queued:
    task: PutTask
    future: Future[PutResult]


class RayEngine:
    """Tasks and actors of the cluster at ``address``, or of an embedded one."""

    name = "ray"

    def __init__(self, address: str | None, max_in_flight: int) -> None:
        self._owns_cluster = _connect(address)
        self.workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._max_in_flight = max_in_flight
        # An actor is a process and takes a second to start; a few sends share one.
        self._max_senders = max(1, min(self.workers, -(-max_in_flight // _SENDS_PER_ACTOR)))
        self._turn = threading.RLock()
        self._queue: deque[_Queued] = deque()
        self._slots: list[_ActorSlot] = []

    def validate(self, task: SliceTask) -> Future[SliceResult]:
        """See ``Engine``."""
        return _unwrapped(_validate.remote(task), task.source.uri)

    def digest(self, segments: tuple[Segment, ...]) -> Future[str]:
        """See ``Engine``."""
        return _unwrapped(_digest.remote(segments), segments[0].source.uri)

    def put(self, task: PutTask) -> Future[PutResult]:
        """See ``Engine``; queued here until an actor has room, so that no actor hoards work."""
        queued = _Queued(task, Future())
        with self._turn:
            self._queue.append(queued)
        self._dispatch()
        return queued.future

    def check_sources(self, sources: tuple[SourceFile, ...]) -> None:
        """See ``Engine``: asks every node for one file of each folder."""
        local = {os.path.dirname(s.uri): s for s in sources if not is_s3(s.uri)}  # noqa: PTH120
        nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
        if not local or len(nodes) < 2:
            return
        for source in local.values():
            probes = [
                _sees.options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
                ).remote(source)
                for node in nodes
            ]
            for found in ray.get(probes):
                if isinstance(found, IngestError) or found.size_bytes != source.size_bytes:
                    raise SourceError(
                        f"{source.uri}: not every node of the cluster sees it as the driver does; "
                        "put the data in s3:// or on a file system that all nodes mount, or use "
                        "--engine local"
                    )

    def close(self) -> None:
        """See ``Engine``; ends an embedded cluster, and leaves another one as it was."""
        with self._turn:
            for slot in self._slots:
                ray.kill(slot.actor)
            self._slots.clear()
            for queued in self._queue:
                queued.future.cancel()
            self._queue.clear()
        if self._owns_cluster:
            ray.shutdown()

    def _dispatch(self) -> None:
        """Hand queued bodies to the least busy actors, within the cap over all files."""
        with self._turn:
            while self._queue and sum(slot.busy for slot in self._slots) < self._max_in_flight:
                queued = self._queue.popleft()
                if not queued.future.set_running_or_notify_cancel():
                    continue
                slot = self._free_slot()
                slot.busy += 1
                sent = slot.actor.put.remote(queued.task).future()
                sent.add_done_callback(
                    lambda done, queued=queued, slot=slot: self._sent(done, queued, slot)
                )

    def _free_slot(self) -> _ActorSlot:
        """The least busy actor; a new one, placed by Ray, while all are busy and few."""
        least = min(self._slots, key=lambda slot: slot.busy, default=None)
        if least is None or (least.busy and len(self._slots) < self._max_senders):
            sends = -(-self._max_in_flight // self._max_senders)
            least = _ActorSlot(_sender_actor.options(max_concurrency=sends).remote())
            self._slots.append(least)
        return least

    def _sent(self, done: Future[Any], queued: _Queued, slot: _ActorSlot) -> None:
        error = done.exception()
        with self._turn:
            slot.busy -= 1
            # An actor that died takes its other bodies with it; each is told here by its future.
            if error is not None and slot in self._slots:
                self._slots.remove(slot)
        if error is not None:
            queued.future.set_exception(
                Retryable(f"{queued.task.label}: its worker died ({type(error).__name__})")
            )
        else:
            _settle(queued.future, done.result())
        self._dispatch()


def _connect(address: str | None) -> bool:
    """Join the cluster at ``address`` or around this process; True if one had to be started.

    Raises:
        UsageError: nothing answers at the address.
    """
    if ray.is_initialized():
        return False
    # Within `ray job submit`, RAY_ADDRESS is set by Ray.
    address = address or os.environ.get("RAY_ADDRESS")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(
            address=address or "local",
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        if address is None:
            raise IngestError(f"an embedded Ray did not start ({_first_line(error)})") from None
        raise UsageError(
            f"no Ray cluster answers at {address} ({type(error).__name__}); check --address, and "
            "RAY_AUTH_MODE=token with RAY_AUTH_TOKEN if the cluster wants a token"
        ) from None
    finally:
        # Ray takes SIGTERM for itself; stopping cleanly is the command line's part.
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return True


def _unwrapped(reference: Any, what: str) -> Future[Any]:
    """A future of the task's result, with errors of ours raised and Ray's own translated."""
    outer: Future[Any] = Future()
    outer.set_running_or_notify_cancel()

    def finish(inner: Future[Any]) -> None:
        error = inner.exception()
        if error is not None:
            outer.set_exception(IngestError(f"{what}: its Ray task failed ({_first_line(error)})"))
        else:
            _settle(outer, inner.result())

    reference.future().add_done_callback(finish)
    return outer


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__} {lines[0][:200] if lines else ''}".rstrip()


def _settle(future: Future[Any], outcome: Any) -> None:
    with contextlib.suppress(Exception):  # cancelled by the driver in the meantime
        if isinstance(outcome, IngestError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
