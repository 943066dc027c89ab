"""``--max-bandwidth``, shared among the bodies in flight so that their sum never exceeds it.

Used by ``jobs.sending``, which gives each body its rate when it hands it out; the worker keeps to
it (``ingest.transfer``). A rate stays a body's own to its end, so no worker has to be told of
another. Pure arithmetic: times come in as arguments.
"""

from __future__ import annotations

# A body is given at least twice the rate at which it would just end in time.
_HASTE = 2.0


class Bandwidth:
    """The rates that are given out.

    Args:
        total_bytes_s: what all of them may add up to.
    """

    def __init__(self, total_bytes_s: float) -> None:
        self._total_bytes_s = total_bytes_s
        self._free_bytes_s = total_bytes_s
        self._given = 0
        self._kept: list[tuple[float, float]] = []  # (until, rate) of bodies that were too quick

    def take(self, length: int, timeout_s: float, rivals: int, now: float) -> float | None:
        """The rate for a body of ``length`` bytes; None when it has to wait for others to end.

        Args:
            length: in bytes.
            timeout_s: within which it has to arrive.
            rivals: how many bodies, with this one, could start now: what is free is for all.
            now: the present.
        """
        self._expire(now)
        rate = max(self._free_bytes_s / rivals, _HASTE * length / timeout_s)
        if rate > self._free_bytes_s:
            if self._given or self._kept:
                return None
            rate = self._total_bytes_s
        self._free_bytes_s -= rate
        self._given += 1
        return rate

    def give_back(self, rate: float, until: float, now: float) -> None:
        """A body has ended. A short one goes out in one block; until its time is up it counts."""
        self._given -= 1
        self._kept.append((until, rate))
        self._expire(now)

    def next_change(self, now: float) -> float | None:
        """When something is free that is not now, though no other body ends; None if never."""
        self._expire(now)
        return min((until for until, _ in self._kept), default=None)

    def _expire(self, now: float) -> None:
        self._free_bytes_s += sum(rate for until, rate in self._kept if until <= now)
        self._kept = [(until, rate) for until, rate in self._kept if until > now]
        if not self._given and not self._kept:
            self._free_bytes_s = self._total_bytes_s  # what rounding has taken comes back
