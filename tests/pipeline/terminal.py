"""A command on a terminal of its own: a real pty, of a size that the test says."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Sequence
from pathlib import Path

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """Runs ``command``; its stderr is a terminal of so many columns, its stdout a pipe."""

    def __init__(
        self, command: Sequence[str | Path], folder: Path, columns: int, **environment: str
    ) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        inherited = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**inherited, "TERM": "xterm-256color", **environment},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._ours = ours
        self._shown = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                block = os.read(self._ours, 65536)
            except OSError:  # EIO: the last one who had it open is gone
                return
            if not block:
                return
            self._shown += block

    @property
    def raw(self) -> str:
        """All that was written so far, control sequences and all."""
        return self._shown.decode(errors="replace")

    @property
    def lines(self) -> list[str]:
        """Every line that was ever shown whole, bars in each of their states, as plain text."""
        plain = _CONTROL.sub("\n", _COLOUR.sub("", self.raw))
        return [line.rstrip() for line in re.split(r"[\r\n]+", plain) if line.strip()]

    def end(self, timeout_s: float = 60.0) -> tuple[int, str]:
        """Its exit code and its stdout."""
        out, _ = self.process.communicate(timeout=timeout_s)
        self._close()
        return self.process.returncode, out.decode()

    def kill(self) -> None:
        """End whatever still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._close()

    def _close(self) -> None:
        self._reader.join(10)
        with contextlib.suppress(OSError):
            os.close(self._ours)
        self._ours = -1
