"""Faults on request: what can be scripted, and which fault meets which call.

Tests and drills send a list of `Fault` to the control endpoint; the gate asks `FaultScript.take`
at each call; `ingest.serve.strikes` makes them happen. With S3 storage the PUTs go to S3, so
faults at ``put`` and ``put-part`` cannot strike there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ingest.serve.calls import Seen, Where

What = Literal[
    # Instead of the work.
    "status",
    "redirect",
    "expired",
    "refuse",
    # While the request's body arrives; the work is not done. `trickle` is only slow.
    "reset",
    "stall",
    "trickle",
    # Before the work, which is done then.
    "latency",
    # After the work was done.
    "status_after_work",
    "lost_reply",
    "stall_reply",
    "reset_reply",
    "truncated_reply",
    "trickle_reply",
    "not_json",
    "no_etag",
    "wrong_etag",
    "other_id",
    "reply_headers",
    "reply_fields",
    "few_parts",
    "many_parts",
    "duplicate_parts",
    "dead_urls",
    "refuse_next",
    # In storage: the ETag it gives a body, in its reply and from then on.
    "opaque_etag",
]


class Fault(BaseModel):
    """One scripted fault.

    Attributes:
        where: the call it strikes; ``any`` is every call, control calls excepted.
        what: what happens; see `ingest.serve.strikes.ACTIONS`.
        times: how many matching requests it strikes; None is all of them.
        after: how many matching requests it lets pass first.
        part: only this part number.
        name: only the file of this ``file_name``.
        at: where in the request's body ``reset`` and ``stall`` strike: before its first byte is
            taken, after half of it, or when only the last byte is missing. The bodies of API
            calls are small and count as one byte.
        status: for ``status``, ``status_after_work`` and ``redirect`` (which makes 500 a 307).
        retry_after: the value of a ``Retry-After`` header sent with the status.
        headers: for ``reply_headers``: set in the reply, or removed where None; sent with the
            status too.
        fields: for ``reply_fields``: set in the reply's JSON object.
        value: the id for ``other_id``.
        location: for ``redirect``; None is the same URL again, and an origin alone
            (``http://other:80``) is the same path and query there.
        seconds: ``latency``, how long; ``stall``, ``stall_reply``: cut the connection then, None
            waits until the faults are cleared; ``refuse``: how long, 1 s unless given;
            ``refuse_next``: how long, None is until the faults are cleared.
        bytes_per_s: for ``trickle`` and ``trickle_reply``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    where: Where | Literal["any"]
    what: What
    times: int | None = Field(default=1, ge=1)
    after: int = Field(default=0, ge=0)
    part: int | None = None
    name: str | None = None
    at: Literal["first", "middle", "last"] = "first"
    status: int = Field(default=500, ge=200, le=599)
    retry_after: str | None = None
    headers: dict[str, str | None] = {}
    fields: dict[str, Any] = {}
    value: str = "../not-an-id"
    location: str | None = None
    seconds: float | None = Field(default=None, ge=0)
    bytes_per_s: int = Field(default=1024, ge=1)

    def matches(self, seen: Seen) -> bool:
        """Whether it is about this request."""
        return (
            self.where in ("any", seen.where)
            and self.part in (None, seen.part)
            and self.name in (None, seen.name)
        )


@dataclass(slots=True)
class _Armed:
    fault: Fault
    to_skip: int
    left: int | None


Refuse = Callable[[float | None, asyncio.BaseTransport | None], Awaitable[None]]


class FaultScript:
    """The faults still to come.

    Args:
        refuse: closes the listening socket for some seconds (None: until the faults are
            cleared), and all connections but the one of a transport.
    """

    def __init__(self, refuse: Refuse) -> None:
        self.refuse = refuse
        self._armed: list[_Armed] = []
        self._released = asyncio.Event()

    def add(self, faults: Iterable[Fault]) -> None:
        """Append to the script."""
        self._armed.extend(_Armed(fault, fault.after, fault.times) for fault in faults)

    def clear(self) -> None:
        """Forget all faults and cut the connections that are being stalled."""
        self._armed.clear()
        self._released.set()
        self._released = asyncio.Event()

    def take(self, seen: Seen) -> list[Fault]:
        """The faults for this request: any latency that applies, then at most one other."""
        taken = []
        for armed in self._armed:
            if not armed.fault.matches(seen) or armed.left == 0:
                continue
            if armed.to_skip:
                armed.to_skip -= 1
                continue
            if armed.left is not None:
                armed.left -= 1
            taken.append(armed.fault)
            if armed.fault.what != "latency":
                break
        return taken

    async def hold(self, seconds: float | None) -> None:
        """Do nothing for so long, or until the script is cleared."""
        released = self._released
        try:
            await asyncio.wait_for(released.wait(), seconds)
        except asyncio.TimeoutError:
            return
