"""The fault table: where x what -> how often it is tried, how the run ends, what the next one does.

Plain data, read by ``test_table.py``, which runs each cell: one `ingest publish` of one file (for
``content``, one `ingest verify --deep`) against the local Files API, whose scripted fault strikes
once, or for ever; after a run that failed, the same command without faults.

The classes of answers, from which the rows follow:

- A status that is final (400, 404, 413, 422; 401 and 403) is not asked for again. 401 and 403 of
  the API end the run, of a store they are the file's. 404 to an abort is as good as done.
- A passing one (408, 409 without a file, 425, 429, 5xx, a connection that breaks or stands still, a
  page that is no JSON) is asked for again: six times, the first call of a run three times. What
  outlasts that leaves the upload open: the next run sends what is missing.
- ``complete`` and ``preprocess`` are not repeated once their reply is lost (5xx is a lost reply)
  before the file was looked up, by its id and in the list. If nobody can tell, the outcome is
  unknown: nothing is aborted, and the next run looks again, and sends no body.
- A redirect of the API is final, since the key is for its host alone; one of a store is followed.

A fault of the first answer that is final, or does no harm, has one cell: once and for ever are the
same. The manifest calls ``failed`` whatever is not published; that a file's outcome is unknown is
told on stderr, kept in the journal, and shows here in what the next run sends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from ingest.errors import IngestError, NotAuthorised, OutcomeUnknown, Permanent, Retryable
from ingest.retries import ATTEMPTS
from ingest.serve.calls import Where

# --- where ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """How a run comes to the call that a fault strikes.

    Attributes:
        call: as the local Files API names it.
        kind: how the file travels.
        part: the one part that is struck.
        led_to_by: the fault without which the call would not be made.
        after: the call answered just before, after which connections are refused.
        limit_s: what stalls is cut after so long.
    """

    call: Where
    kind: Literal["single", "multipart"]
    after: dict[str, Any]
    part: int | None = None
    led_to_by: dict[str, Any] | None = None
    limit_s: float = 0.15


PARTS = 3
NAME = "a.jsonl"
NOT_DONE = {"where": "complete", "what": "reset"}
DONE_UNHEARD = {"where": "complete", "what": "lost_reply"}
REFUSED = {"where": "complete", "what": "status", "status": 400}
ASKED_FOR = {"where": "retrieve", "name": NAME}

PLACES = {
    # The first call of a run, which shows whether the API takes the key: 404 is its answer.
    "check": Place("retrieve", "single", {"where": "list"}),
    "create": Place("create", "single", {"where": "retrieve"}),
    "put": Place("put", "single", {"where": "create"}),
    "preprocess": Place("preprocess", "single", {"where": "put"}),
    # The last call about a file: has the API as many bytes as were sent?
    "confirm": Place("retrieve", "single", {"where": "preprocess"}),
    # The file that a 409 names: is it ours? Then it is confirmed, too.
    "duplicate": Place("retrieve", "single", {"where": "create"}),
    "initiate": Place("initiate", "multipart", {"where": "retrieve"}),
    "put-part": Place("put-part", "multipart", {"where": "put-part", "part": 1}, part=2),
    "complete": Place("complete", "multipart", {"where": "put-part", "part": PARTS}),
    # Was it done? Asked after a complete that was, and whose reply was lost; then confirmed.
    "look-up": Place("retrieve", "multipart", {"where": "complete"}, led_to_by=DONE_UNHEARD),
    # The same in the list, after a complete that was not done.
    "list": Place("list", "multipart", ASKED_FOR, led_to_by=NOT_DONE),
    "abort": Place("abort", "multipart", {"where": "list"}, led_to_by=REFUSED),
    "content": Place("content", "multipart", ASKED_FOR, limit_s=0.25),
}
BODIES = ("put", "put-part")
NAMELESS = ("check", "list", "abort")
"""Calls that the server cannot tell to be about the file (an upload that is aborted is gone)."""

# --- what -----------------------------------------------------------------------------------------

STATUSES = (400, 401, 403, 404, 408, 409, 413, 422, 425, 429, 500, 502, 503, 504)
SLOWLY = {"bytes_per_s": 20}
DOWNLOADED_SLOWLY = {"bytes_per_s": 10_000}  # for longer than the limit; never still for so long
WISHES_S = {"429-retry-after-7": 7.0, "503-retry-after-date": 20.0}
"""The least wait that such an answer has to lead to; the date is half a minute ahead."""

FAULTS: dict[str, dict[str, Any]] = {
    **{str(status): {"what": "status", "status": status} for status in STATUSES},
    "429-retry-after-7": {"what": "status", "status": 429, "retry_after": "7"},
    "503-retry-after-date": {"what": "status", "status": 503, "retry_after": "a date"},
    # Done, and then answered so.
    "429-after-work": {"what": "status_after_work", "status": 429},
    "500-after-work": {"what": "status_after_work", "status": 500},
    "503-after-work": {"what": "status_after_work", "status": 503},
    "refused": {"what": "refuse_next"},
    # Before the work. The body of an API call is one byte as it were; a file's is cut anywhere.
    "reset": {"what": "reset"},
    "reset-first": {"what": "reset", "at": "first"},
    "reset-middle": {"what": "reset", "at": "middle"},
    "reset-last": {"what": "reset", "at": "last"},
    "stall": {"what": "stall"},
    "stall-first": {"what": "stall", "at": "first"},
    "stall-middle": {"what": "stall", "at": "middle"},
    "stall-last": {"what": "stall", "at": "last"},
    "trickle": {"what": "trickle", **SLOWLY},
    # After the work: no byte of the reply, half of it (reset or closed), none ever, one by one.
    "lost-reply": {"what": "lost_reply"},
    "reset-reply": {"what": "reset_reply"},
    "cut-reply": {"what": "truncated_reply"},
    "stall-reply": {"what": "stall_reply"},
    "trickle-reply": {"what": "trickle_reply", **SLOWLY},
    "not-json": {"what": "not_json"},
    "odd-id": {"what": "other_id", "value": "../../etc"},
    "redirect": {"what": "redirect", "status": 307},
    "few-parts": {"what": "few_parts"},
    "many-parts": {"what": "many_parts"},
    "duplicate-parts": {"what": "duplicate_parts"},
    "no-etag": {"what": "no_etag"},
    "wrong-etag": {"what": "wrong_etag"},
    "opaque-etag": {"what": "opaque_etag"},
    "expired": {"what": "expired"},
}

SPECIAL: dict[tuple[str, str], dict[str, Any]] = {
    ("list", "odd-id"): {"what": "reply_fields", "fields": {"data": [{"id": "../../etc"}]}},
    ("content", "trickle-reply"): {"what": "trickle_reply", **DOWNLOADED_SLOWLY},
}
"""Faults that are scripted in another way for one place."""

FINAL = "400 404 413 422"
NO_KEY = "401 403"
BUSY = "408 409 425 429 429-retry-after-7"
DOWN = "500 502 503 504 503-retry-after-date"
NOT_BEGUN = "reset stall"
UNHEARD = "lost-reply reset-reply cut-reply stall-reply trickle-reply"
AFTER_WORK = "429-after-work 500-after-work 503-after-work"
IN_BODY = "reset-first reset-middle reset-last stall-first stall-middle stall-last trickle"

OF_A_CALL = f"{FINAL} {NO_KEY} {BUSY} {DOWN} refused {NOT_BEGUN} {UNHEARD} redirect not-json odd-id"
OF_A_BODY = (
    f"{FINAL} {NO_KEY} {BUSY} {DOWN} refused {IN_BODY} {UNHEARD} {AFTER_WORK} redirect expired"
)
REQUIRED = {
    **dict.fromkeys(PLACES, OF_A_CALL),
    **dict.fromkeys(("create", "preprocess", "complete", "abort"), f"{OF_A_CALL} {AFTER_WORK}"),
    "initiate": f"{OF_A_CALL} {AFTER_WORK} few-parts many-parts duplicate-parts",
    "put": f"{OF_A_BODY} no-etag wrong-etag",
    "put-part": f"{OF_A_BODY} no-etag wrong-etag opaque-etag",
}
"""Which faults each place has to have a row for. Only storage gives ETags and URLs that expire, and
reads no JSON; only initiate gives part URLs; a call that changes nothing may be done unheard."""

LEFT_OUT = {
    ("check", "404"): "the answer it wants: no such file, so the key is good",
    ("check", "odd-id"): "that answer has no id",
    ("content", "not-json"): "a file's content is none",
    ("content", "odd-id"): "nor has it an id",
    ("content", "lost-reply"): "a download whose reply is lost is one that was never begun",
}

# --- how it ends ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ending:
    """How a run ends, and what it leaves behind.

    Attributes:
        error: the class of what befell the file, or the run if it came to no file.
        manifest: its entry: of the one file at the API; failed, and without an id; or none.
        next_run_sends: which bodies the same command sends if nothing goes wrong any more.
        open: multipart uploads that are open at the server then.
        orphans: those of them that stay open, since nobody can know them.
    """

    error: type[IngestError] | None = None
    exit_code: int = 0
    manifest: Literal["published", "failed", "none"] = "published"
    next_run_sends: Literal["nothing", "what is missing", "everything"] = "nothing"
    open: int = 0
    orphans: int = 0

    def leaving(self, count: int, *, orphans: bool = False) -> Ending:
        """The same with uploads open at the server."""
        return replace(self, open=count, orphans=count if orphans else 0)


PUBLISHED = Ending()
NO_ENTRY = Ending(Retryable, 3, "none", "everything")
FAILED = Ending(Permanent, 3, "failed", "everything")
FAILED_AT_ITS_END = Ending(Permanent, 3, "failed", "nothing")
UNFINISHED = Ending(Retryable, 3, "failed", "what is missing")
UNSENT = Ending(Retryable, 3, "failed", "everything")
UNCONFIRMED = Ending(Retryable, 3, "failed", "nothing")
UNKNOWN = Ending(OutcomeUnknown, 3, "failed", "nothing")
SHUT_OUT = Ending(NotAuthorised, 4, "failed", "everything")
SHUT_OUT_AT_ITS_END = Ending(NotAuthorised, 4, "failed", "nothing")

# --- the table ------------------------------------------------------------------------------------

Tried = tuple[int, Ending]
"""How many requests of the call there are about the file in all, and how the run ends. Of those for
bodies, the part's; a look-up is of one kind with the confirmation."""


