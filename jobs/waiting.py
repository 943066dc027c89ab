"""Follows the server's processing of files to its end (``--wait``)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from ingest.errors import Interrupted, UploadError
from ingest.files_api import FilesApi, RemoteFile
from ingest.manifest import ManifestEntry

_ENDED = frozenset({"COMPLETED", "FAILED", "INVALID_FORMAT"})
_FIRST_PAUSE_S = 0.5
_LAST_PAUSE_S = 10.0


def wait_processed(
    api: FilesApi, entries: Sequence[ManifestEntry], stop: threading.Event
) -> Iterator[tuple[ManifestEntry, RemoteFile]]:
    """Yield each entry with its file once the server is done with it.

    Asks for all that are left, then pauses, ever longer.

    Raises:
        Interrupted: ``stop`` was set.
        UploadError: the API does not answer, or does not have a file any more; the others were
            yielded.
    """
    left = list(entries)
    gone: list[ManifestEntry] = []
    pause_s = _FIRST_PAUSE_S
    while left:
        still = []
        for entry in left:
            remote = api.find(entry.file_id) if entry.file_id else None
            if remote is None:
                gone.append(entry)
            elif remote.state in _ENDED:
                yield entry, remote
            else:
                still.append(entry)
        if len(still) < len(left):
            pause_s = _FIRST_PAUSE_S
        left = still
        if left and stop.wait(pause_s):
            raise Interrupted(
                f"stopped while {len(left)} files were still being processed; all were sent; run "
                "the same command again to go on waiting"
            )
        pause_s = min(2 * pause_s, _LAST_PAUSE_S)
    if gone:
        raise UploadError(
            f"{gone[0].name}: {gone[0].file_id} is not at the API any more ({len(gone)} such files "
            "in all); take its line out of the manifest and run again to send it anew"
        )
