"""One round of the drill: a corpus, a command, a server with faults, and when to strike.

All of it is drawn from one seed. A moment is a number of requests that the server has seen, not a
time, so that a busy machine kills at the same places as a quiet one.
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ingest.journal import Phase
from ingest.serve import Fault, LocalFilesApi
from tests.drill.aftermath import Witness, states
from tests.fixtures.files_api import MIN_PART_SIZE_BYTES
from tests.pipeline.conftest import INGEST, MULTIPART, Running, jsonl

_CALLS_OF_A_FILE = 3  # one opens the upload, one ends it, one looks the id up
_CALLS = ("initiate", "complete", "create", "preprocess")
_LATENCIES = 150
_RUN_S = 180.0

_BODY_FAULTS: Sequence[dict[str, object]] = (
    {"what": "status", "status": 503, "retry_after": "0"},
    {"what": "status", "status": 500},
    {"what": "status_after_work", "status": 502},
    {"what": "reset", "at": "first"},
    {"what": "reset", "at": "middle"},
    {"what": "reset", "at": "last"},
    {"what": "stall", "at": "middle", "seconds": 0.5},
    {"what": "lost_reply"},
    {"what": "truncated_reply"},
    {"what": "redirect"},
)
_PART_FAULTS = (*_BODY_FAULTS, {"what": "no_etag"}, {"what": "wrong_etag"})
_CALL_FAULTS: Sequence[dict[str, object]] = (
    {"what": "status", "status": 500},
    {"what": "status_after_work", "status": 504},
    {"what": "reset"},
    {"what": "lost_reply"},
    {"what": "truncated_reply"},
    {"what": "stall_reply", "seconds": 0.5},
)
# Not one to try again: the upload is given up, and the next run starts it anew.
_REFUSAL = {"where": "put-part", "what": "status", "status": 400}


@dataclass
class Round:
    """What a seed draws.

    Attributes:
        kills: how many runs are killed before one is left alone.
        options: of the command, besides the usual ones.
        struck: a few words on each strike.
        met: how many strikes met a file in each state.
    """

    rng: random.Random
    folder: Path
    corpus: dict[str, bytes] = field(init=False)
    kills: int = field(init=False)
    options: tuple[str, ...] = field(init=False)
    struck: list[str] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    runs: int = 0

    def __post_init__(self) -> None:
        rng = self.rng
        large = {
            f"large-{n}.jsonl": jsonl(
                rng.randint(3, 7) * MIN_PART_SIZE_BYTES, text=f"large {n} {rng.random()}"
            )
            for n in range(rng.randint(1, 3))
        }
        small = {
            f"small-{n}.jsonl": jsonl(rng.randint(100, 20_000), text=f"small {n} {rng.random()}")
            for n in range(rng.randint(1, 5))
        }
        self.corpus = {**large, **small}
        self.kills = rng.randint(1, 3)
        self.options = (
            *("--max-parts-per-file", str(rng.randint(1, 4))),
            *("--max-in-flight", str(rng.choice((1, 4, 16)))),
        )

    def faults(self) -> list[Fault]:
        """For one run: each request is late by its own time, and some meet something worse."""
        rng = self.rng
        drawn = [
            Fault(where="any", what="latency", after=n, seconds=rng.uniform(0, 0.06))
            for n in range(_LATENCIES)
        ]
        for _ in range(rng.randint(0, 4)):
            kind = rng.random()
            if kind < 0.45:
                fault = {"where": "put-part", "after": rng.randint(0, 12)}
                fault |= rng.choice(_PART_FAULTS)
            elif kind < 0.6:
                fault = {"where": "put", "after": rng.randint(0, 4), **rng.choice(_BODY_FAULTS)}
            elif kind < 0.95:
                fault = {"where": rng.choice(_CALLS), "after": rng.randint(0, 2)}
                fault |= rng.choice(_CALL_FAULTS)
            else:
                fault = {**_REFUSAL, "after": rng.randint(0, 12)}
            drawn.append(Fault.model_validate(fault))
        return drawn

    def requests_left(self, witness: Witness) -> int:
        """About how many requests a run has yet to make."""
        state = witness.state()
        newest = {name: attempts[-1] for name, attempts in state.attempts_by_name().items()}
        left = 1
        for name, content in self.corpus.items():
            attempt = newest.get(name)
            if attempt is None or attempt.phase is not Phase.COMPLETED:
                large = name.startswith("large")
                bodies = len(content) // MIN_PART_SIZE_BYTES if large else 1
                left += bodies - (len(attempt.sent) if attempt else 0) + _CALLS_OF_A_FILE
        return left


Strike = Callable[[Running], str]
"""Hurts a run, or what it runs on; says in a word what it has done."""


def kill_driver(running: Running) -> str:
    running.kill()
    return "driver"


def play(
    drawn: Round,
    api: LocalFilesApi,
    struck: Sequence[Sequence[Strike]],
    engine: Sequence[str],
    last_engine: Sequence[str],
) -> None:
    """Strike one run after the other, then let one come to its end, and look at what there is.

    Args:
        struck: for each run, what it has to bear, in this order.

    Raises:
        AssertionError: something does not hold.
    """
    data = drawn.folder / "data"
    data.mkdir()
    for name, content in drawn.corpus.items():
        (data / name).write_bytes(content)
    witness = Witness(api, drawn.folder / "out.jsonl", drawn.corpus)
    for strikes in struck:
        api.script(*drawn.faults())
        with _running(drawn, engine) as running:
            for left, strike in zip(range(len(strikes), 0, -1), strikes, strict=True):
                _await_random_moment(drawn, witness, running, left)
                _strike(drawn, witness, running, strike)
            code = running.process.wait(_RUN_S)
        # 3: a scripted refusal, or more faults than there are tries.
        assert code in (0, 3, -signal.SIGKILL), f"a run that was struck ended with {code}"
        api.clear_faults()
        witness.ended(running.err, lost_workers=len(strikes) > 1)
    with _running(drawn, last_engine) as running:
        result = running.wait(_RUN_S)
    witness.ended(result.err)
    assert result.code == 0, f"the last run, without faults, ended with {result.code}"
    witness.assert_finished()


@contextlib.contextmanager
def _running(drawn: Round, engine: Sequence[str]) -> Iterator[Running]:
    drawn.runs += 1
    words = ("publish", "data", "--manifest", "out.jsonl", *MULTIPART, *drawn.options, *engine)
    running = Running([INGEST, *words], drawn.folder)
    try:
        yield running
    finally:
        running.clean_up()


def _await_random_moment(
    drawn: Round, witness: Witness, running: Running, strikes_left: int
) -> None:
    """Wait for a moment that leaves something to do for so many strikes; or for the run's end."""
    rng, api = drawn.rng, witness.api
    if rng.random() < 0.1:  # before it has asked for anything, perhaps
        _ends_within(running, rng.uniform(0, 2.0))
        return
    most = max(1, drawn.requests_left(witness) // strikes_left)
    goal = len(api.requests()) + rng.randint(1, most)
    while len(api.requests()) < goal and not _ends_within(running, 0.002):
        pass
    _ends_within(running, rng.uniform(0, 0.04))


def _strike(drawn: Round, witness: Witness, running: Running, strike: Strike) -> None:
    if running.process.poll() is not None:
        drawn.struck.append("nothing, it was over")
        drawn.met["over"] += 1
        return
    what = strike(running)
    met = states(witness.state()) or Counter(["not begun"])
    drawn.struck.append(f"{what} at {', '.join(f'{n} {state}' for state, n in met.items())}")
    drawn.met.update(met.keys())


def _ends_within(running: Running, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    try:
        running.process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True
