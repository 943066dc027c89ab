"""A manifest in S3: the journal is numbered objects, the lock an object with a heartbeat.

S3 cannot append, so each ``append`` is a new object ``KEY.journal/000000000001.jsonl``. The lock,
``KEY.lock``, is written on the condition that there is none, and renewed on the condition that it
is still ours; a run that was killed leaves one whose heartbeat stands still, which the next run
takes over: at once if it can see that the process is gone, else after a minute.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path

from ingest.errors import ManifestError, SourceError
from ingest.run_store.local import BUSY
from ingest.sources import (
    ObjectExists,
    delete_object,
    list_objects,
    read_object,
    read_object_with_etag,
    write_object,
)

_HEARTBEAT_S = 10.0
_STALE_S = 60.0
_TAKEN = "another run has taken its lock over"


class S3RunStore:
    """A manifest at ``s3://bucket/key``, its journal and its lock beside it."""

    def __init__(
        self, uri: str, endpoint_url: str | None, heartbeat_s: float = _HEARTBEAT_S
    ) -> None:
        self.location = uri
        self._endpoint = endpoint_url
        self._journal_prefix = f"{uri}.journal/"
        self._lock_uri = f"{uri}.lock"
        self._heartbeat_s = heartbeat_s
        self._owner = {
            "host": socket.gethostname(),
            "processes": _process_table(),
            "pid": os.getpid(),
            "run": uuid.uuid4().hex,
        }
        self._lock_etag: str | None = None
        self._lost: str | None = None
        self._renewed_at = 0.0
        self._renewing = threading.Lock()
        self._closing = threading.Event()
        self._heart: threading.Thread | None = None
        self._next_number = 1

    def open(self) -> None:
        try:
            self._lock_etag = write_object(
                self._lock_uri, self._beat(), self._endpoint, if_none_match=True
            )
        except ObjectExists:
            self._lock_etag = self._take_over()
        self._renewed_at = time.time()
        self._lost = None
        self._closing.clear()
        self._heart = threading.Thread(target=self._keep_lock, name="lock-heartbeat", daemon=True)
        self._heart.start()
        try:
            self._next_number = max(map(self._number, self._objects()), default=0) + 1
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._heart is None:
            return
        self._closing.set()
        self._heart.join()
        self._heart = None
        # A lock that cannot be removed is taken over by the next run: no reason to fail, or to
        # hide the error that led here.
        with contextlib.suppress(SourceError):
            if self._lost is None and self._holds_lock():
                delete_object(self._lock_uri, self._endpoint)

    def in_use(self) -> bool:
        found = read_object_with_etag(self._lock_uri, self._endpoint)
        return found is not None and not self._is_stale(found)

    def read_manifest(self) -> bytes | None:
        return read_object(self.location, self._endpoint)

    def replace_manifest(self, content: bytes) -> None:
        self._check_lock()
        write_object(self.location, content, self._endpoint)

    def read_journal(self) -> bytes:
        return b"".join(read_object(uri, self._endpoint) or b"" for uri in self._objects())

    def append(self, lines: bytes) -> None:
        self._check_lock()
        uri = f"{self._journal_prefix}{self._next_number:012d}.jsonl"
        # On this condition no other run's record can be overwritten, even without the lock.
        write_object(uri, lines, self._endpoint, if_none_match=True)
        self._next_number += 1

    def clear_journal(self) -> None:
        self._check_lock()
        # The newest first: what a crash in between leaves is a shorter journal, not one that
        # lacks its beginning.
        for uri in reversed(self._objects()):
            delete_object(uri, self._endpoint)
        self._next_number = 1

    def _objects(self) -> list[str]:
        return sorted(item.uri for item in list_objects(self._journal_prefix, self._endpoint))

    def _number(self, uri: str) -> int:
        number, _, ending = uri[len(self._journal_prefix) :].partition(".")
        if not number.isdecimal() or ending != "jsonl":
            raise ManifestError(f"{uri}: is not a journal of ours; move it away")
        return int(number)

    def _beat(self) -> bytes:
        return json.dumps({**self._owner, "beat": time.time()}).encode()

    def _take_over(self) -> str:
        found = read_object_with_etag(self._lock_uri, self._endpoint)
        if found is not None and not (self._is_stale(found) and self._stands_still(found)):
            raise ManifestError(f"{self.location}: {BUSY} ({_who(found[0])})")
        try:
            return write_object(
                self._lock_uri,
                self._beat(),
                self._endpoint,
                if_none_match=found is None,
                if_match=found[1] if found else None,
            )
        except ObjectExists:
            raise ManifestError(f"{self.location}: {BUSY}") from None

    def _is_stale(self, found: tuple[bytes, str]) -> bool:
        """Whether the run that wrote the lock is over, as far as its process or its beat tells."""
        owner = _owner(found[0])
        if self._is_gone(owner):
            return True
        # A beat from the future is no better: its clock, or this one, is wrong.
        return abs(time.time() - _beat_of(owner)) > _STALE_S

    def _is_gone(self, owner: dict[str, object]) -> bool:
        """Whether its process would be seen from here, and is not."""
        here = [self._owner["host"], self._owner["processes"]]
        return [owner.get("host"), owner.get("processes")] == here and not _is_alive(
            owner.get("pid")
        )

    def _stands_still(self, found: tuple[bytes, str]) -> bool:
        """Whether a stale lock is not just one of a machine whose clock differs from ours."""
        if self._is_gone(_owner(found[0])):
            return True
        time.sleep(2 * self._heartbeat_s)
        return read_object_with_etag(self._lock_uri, self._endpoint) == found

    def _holds_lock(self) -> bool:
        """Whether the lock is ours; a renewal whose reply was lost may have changed its ETag."""
        found = read_object_with_etag(self._lock_uri, self._endpoint)
        if found is None or _owner(found[0]).get("run") != self._owner["run"]:
            return False
        self._lock_etag = found[1]
        return True

    def _keep_lock(self) -> None:
        while not self._closing.wait(self._heartbeat_s):
            try:
                if not self._renew():
                    self._lost = _TAKEN
                    return
            except Exception as error:  # a passing fault, unless it goes on
                if time.time() - self._renewed_at > _STALE_S / 2:
                    self._lost = f"its lock cannot be renewed ({error})"
                    return

    def _renew(self) -> bool:
        with self._renewing:
            try:
                self._lock_etag = write_object(
                    self._lock_uri, self._beat(), self._endpoint, if_match=self._lock_etag
                )
            except ObjectExists:
                if not self._holds_lock():
                    return False
            self._renewed_at = time.time()
            return True

    def _check_lock(self) -> None:
        # A machine that stood still for so long may have lost its lock without knowing it yet.
        if self._lost is None and time.time() - self._renewed_at > _STALE_S and not self._renew():
            self._lost = _TAKEN
        if self._lost is not None:
            raise ManifestError(f"{self.location}: {self._lost}; run again to go on")


def _owner(content: bytes) -> dict[str, object]:
    try:
        owner = json.loads(content)
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _beat_of(owner: dict[str, object]) -> float:
    beat = owner.get("beat")
    return float(beat) if isinstance(beat, int | float) else 0.0


def _who(content: bytes) -> str:
    owner = _owner(content)
    return f"process {owner.get('pid')} on {owner.get('host')}"


def _process_table() -> str:
    """What tells machines and containers of the same host name apart: where a pid has a meaning."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux
        return ""


def _is_alive(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
