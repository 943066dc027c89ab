"""Files on a local or mounted disk: their version, and a raw stream that checks it.

Called through ``ingest.sources``. A stream compares the open file with the ``SourceFile`` it was
planned from when it opens, when it runs short and when it closes, so the bytes of two versions
are never mixed. This module must never write to a source, or follow a path that is no regular
file (opening a FIFO would wait for ever).
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from types import TracebackType
from typing import TYPE_CHECKING

from ingest.errors import SourceChanged, SourceError
from ingest.files import SourceFile

if TYPE_CHECKING:
    from typing_extensions import Buffer


def version_of(status: os.stat_result) -> str:
    """The version of a local file: what changes when it is written to or replaced."""
    return f"{status.st_mtime_ns}-{status.st_ino}"


def stat_local(path: str, name: str) -> SourceFile:
    """Open the file at ``path`` once, and describe it as it is now.

    Raises:
        SourceError: it is missing, no regular file, or not readable by this user. The ``errno``
            of the operating system's error, if there was one, is in ``__cause__``.
    """
    uri = os.path.abspath(path)  # noqa: PTH100  Path.absolute would keep ".."
    try:
        kind = stat.S_IFMT(os.stat(uri).st_mode)  # noqa: PTH116  surrogates in names stay bytes
        if kind != stat.S_IFREG:
            raise SourceError(f"{uri}: expected a regular file, found {_KINDS.get(kind, 'other')}")
        with open(uri, "rb", buffering=0) as file:  # noqa: PTH123
            status = os.fstat(file.fileno())
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise SourceError(f"{uri}: cannot be read: {_reason(error)}") from error
    return SourceFile(uri, name, status.st_size, version_of(status))


def open_local(source: SourceFile) -> LocalStream:
    """Open a local source for reading.

    Raises:
        SourceChanged: its size or version is not the planned one, or it is gone.
        SourceError: it can no longer be read.
    """
    return LocalStream(source)


class LocalStream(io.RawIOBase):
    """A raw stream over one version of a local file.

    ``readinto`` fills its buffer unless the file ends, as Parquet readers expect. ``close``
    raises ``SourceChanged`` if the file was written to while it was open; leaving a ``with``
    block by an exception does not, so that the first error is the one that is seen.
    """

    def __init__(self, source: SourceFile) -> None:
        super().__init__()
        self._source = source
        self._file: io.FileIO | None = None
        try:
            self._file = io.FileIO(source.uri, "rb", opener=_open_without_waiting)
        except FileNotFoundError as error:
            raise SourceChanged(
                f"{source.uri}: vanished after it was planned; run again"
            ) from error
        except (OSError, ValueError) as error:
            raise SourceError(f"{source.uri}: cannot be read: {_reason(error)}") from error
        try:
            self._check_unchanged()
        except SourceChanged:
            self._close_quietly()
            raise

    def readable(self) -> bool:
        """Always True."""
        return True

    def seekable(self) -> bool:
        """Always True."""
        return True

    def fileno(self) -> int:
        """The descriptor of the open file."""
        return self._open_file.fileno()

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill ``buffer`` from the current position; less only at the planned end."""
        view = memoryview(buffer).cast("B")
        # A file that grows must not give more than was planned.
        planned = min(len(view), max(0, self._source.size_bytes - self._open_file.tell()))
        filled = 0
        while filled < planned:
            try:
                count = self._open_file.readinto(view[filled:planned])
            except OSError as error:
                raise SourceError(
                    f"{self._source.uri}: cannot be read: {_reason(error)}"
                ) from error
            if not count:
                self._check_unchanged()
                raise SourceChanged(
                    f"{self._source.uri}: ended at byte {self._open_file.tell()}, planned were "
                    f"{self._source.size_bytes}; run again when nothing writes to it"
                )
            filled += count
        return filled

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move as any file does; ``SEEK_END`` counts from the planned end."""
        if whence == os.SEEK_END:
            offset, whence = self._source.size_bytes + offset, os.SEEK_SET
        return self._open_file.seek(offset, whence)

    def tell(self) -> int:
        """The current position in bytes."""
        return self._open_file.tell()

    def close(self) -> None:
        """Close, and raise ``SourceChanged`` if the file was written to meanwhile."""
        if self.closed:
            return
        try:
            self._check_unchanged()
        finally:
            self._close_quietly()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self._close_quietly()

    def __del__(self) -> None:
        # A forgotten stream has nobody to tell that its file changed.
        with contextlib.suppress(AttributeError):
            self._close_quietly()

    @property
    def _open_file(self) -> io.FileIO:
        if self._file is None:
            raise ValueError("I/O operation on a closed file")
        return self._file

    def _check_unchanged(self) -> None:
        status = os.fstat(self._open_file.fileno())
        found = version_of(status)
        if status.st_size != self._source.size_bytes:
            what = f"{self._source.size_bytes} bytes were planned, it has {status.st_size}"
        elif found != self._source.version:
            what = f"version {self._source.version} was planned, it has {found}"
        else:
            return
        raise SourceChanged(
            f"{self._source.uri}: changed after it was planned: {what}; "
            "run again when nothing writes to it"
        )

    def _close_quietly(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _reason(error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):
        return str(error)
    advice = {
        errno.EACCES: "; give the user of this run the right to read it",
        errno.ELOOP: "; remove the loop of symbolic links",
    }.get(error.errno or 0, "")
    return f"{error.strerror or error}{advice}"
