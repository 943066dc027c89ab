"""Runs the cells of the fault table: one file, one command line in this process, one fault.

A test makes a `Rehearsal`, which sets the file, the API and the fault up; nothing here knows what
is expected. What the product waits between tries is noted, and not waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import requests

import jobs.commands.verify
import jobs.publish
from ingest.errors import IngestError
from ingest.journal import replay
from ingest.retries import backoff_s
from ingest.serve import Fault, LocalFilesApi
from ingest.serve.calls import Seen
from ingest.throttle import Throttle
from jobs.books import Books
from tests.faults.table import BODIES, FAULTS, NAME, NAMELESS, PLACES, SPECIAL, Cell, Place
from tests.fixtures.raw_http import RawServer, Request, reply
from tests.pipeline.conftest import Ingest, Result, entries, jsonl
from tests.serve.wire import Wire, sha256

CONTENT = {"single": jsonl(700), "multipart": jsonl(3_200)}
PUBLISH = ("publish", "data", "--manifest", "out.jsonl", "--no-check")
# One part at a time, so that which of them are sent before the fault is no matter of luck.
PARTS_OF_1KIB = (
    "--multipart-threshold",
    "2KiB",
    "--part-size",
    "1KiB",
    "--max-parts-per-file",
    "1",
)
_LONG_S = 3600.0
_SHORT_S = 0.02


@dataclass
class Rehearsal:
    """One cell's file and API, and what was seen of its runs.

    Attributes:
        errors: what befell the file, and then the run.
        waits_s: what the product would have waited between tries.
        tries: the highest number of a try that was followed by a wait, and one more.
    """

    cell: Cell
    api: LocalFilesApi
    ingest: Ingest
    folder: Path
    patch: pytest.MonkeyPatch
    errors: list[IngestError] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    tries: int = 1
    _elsewhere: str = ""
    _limits: pytest.MonkeyPatch | None = None

    def __post_init__(self) -> None:
        (self.folder / "data").mkdir()
        (self.folder / "data" / NAME).write_bytes(self.content)
        for module in ("ingest.files_api.client", "ingest.upload", "ingest.bodies"):
            self.patch.setattr(f"{module}.backoff_s", self._note_wait)
        # Refusals hold back every request of the run: tests/test_throttle.py.
        self.patch.setattr(Throttle, "opens_in_s", lambda _: 0.0)
        note = self.errors
        self.patch.setattr(Books, "fail", _noting_argument(Books.fail, note))
        self.patch.setattr(jobs.publish, "publish", _noting_raised(jobs.publish.publish, note))
        verify = jobs.commands.verify
        self.patch.setattr(verify, "_fault", _noting_raised(verify._fault, note))

    @property
    def place(self) -> Place:
        return PLACES[self.cell.where]

    @property
    def content(self) -> bytes:
        return CONTENT[self.place.kind]

    @property
    def timed(self) -> bool:
        """Whether a time limit has to end what the fault does."""
        return self.cell.what.startswith(("stall", "trickle"))

    # --- runs ------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """What is there before the run that meets the fault."""
        if self.cell.where == "duplicate":
            Wire(self.api).uploaded(self.content, NAME, checksum=sha256(self.content))
        if self.cell.where == "content":
            assert self.publish().code == 0
        self.api.clear_requests()

    def run(self) -> Result:
        """The run that meets the fault."""
        self._script()
        with self.patch.context() as patch:
            if self.timed:
                self._limits = patch
                self._limit(self.place.limit_s)
            slow = self.timed and self.cell.what.startswith("trickle")
            result = self.command(*(("--part-timeout", "0.2") if slow else ()))
            self._limits = None
        self.api.clear_faults()
        return result

    def command(self, *more: str) -> Result:
        """The command of the cell."""
        if self.cell.where == "content":
            return self.ingest("verify", "out.jsonl", "--deep")
        return self.publish(*more)

    def publish(self, *more: str) -> Result:
        return self.ingest(*PUBLISH, *PARTS_OF_1KIB, *more)

    # --- the fault -------------------------------------------------------------------------------

    @contextmanager
    def other_host(self) -> Iterator[RawServer]:
        """Another host, to which a redirect leads; what it gets goes on to the API's storage."""

        def relay(request: Request) -> bytes:
            url = self.api.origin + request.target
            got = requests.request(
                request.method, url, data=request.body, allow_redirects=False, timeout=10
            )
            kept = {name: got.headers[name] for name in ("ETag", "Location") if name in got.headers}
            return reply(got.status_code, got.content, **kept)

        with RawServer(relay) as server:
            self._elsewhere = f"http://localhost:{server.port}"
            yield server

    def _script(self) -> None:
        place, cell = self.place, self.cell
        times = 1 if cell.how_often == "once" else None
        fields = dict(SPECIAL.get((cell.where, cell.what), FAULTS[cell.what]))
        if cell.what == "refused":
            self._script_refusal()
            return
        if cell.what == "redirect":
            fields["location"] = self._elsewhere
        if fields.get("retry_after") == "a date":
            soon = datetime.now(timezone.utc) + timedelta(seconds=30)
            fields["retry_after"] = format_datetime(soon, usegmt=True)
        faults = [Fault(where=place.call, part=place.part, name=self._name, times=times, **fields)]
        if place.led_to_by is not None:
            faults.insert(0, Fault(**place.led_to_by))
        self.api.script(*faults)

    def _script_refusal(self) -> None:
        """Connections are refused from just before the call on; `_note_wait` may end that."""
        place = self.place
        if self.cell.where == "look-up":
            # The reply that is lost, and that nobody answers any more, are one fault.
            self.api.script(Fault(what="refuse", seconds=_LONG_S, **place.after))
            return
        if place.led_to_by is not None:
            self.api.script(Fault(**place.led_to_by))
        self.api.script(Fault(what="refuse_next", **place.after))
        if self.cell.where == "check":
            Wire(self.api).call("GET", "/files")

    @property
    def _name(self) -> str | None:
        return None if self.cell.where in NAMELESS else NAME

    def _limit(self, seconds: float) -> None:
        """End what stands still after so long."""
        assert self._limits is not None
        self._limits.setattr("ingest.files_api.client._CONNECT_TIMEOUT_S", 0.05)
        for name in ("_READ_TIMEOUT_S", "_COMPLETE_TIMEOUT_S"):
            self._limits.setattr(f"ingest.files_api.client.{name}", seconds)
        self._limits.setattr("ingest.transfer.STALL_TIMEOUT_S", seconds)

    def _note_wait(self, attempt: int, wish_s: float | None = None) -> float:
        self.waits_s.append(backoff_s(attempt, wish_s))
        self.tries = max(self.tries, attempt + 1)
        if self.cell.what == "refused" and self.cell.how_often == "once":
            self.api.clear_faults()
        if self._only_stalls:
            self._limit(_SHORT_S)
        return 0.0

    @property
    def _only_stalls(self) -> bool:
        """Whether all requests that are still to come stall, so that no honest one is cut.

        Between two tries of a last step there are look-ups; of initiate each is to leave an orphan.
        """
        needs_time = self.cell.where in ("preprocess", "complete", "initiate")
        if self._limits is None or self.cell.how_often == "once" or needs_time:
            return False
        return any(seen.fault for seen in self.seen())

    # --- what came of it -------------------------------------------------------------------------

    def seen(self) -> list[Seen]:
        """The requests of the cell's call about its file."""
        return [
            seen
            for seen in self.api.requests(self.place.call)
            if (seen.name == self._name or self.cell.where == "abort")
            and self.place.part in (None, seen.part)
        ]

    def bodies(self) -> list[int]:
        """The numbers of the parts that were sent, or 0 for a whole file."""
        return sorted(seen.part or 0 for call in BODIES for seen in self.api.requests(call))

    def acknowledged(self) -> set[int]:
        """The parts that the journal has, of the upload that was begun last."""
        path = self.folder / "out.jsonl.journal"
        attempts = replay(path.read_bytes() if path.exists() else b"", "out.jsonl").attempts
        return set(list(attempts.values())[-1].sent) if attempts else set()

    def entry(self) -> dict[str, Any] | None:
        """The manifest's line."""
        path = self.folder / "out.jsonl"
        return entries(path).get(NAME) if path.exists() else None


def _noting_raised(call: Callable[..., Any], errors: list[IngestError]) -> Callable[..., Any]:
    def noting(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except IngestError as error:
            errors.append(error)
            raise

    return noting


def _noting_argument(call: Callable[..., Any], errors: list[IngestError]) -> Callable[..., Any]:
    def noting(*args: Any) -> Any:
        errors.append(args[-1])
        return call(*args)

    return noting