@dataclass(frozen=True)
class Row:
    """What several faults at one place lead to; ``once`` is None where the first answer decides."""

    where: str
    whats: str
    once: Tried | None
    for_ever: Tried


N = ATTEMPTS
FIRST = 3  # tries of the first call of a run: a wrong URL is told in seconds

TABLE = (
    # where, what, struck once, struck for ever
    Row("check", "400 413 422 redirect", None, (1, replace(NO_ENTRY, error=Permanent))),
    Row("check", NO_KEY, None, (1, Ending(NotAuthorised, 4, "none", "everything"))),
    Row("check", f"{BUSY} {DOWN} refused", (2, PUBLISHED), (FIRST, NO_ENTRY)),
    Row("check", f"{NOT_BEGUN} {UNHEARD} not-json", (2, PUBLISHED), (FIRST, NO_ENTRY)),
    #
    Row("create", f"{FINAL} redirect odd-id", None, (1, FAILED)),
    Row("create", NO_KEY, None, (1, SHUT_OUT)),
    Row("create", f"{BUSY} {DOWN} refused {NOT_BEGUN}", (2, PUBLISHED), (N, UNSENT)),
    Row("create", f"{UNHEARD} {AFTER_WORK} not-json", (2, PUBLISHED), (N, UNSENT)),
    #
    Row("put", f"{FINAL} {NO_KEY}", None, (1, FAILED)),
    Row("put", f"{BUSY} {DOWN} refused {IN_BODY}", (2, PUBLISHED), (N, UNSENT)),
    Row("put", f"{UNHEARD} {AFTER_WORK}", (2, PUBLISHED), (N, UNSENT)),
    Row("put", "redirect", (2, PUBLISHED), (1 + 20, FAILED)),
    Row("put", "expired", (2, PUBLISHED), (3, UNSENT)),
    Row("put", "no-etag wrong-etag", None, (1, PUBLISHED)),  # the API has the SHA-256
    #
    Row("preprocess", f"{FINAL} redirect", None, (1, FAILED)),
    Row("preprocess", NO_KEY, None, (1, SHUT_OUT_AT_ITS_END)),
    Row("preprocess", BUSY, (2, PUBLISHED), (N, UNCONFIRMED)),
    Row("preprocess", f"{DOWN} refused {NOT_BEGUN}", (2, PUBLISHED), (N, UNKNOWN)),
    Row("preprocess", f"{UNHEARD} not-json odd-id", None, (1, PUBLISHED)),
    Row("preprocess", "500-after-work 503-after-work", None, (1, PUBLISHED)),
    Row("preprocess", "429-after-work", (2, PUBLISHED), (N, PUBLISHED)),
    #
    Row("confirm", "400 413 422 redirect odd-id", None, (1, FAILED_AT_ITS_END)),
    Row("confirm", "404", None, (1, UNKNOWN)),
    Row("confirm", NO_KEY, None, (1, SHUT_OUT_AT_ITS_END)),
    Row("confirm", f"{BUSY} {DOWN} refused", (2, PUBLISHED), (N, UNCONFIRMED)),
    Row("confirm", f"{NOT_BEGUN} {UNHEARD} not-json", (2, PUBLISHED), (N, UNCONFIRMED)),
    #
    Row("duplicate", "400 413 422 redirect odd-id", None, (1, FAILED_AT_ITS_END)),
    Row("duplicate", "404", None, (1, UNCONFIRMED)),
    Row("duplicate", NO_KEY, None, (1, SHUT_OUT_AT_ITS_END)),
    Row("duplicate", f"{BUSY} {DOWN} refused", (2, PUBLISHED), (N, UNCONFIRMED)),
    Row("duplicate", f"{NOT_BEGUN} {UNHEARD} not-json", (2, PUBLISHED), (N, UNCONFIRMED)),
    #
    Row("initiate", f"{FINAL} redirect", None, (1, FAILED)),
    Row("initiate", NO_KEY, None, (1, SHUT_OUT)),
    Row("initiate", f"{BUSY} {DOWN} refused {NOT_BEGUN}", (2, PUBLISHED), (N, UNSENT)),
    Row(
        "initiate",
        f"{UNHEARD} {AFTER_WORK} not-json",
        (2, PUBLISHED.leaving(1, orphans=True)),
        (N, UNSENT.leaving(N, orphans=True)),
    ),
    Row("initiate", "odd-id", None, (1, FAILED.leaving(1, orphans=True))),
    Row("initiate", "few-parts many-parts duplicate-parts", None, (1, FAILED)),
    #
    Row("put-part", f"{FINAL} {NO_KEY}", None, (1, FAILED)),
    Row("put-part", f"{BUSY} {DOWN} refused", (2, PUBLISHED), (N, UNFINISHED.leaving(1))),
    Row("put-part", IN_BODY, (2, PUBLISHED), (N, UNFINISHED.leaving(1))),
    Row("put-part", f"{UNHEARD} {AFTER_WORK}", (2, PUBLISHED), (N, UNFINISHED.leaving(1))),
    Row("put-part", "redirect", (2, PUBLISHED), (1 + 20, FAILED)),
    Row("put-part", "expired", (2, PUBLISHED), (3, UNSENT)),
    Row("put-part", "no-etag", (2, PUBLISHED), (N, UNFINISHED.leaving(1))),
    Row("put-part", "wrong-etag", (2, PUBLISHED), (2, FAILED)),  # which complete then refuses
    Row("put-part", "opaque-etag", (2, PUBLISHED), (2, PUBLISHED)),
    #
    Row("complete", f"{FINAL} redirect", None, (1, FAILED)),
    Row("complete", NO_KEY, None, (1, SHUT_OUT_AT_ITS_END.leaving(1))),
    Row("complete", BUSY, (2, PUBLISHED), (N, UNCONFIRMED.leaving(1))),
    Row("complete", f"{DOWN} refused {NOT_BEGUN}", (2, PUBLISHED), (N, UNKNOWN.leaving(1))),
    Row("complete", f"{UNHEARD} not-json odd-id", None, (1, PUBLISHED)),
    Row("complete", "500-after-work 503-after-work", None, (1, PUBLISHED)),
    Row("complete", "429-after-work", (2, PUBLISHED), (N, PUBLISHED)),
    #
    Row("look-up", "400 413 422 redirect odd-id", None, (1, UNKNOWN)),
    Row("look-up", "404", (1 + 1, PUBLISHED), (1 + 1, UNKNOWN)),  # it is in the list
    Row("look-up", NO_KEY, None, (1, SHUT_OUT_AT_ITS_END)),
    Row("look-up", f"{BUSY} {DOWN}", (2 + 1, PUBLISHED), (N, UNKNOWN)),
    Row("look-up", f"{NOT_BEGUN} {UNHEARD} not-json", (2 + 1, PUBLISHED), (N, UNKNOWN)),
    Row("look-up", "refused", (2, PUBLISHED), (N, UNKNOWN.leaving(1))),  # it was not done, then
    #
    Row("list", f"{FINAL} redirect odd-id", None, (1, UNKNOWN.leaving(1))),
    Row("list", NO_KEY, None, (1, SHUT_OUT_AT_ITS_END.leaving(1))),
    Row("list", f"{BUSY} {DOWN} refused", (2, PUBLISHED), (N, UNKNOWN.leaving(1))),
    Row("list", f"{NOT_BEGUN} {UNHEARD} not-json", (2, PUBLISHED), (N, UNKNOWN.leaving(1))),
    # Whatever becomes of it, an abort never hides why the upload was given up.
    Row("abort", f"400 413 422 {NO_KEY} redirect", None, (1, FAILED.leaving(1))),
    Row("abort", "404", None, (1, FAILED.leaving(1, orphans=True))),  # believed
    Row("abort", f"{BUSY} {DOWN} refused {NOT_BEGUN}", (2, FAILED), (N, FAILED.leaving(1))),
    Row("abort", f"{UNHEARD} {AFTER_WORK}", (2, FAILED), (N, FAILED)),
    Row("abort", "not-json odd-id", None, (1, FAILED)),  # its status is all that counts
    # Here the manifest is there, and stays as it is.
    Row("content", f"{FINAL} redirect", None, (1, Ending(Permanent, 3))),
    Row("content", NO_KEY, None, (1, Ending(NotAuthorised, 4))),
    Row("content", f"{BUSY} {DOWN} refused", (2, PUBLISHED), (N, Ending(Retryable, 3))),
    Row("content", NOT_BEGUN, (2, PUBLISHED), (N, Ending(Retryable, 3))),
    Row("content", "reset-reply cut-reply stall-reply", (2, PUBLISHED), (N, Ending(Retryable, 3))),
    Row("content", "trickle-reply", None, (1, PUBLISHED)),  # slow is not broken
)


@dataclass(frozen=True)
class Cell:
    """One cell: a fault at a place, how often it strikes, and what is to come of it."""

    where: str
    what: str
    how_often: Literal["once", "for ever"]
    requests: int
    ending: Ending
    id: str


def cells() -> Iterator[Cell]:
    """Each cell of the table."""
    for row in TABLE:
        for what in row.whats.split():
            name = f"{row.where}-{what}"
            if row.once is not None:
                yield Cell(row.where, what, "once", *row.once, f"{name}-once")
                name = f"{name}-for-ever"
            yield Cell(row.where, what, "for ever", *row.for_ever, name)
