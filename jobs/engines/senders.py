"""The Ray actors that send bodies, and the one thread that hands bodies to them.

Files are brought in many threads, and Ray tells of a body that is done in a thread of its own
core, which must never wait for anything. Both only leave a note; the one thread that reads the
notes alone knows the actors and talks to Ray, so there is no lock to hold while Ray is busy.

    put() ──────────┐
                    ├──> notes ──> the thread ──> the least busy actor ──> put_body
    body is done ───┘                  └──> the body's future
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeAlias

import ray
from ray.exceptions import RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ingest.errors import IngestError, Retryable
from ingest.transfer import PutResult, PutTask, put_body

_SENDS_PER_ACTOR = 4
_CLOSE_TIMEOUT_S = 10.0


class _Sender:
    """Sends bodies, a few at a time, from the node it is placed on."""

    def put(self, task: PutTask) -> PutResult | IngestError:
        # An error of ours is a value: Ray would wrap it in one of its own.
        try:
            return put_body(task)
        except IngestError as error:
            return error


# Sending waits for the network, so it takes no CPU from the tasks. An actor that asks for nothing
# at all would be placed at random, whatever its scheduling strategy: so it asks for a byte.
_sender_actor: Any = ray.remote(num_cpus=0, memory=1)(_Sender)


@dataclass(slots=True, eq=False)
class _Slot:
    """An actor, the node it was meant for (None: any), and how many bodies it is sending."""

    actor: Any
    node_id: str | None
    busy: int = 0


@dataclass(slots=True, eq=False)
class _Body:
    task: PutTask
    future: Future[PutResult]


@dataclass(frozen=True, slots=True)
class _Done:
    """Ray tells that a body was sent, or was not."""

    slot: _Slot
    body: _Body
    outcome: Future[Any]


def room_of(cpus: Mapping[str, float]) -> int:
    """How many workers a cluster has room for, by the CPUs of its nodes."""
    # None where the autoscaler has not started the first node of workers.
    return max(1, int(sum(cpus.values())))


_Note: TypeAlias = "_Body | _Done | None"


class Senders:
    """Actors of the connected cluster.

    Args:
        max_in_flight: how many bodies there are at the same time, over all actors.
        cpus: the CPUs of each node that has any, by its id, as the cluster is when an actor may
            be started.
    """

    def __init__(self, max_in_flight: int, cpus: Callable[[], Mapping[str, float]]) -> None:
        self._max_in_flight = max_in_flight
        self._cpus = cpus
        self._notes: SimpleQueue[_Note] = SimpleQueue()
        self._sending: set[_Body] = set()
        self._slots: list[_Slot] = []
        self._lost: Counter[str | None] = Counter()  # actors that died, by their nodes
        self._thread = threading.Thread(target=self._work, name="senders", daemon=True)
        self._thread.start()

    def put(self, task: PutTask) -> Future[PutResult]:
        """Send a body; it cannot be cancelled any more."""
        body = _Body(task, Future())
        body.future.set_running_or_notify_cancel()
        self._notes.put(body)
        return body.future

    def close(self) -> None:
        """End the actors; bodies that are not done fail as retryable."""
        self._notes.put(None)
        self._thread.join(_CLOSE_TIMEOUT_S)

    def _work(self) -> None:
        while (note := self._notes.get()) is not None:
            if isinstance(note, _Body):
                self._hand_out(note)
            else:
                self._take(note)
        for body in self._sending:
            body.future.set_exception(Retryable(f"{body.task.label}: the engine was closed"))
        for slot in self._slots:
            with contextlib.suppress(Exception):  # the cluster may be gone
                ray.kill(slot.actor)

    def _hand_out(self, body: _Body) -> None:
        try:
            slot = self._free_slot()
            outcome = slot.actor.put.remote(body.task).future()
        except Exception as error:  # this thread must live on: other bodies wait for it
            body.future.set_exception(_failure(body, error))
            return
        slot.busy += 1
        self._sending.add(body)
        outcome.add_done_callback(
            lambda done, slot=slot, body=body: self._notes.put(_Done(slot, body, done))
        )

    def _free_slot(self) -> _Slot:
        """The least busy actor; a new one while all are busy and few."""
        least = min(self._slots, key=lambda slot: slot.busy, default=None)
        if least is None or (least.busy and len(self._slots) < self._wanted()):
            least = self._start(self._emptiest_node())
            self._slots.append(least)
        return least

    def _wanted(self) -> int:
        """An actor is a process, and takes a second to start: a few sends share one."""
        return min(room_of(self._cpus()), -(-self._max_in_flight // _SENDS_PER_ACTOR))

    def _emptiest_node(self) -> str | None:
        """Where the next actor shares a CPU with the fewest others; None without any CPUs.

        Those that died still count: their node may have, and nobody has noticed yet. Not Ray's
        SPREAD, which would use a head that has no CPUs for others.
        """
        actors = self._lost + Counter(slot.node_id for slot in self._slots)
        cpus = self._cpus()
        return min(cpus, key=lambda node_id: (actors[node_id] + 1) / cpus[node_id], default=None)

    def _start(self, node_id: str | None) -> _Slot:
        # Soft: the node may be lost by now, and any other will do.
        there = NodeAffinitySchedulingStrategy(node_id, soft=True) if node_id else None
        actor = _sender_actor.options(
            max_concurrency=self._max_in_flight,  # one actor can take all, should it be left alone
            scheduling_strategy=there,
        )
        return _Slot(actor.remote(), node_id)

    def _take(self, done: _Done) -> None:
        done.slot.busy -= 1
        self._sending.remove(done.body)
        future = done.body.future
        error = done.outcome.exception()
        # An actor that died takes its other bodies with it; each is told by a note of its own.
        if isinstance(error, RayActorError) and done.slot in self._slots:
            self._slots.remove(done.slot)
            self._lost[done.slot.node_id] += 1
        if error is not None:
            future.set_exception(_failure(done.body, error))
        elif isinstance(done.outcome.result(), IngestError):
            future.set_exception(done.outcome.result())
        else:
            future.set_result(done.outcome.result())


def _failure(body: _Body, error: BaseException) -> IngestError:
    """What a failure of Ray's means for a body; not its text, which could quote a URL."""
    if isinstance(error, RayActorError):
        return Retryable(f"{body.task.label}: its worker died ({type(error).__name__})")
    return IngestError(f"{body.task.label}: could not be sent through Ray ({type(error).__name__})")
