"""What must hold after kills, whatever was killed and when: one set of assertions for all tests.

A ``Witness`` is told when a run was killed, and when the last one has ended. It believes the
journal, the manifest and what the server has on its disk, and nothing that the product says of
itself but that one line: that an upload may be open whose id is lost.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ingest.journal import Attempt, JournalState, Phase, replay
from ingest.manifest import parse_manifest, usable
from ingest.serve import LocalFilesApi
from ingest.serve.calls import Seen
from ingest.serve.records import FileRecord

LOST = "its upload was opened"
"""What the report says, after a file's name, of an upload whose id never came back."""


@dataclass
class Witness:
    """Follows the runs of one command, from the first kill to the end.

    Attributes:
        corpus: the content of each file by name; no two are alike.
        reports: what each run wrote to stderr.
    """

    api: LocalFilesApi
    manifest: Path
    corpus: dict[str, bytes]
    reports: list[str] = field(default_factory=list)
    _looked_at: int = 0
    _acknowledged: set[tuple[str, int]] = field(default_factory=set)
    _known: set[str] = field(default_factory=set)
    _asked: set[str] = field(default_factory=set)

    @property
    def journal(self) -> Path:
        return Path(f"{self.manifest}.journal")

    def state(self) -> JournalState:
        """What the journal says now."""
        content = self.journal.read_bytes() if self.journal.exists() else b""
        return replay(content, str(self.manifest))

    def ended(self, report: str, *, lost_workers: bool = False) -> list[Seen]:
        """A run has ended, by a kill or by itself; the requests since the one before.

        Nothing that was acknowledged when the run before ended was sent by this one, and nothing
        twice that was acknowledged in it. A worker that was lost may have taken the news of that
        with it.
        """
        self.reports.append(report)
        log = self.api.requests()
        new, self._looked_at = log[self._looked_at :], len(log)
        again = [seen for seen in new if _body(seen) in self._acknowledged]
        assert not again, f"was acknowledged, and sent again: {again}"
        received: set[tuple[str, int] | None] = set()
        for seen in () if lost_workers else new:
            assert _body(seen) not in received, f"was answered well, and sent again: {seen}"
            if _body(seen) and seen.status == 200 and seen.fault in (None, "latency"):
                received.add(_body(seen))
        for attempt in self.state().attempts.values():
            self._note(attempt)
        return new

    def _note(self, attempt: Attempt) -> None:
        if attempt.upload_id is not None:
            self._known.add(attempt.upload_id)
        elif attempt.num_parts:
            self._asked.add(attempt.name)
        if attempt.file_id is None:
            return
        self._acknowledged |= {(attempt.file_id, number) for number in attempt.sent}
        if not attempt.num_parts and attempt.phase in (Phase.COMPLETING, Phase.COMPLETED):
            self._acknowledged.add((attempt.file_id, 0))

    def assert_finished(self) -> None:
        """The last run has ended well: everything is there, once, and nothing else."""
        entries = parse_manifest(self.manifest.read_bytes(), str(self.manifest)).entries
        assert sorted(entries) == sorted(self.corpus), "the manifest is complete"
        for name, content in self.corpus.items():
            entry = entries[name]
            assert usable(entry), entry
            assert entry.file_id is not None
            assert self.api.stored_bytes(entry.file_id) == content, f"{name}: other bytes"
            found = (entry.bytes, entry.records, entry.sha256, entry.superseded)
            wanted = (len(content), content.count(b"\n"), hashlib.sha256(content).hexdigest(), ())
            assert found == wanted, entry
            assert entry.status != "duplicate", f"{name}: was finished by a run that lost its id"
        at_server = sorted(file["id"] for file in self.api.files())
        assert at_server == sorted(str(entry.file_id) for entry in entries.values()), (
            "exactly one finished file each"
        )
        assert not self.journal.exists(), "the journal is gone"
        assert not Path(f"{self.manifest}.tmp").exists(), "no half a manifest is left"
        self._assert_nothing_left_open()

    def _assert_nothing_left_open(self) -> None:
        """Only an upload may be open whose id no journal had; and a report has to name it."""
        left = open_uploads(self.api)
        known = [record for record in left if upload_id(record) in self._known]
        assert not known, f"left open, though the journal had its id: {known}"
        told = Counter(
            line.split(": ")[0]
            for report in self.reports
            for line in report.splitlines()
            if LOST in line
        )
        for name, count in Counter(record.filename for record in left).items():
            assert name in self._asked, f"{name}: left open, and no journal had asked for it"
            assert told[name] >= count, f"{name}: {count} left open, told {told[name]} times"


def open_uploads(api: LocalFilesApi) -> list[FileRecord]:
    """The multipart uploads that are open at the server, as they lie on its disk."""
    assert api.data_dir is not None
    records = [
        FileRecord.model_validate_json(path.read_bytes())
        for path in (api.data_dir / "files").glob("*.json")
    ]
    return [record for record in records if record.upload is not None]


def upload_id(record: FileRecord) -> str:
    assert record.upload is not None
    return record.upload.upload_id


def states(state: JournalState) -> Counter[str]:
    """How many files of the plan are in each state."""
    found = dict.fromkeys(state.planned, "planned")
    for name, attempts in state.attempts_by_name().items():
        newest = attempts[-1]
        sending = newest.phase is Phase.INITIATED and newest.sent
        found[name] = "sending" if sending else newest.phase.value
    return Counter(found.values())


def _body(seen: Seen) -> tuple[str, int] | None:
    """Which body a request carries: the file's id, and the part's number or 0."""
    if seen.where not in ("put", "put-part") or seen.file_id is None:
        return None
    return seen.file_id, seen.part or 0
