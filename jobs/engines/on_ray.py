"""The engine for a Ray cluster: tasks validate and hash, actors send.

File bytes never enter the object store: a task gets a URI and a range, an actor a URI, a range
and a presigned URL (in a type whose repr hides it). Errors of ours come back as values, so that
Ray neither retries them nor wraps them in its own.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ingest.digest import digest_segments
from ingest.errors import IngestError, SourceError, UsageError
from ingest.files import Segment, SliceTask, SourceFile
from ingest.secrets import API_KEY_VARIABLE
from ingest.sources import is_s3, stat_source
from ingest.transfer import PutResult, PutTask
from ingest.validation import SliceResult, validate_slice
from jobs.engines.senders import Senders, room_of
from jobs.ray_access import bring_own_token, knock

_T = TypeVar("_T")
_A = TypeVar("_A")

_TASK_RETRIES = 3
_PROBE_TIMEOUT_S = 60.0
_COUNT_EVERY_S = 2.0
# Only results go through it. Ray would take a third of the memory, which /dev/shm may not have.
_OWN_STORE_BYTES = 128 << 20


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


class RayEngine:
    """Tasks and actors of the cluster at ``address``, or of an embedded one."""

    name = "ray"

    def __init__(self, address: str | None, max_in_flight: int) -> None:
        self._connected = _connect(address)
        self._known_cpus: dict[str, float] = {}
        self._counted_at = -math.inf
        self._senders = Senders(max_in_flight, self._cpus)
        self._tasks: set[Any] = set()  # references of tasks that are not done

    @property
    def workers(self) -> int:
        """See ``Engine``: the CPUs of the cluster."""
        return room_of(self._cpus())

    def _cpus(self) -> dict[str, float]:
        """The CPUs of each living node that has any, by its id; asked for now and then."""
        if time.monotonic() - self._counted_at > _COUNT_EVERY_S:
            alive = (node for node in ray.nodes() if node["Alive"])
            self._known_cpus = {n["NodeID"]: c for n in alive if (c := n["Resources"].get("CPU"))}
            self._counted_at = time.monotonic()
        return self._known_cpus

    def validate(self, task: SliceTask) -> Future[SliceResult]:
        """See ``Engine``."""
        return self._future(_validate.remote(task), task.source.uri)

    def digest(self, segments: tuple[Segment, ...]) -> Future[str]:
        """See ``Engine``."""
        return self._future(_digest.remote(segments), segments[0].source.uri)

    def put(self, task: PutTask) -> Future[PutResult]:
        """See ``Engine``."""
        return self._senders.put(task)

    def check_sources(self, sources: tuple[SourceFile, ...]) -> None:
        """See ``Engine``: asks every node for one file of each folder."""
        local = {os.path.dirname(s.uri): s for s in sources if not is_s3(s.uri)}  # noqa: PTH120
        nodes = [node for node in ray.nodes() if node["Alive"]]
        if not local or len(nodes) < 2:
            return
        for source in local.values():
            probes = [
                _sees.options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ).remote(source)
                for node in nodes
            ]
            for node, probe in zip(nodes, probes, strict=True):
                _refuse_unseen(source, node, probe)

    def close(self) -> None:
        """See ``Engine``; ends an embedded cluster, and leaves another one as it was."""
        self._senders.close()
        # A cluster that is ours, or that we leave, ends the tasks by itself; a notebook's does not.
        for reference in tuple(self._tasks) if not self._connected else ():
            ray.cancel(reference)
        if self._connected:
            ray.shutdown()
            _let_ray_print(True)

    def _future(self, reference: Any, what: str) -> Future[Any]:
        """A future of the task's result, with errors of ours raised and Ray's own translated.

        It cannot be cancelled: Ray would not know.
        """
        outer: Future[Any] = Future()
        outer.set_running_or_notify_cancel()
        self._tasks.add(reference)

        def finish(inner: Future[Any]) -> None:
            # In a thread of Ray's core, which must not wait: this only passes the result on.
            self._tasks.discard(reference)
            error = inner.exception()
            if error is not None:
                told = IngestError(f"{what}: its Ray task failed ({_first_line(error)})")
                outer.set_exception(told)
            elif isinstance(inner.result(), IngestError):
                outer.set_exception(inner.result())
            else:
                outer.set_result(inner.result())

        reference.future().add_done_callback(finish)
        return outer


def _refuse_unseen(source: SourceFile, node: dict[str, Any], probe: Any) -> None:
    host = node["NodeManagerAddress"]
    try:
        found = ray.get(probe, timeout=_PROBE_TIMEOUT_S)
    except RayError as error:
        if not any(n["Alive"] for n in ray.nodes() if n["NodeID"] == node["NodeID"]):
            return  # lost meanwhile: it will be given no work
        raise IngestError(
            f"node {host} did not say whether it sees {source.uri} ({type(error).__name__})"
        ) from None
    if isinstance(found, IngestError) or found.size_bytes != source.size_bytes:
        raise SourceError(
            f"{source.uri}: node {host} of the cluster does not see it as the driver does; put "
            "the data in s3:// or on a file system that all nodes mount, or use --engine local"
        )


def _connect(address: str | None) -> bool:
    """Join a cluster, or start one; False where this process, a notebook say, is in one already.

    Raises:
        UsageError: nothing answers at the address.
    """
    if ray.is_initialized():
        return False
    # Within `ray job submit`, RAY_ADDRESS is set by Ray.
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    embedded = address == "local"
    if embedded:
        bring_own_token()
    else:
        knock(address)
    # What we start inherits our environment; workers have no use for the key.
    withheld = os.environ.pop(API_KEY_VARIABLE, None) if embedded else None
    _let_ray_print(False)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(
            address=address,
            include_dashboard=False if embedded else None,
            object_store_memory=_OWN_STORE_BYTES if embedded else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        if embedded:
            raise IngestError(f"an embedded Ray did not start ({_first_line(error)})") from None
        raise UsageError(
            f"--address {address}: this machine cannot join that cluster "
            f"({_first_line(error)}); run this on one of its nodes, or send it there with "
            "`ingest submit`"
        ) from None
    finally:
        if withheld is not None:
            os.environ[API_KEY_VARIABLE] = withheld
        # Ray takes SIGTERM for itself; stopping cleanly is the command line's part.
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return True


def _let_ray_print(allowed: bool) -> None:
    """Whether Ray may tell of lost nodes, which it does on stdout whatever ``log_to_driver`` says.

    Stdout is for results. Ray has no setting for it.
    """
    ray._private.worker._worker_logs_enabled = allowed


def _first_line(error: BaseException) -> str:
    # What a task raised comes wrapped, with its traceback in colours.
    error = error.cause if isinstance(error, RayTaskError) else error
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__} {lines[0][:200] if lines else ''}".rstrip()
