"""A manifest on a local (or network) file system, its journal beside it.

The lock is ``flock`` on the journal: the kernel gives it back when a run dies, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from ingest.errors import ManifestError

BUSY = "another run is open on this manifest; wait for it to end, or look with `ingest status`"

# Another process may have the lock for a moment, to see whether somebody has it (``in_use``).
_PATIENCE_S = 1.0
_ASK_EVERY_S = 0.02


class LocalRunStore:
    """A manifest at ``path`` and its journal at ``path.journal`` (mode 0600, locked by flock)."""

    def __init__(self, path: str) -> None:
        self.location = path
        # Beside the manifest itself, so that a run by way of a link to it meets the same lock.
        # Not Path.is_symlink, which raises where this user may not look.
        real = os.path.realpath(path) if os.path.islink(path) else path  # noqa: PTH114
        self._manifest = Path(path)
        self._journal = Path(real + ".journal")
        self._fd: int | None = None
        self._ready = False

    def open(self) -> None:
        try:
            if self._manifest.is_dir():
                raise ManifestError(f"{self.location}: is a folder; --manifest wants a file")
            self._journal.parent.mkdir(parents=True, exist_ok=True)
            self._fd = self._open_locked()
            self._ready = False
        except OSError as error:
            raise ManifestError(
                f"{self._journal}: cannot be written ({error.strerror}); "
                "--manifest needs a place that this user may write"
            ) from None

    def _open_locked(self) -> int:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            fd = os.open(self._journal, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                if time.monotonic() > deadline:
                    raise ManifestError(f"{self.location}: {BUSY}") from None
                time.sleep(_ASK_EVERY_S)
                continue
            except OSError:
                os.close(fd)
                raise
            # The run that had it may have removed the file between our open and our lock.
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(fd).st_ino == self._journal.stat().st_ino:
                    return fd
            os.close(fd)

    def _make_ready(self, fd: int) -> None:
        """Cut off what a crash left of a line, so that the next one begins on its own.

        At the first change, not when it is opened: until the journal was read it may be some other
        file of the user's, which must stay as it is.
        """
        if self._ready:
            return
        os.fchmod(fd, 0o600)
        os.ftruncate(fd, self.read_journal().rfind(b"\n") + 1)
        _sync_folder(self._journal.parent)
        self._ready = True

    def close(self) -> None:
        if self._fd is None:
            return
        if os.fstat(self._fd).st_size == 0:
            self._journal.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = None

    def in_use(self) -> bool:
        try:
            fd = os.open(self._journal, os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def read_manifest(self) -> bytes | None:
        return self._read(self._manifest)

    def replace_manifest(self, content: bytes) -> None:
        manifest = Path(os.path.realpath(self._manifest))  # a link stays a link
        temporary = Path(f"{manifest}.tmp")
        try:
            # One that a crash left, or a link that somebody put there, is not written to.
            temporary.unlink(missing_ok=True)
            mode = stat.S_IMODE(manifest.stat().st_mode) if manifest.exists() else None
            with open(temporary, "xb", opener=_opener(mode)) as file:
                if mode is not None:
                    os.fchmod(file.fileno(), mode)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(manifest)
            _sync_folder(manifest.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise ManifestError(f"{self.location}: cannot be written ({error.strerror})") from None

    def read_journal(self) -> bytes:
        return self._read(self._journal) or b""

    def append(self, lines: bytes) -> None:
        assert self._fd is not None, "append needs an open store"
        self._make_ready(self._fd)
        view = memoryview(lines)
        while view:
            view = view[os.write(self._fd, view) :]
        os.fsync(self._fd)

    def clear_journal(self) -> None:
        assert self._fd is not None, "clear_journal needs an open store"
        os.ftruncate(self._fd, 0)
        os.fsync(self._fd)

    def _read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ManifestError(f"{path}: cannot be read ({error.strerror})") from None


def _opener(mode: int | None) -> Callable[[str, int], int]:
    """Opens a new file: at first for its owner alone where it will have a mode of its own."""
    return lambda path, flags: os.open(path, flags, 0o666 if mode is None else 0o600)


def _sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a crash, as syncing a file does its content."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
