"""Uploads that die at every transition, and the run after that."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ingest.errors import (
    IngestError,
    Interrupted,
    ManifestError,
    OutcomeUnknown,
    Permanent,
    Retryable,
    SourceChanged,
)
from ingest.files_api import FilesApi
from ingest.journal import Phase
from ingest.run_store import LocalRunStore
from ingest.serve import Fault, LocalFilesApi
from ingest.serve.calls import Where
from ingest.transfer import PutResult, PutTask
from tests.fixtures.files_api import API_KEY, MIN_PART_SIZE_BYTES
from tests.serve.wire import Wire, jsonl
from tests.upload.harness import Crash, Harness

PARTS = 5
DATA = jsonl(11_000)
SMALL = jsonl(100)


@pytest.fixture
def harness(client: FilesApi, files_api: LocalFilesApi, tmp_path: Path) -> Harness:
    return Harness(client, files_api, tmp_path)


def uploads(harness: Harness, kind: str) -> tuple[Any, bytes]:
    if kind == "multipart":
        return harness.file(DATA, PARTS), DATA
    return harness.file(SMALL), SMALL


# --- without faults -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["single", "multipart"])
def test_a_file_arrives(harness: Harness, kind: str) -> None:
    file, data = uploads(harness, kind)

    done = harness.upload(file)

    harness.assert_uploaded(done, data)
    assert (done.duplicate, done.parts) == (False, len(file.parts) or 1)
    assert harness.attempt().phase is Phase.COMPLETED
    assert sum(harness.sent_bytes) == len(data)
    assert harness.notes == []


def test_no_more_than_so_many_parts_are_in_flight(harness: Harness) -> None:
    harness.options = {"parts_in_flight": 2}
    harness.before_send = lambda _task: time.sleep(0.02)

    harness.upload(harness.file(DATA, PARTS))

    assert harness.most_in_flight == 2


def test_the_parts_of_a_finished_upload_are_in_the_journal(harness: Harness) -> None:
    harness.upload(harness.file(DATA, PARTS))

    attempt = harness.attempt()
    assert sorted(attempt.sent) == list(range(1, PARTS + 1))
    assert all(part.etag == part.md5 for part in attempt.sent.values())


# --- a driver that dies ---------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("event", range(PARTS + 4))
def test_a_multipart_upload_is_finished_after_a_crash_at_any_event(
    harness: Harness, event: int, when: str
) -> None:
    harness.options = {"parts_in_flight": 1}
    file = harness.file(DATA, PARTS)
    with pytest.raises(Crash):
        harness.upload(file, crash_at=event, when=when)
    acknowledged = set(harness.attempt().sent) if harness.journal().attempts else set()
    ids_known = bool(harness.journal().attempts) and harness.attempt().file_id is not None
    orphans = harness.open_uploads() if not ids_known else set()
    harness.api.clear_requests()

    done = harness.upload(file)

    harness.assert_uploaded(done, DATA)
    assert not acknowledged & set(harness.parts_put())
    assert sorted(acknowledged | set(harness.parts_put())) == list(range(1, PARTS + 1))
    assert harness.open_uploads() == set()
    # Only an upload whose ids never reached the journal may stay open.
    assert len(orphans) <= 1
    assert harness.attempt().phase is Phase.COMPLETED
    expected = 0 if event == PARTS + 3 else 1 if event == PARTS + 2 and when == "after" else None
    if expected is not None:
        assert len(harness.api.requests("complete")) == expected


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("event", range(4))
def test_a_single_upload_is_finished_after_a_crash_at_any_event(
    harness: Harness, event: int, when: str
) -> None:
    file = harness.file(SMALL)
    with pytest.raises(Crash):
        harness.upload(file, crash_at=event, when=when)
    before = len(harness.api.requests("put"))

    done = harness.upload(file)

    harness.assert_uploaded(done, SMALL)
    # Once its arrival is in the journal, the body is not sent again.
    journalled = event > 2 or (event, when) == (2, "after")
    assert len(harness.api.requests("put")) - before == (0 if journalled else 1)


@pytest.mark.parametrize("second", range(6))
def test_two_crashes_are_no_worse_than_one(harness: Harness, second: int) -> None:
    file = harness.file(DATA, PARTS)
    for event in (3, second):
        with contextlib.suppress(Crash):  # the second may have less to record than that
            harness.upload(file, crash_at=event)

    harness.assert_uploaded(harness.upload(file), DATA)
    assert harness.open_uploads() == set()


def test_a_finished_upload_is_looked_up_and_nothing_is_sent(harness: Harness) -> None:
    file = harness.file(DATA, PARTS)
    first = harness.upload(file)
    harness.api.clear_requests()

    again = harness.upload(file)

    assert again.remote.id == first.remote.id
    assert {seen.where for seen in harness.api.requests()} == {"retrieve"}


def test_a_finished_file_that_was_deleted_since_is_sent_anew(harness: Harness) -> None:
    file = harness.file(DATA, PARTS)
    first = harness.upload(file)
    Wire(harness.api).call("DELETE", f"/files/{first.remote.id}")

    again = harness.upload(file)

    assert again.remote.id != first.remote.id
    harness.assert_uploaded(again, DATA)


# --- an earlier upload that is of no use ----------------------------------------------------------


def begun(harness: Harness, parts: int = 2) -> None:
    """Leave an upload behind that so many parts were sent to."""
    with pytest.raises(Crash):
        harness.upload(harness.file(DATA, PARTS), crash_at=1 + parts)
    assert len(harness.attempt().sent) >= parts


def test_changed_content_is_not_mixed_with_an_earlier_upload(harness: Harness) -> None:
    begun(harness)
    changed = DATA[::-1]

    done = harness.upload(harness.file(changed, PARTS))

    harness.assert_uploaded(done, changed)
    assert harness.open_uploads() == set()


def test_another_purpose_is_another_upload(harness: Harness) -> None:
    begun(harness)
    harness.options = {"purpose": "eval"}

    done = harness.upload(harness.file(DATA, PARTS))

    assert done.remote.purpose == "eval"
    assert harness.open_uploads() == set()


def test_another_part_layout_is_another_upload(harness: Harness) -> None:
    begun(harness)

    done = harness.upload(harness.file(DATA))

    harness.assert_uploaded(done, DATA)
    assert done.parts == 1
    assert harness.open_uploads() == set()


def test_an_upload_at_another_api_is_left_alone(harness: Harness, tmp_path: Path) -> None:
    begun(harness)
    there = harness.api
    with LocalFilesApi(tmp_path / "other", api_key=API_KEY, min_part_size_bytes=1) as other:
        here = FilesApi(other.base_url, SecretStr(API_KEY))
        elsewhere = dataclasses.replace(harness, api=other, client=here)
        elsewhere.assert_uploaded(elsewhere.upload(harness.file(DATA, PARTS)), DATA)
        here.close()
        assert other.requests("abort") == there.requests("abort") == []


@pytest.fixture
def short_lived(tmp_path: Path) -> Iterator[Harness]:
    """An API whose URLs are too short-lived to go on with."""
    with LocalFilesApi(
        tmp_path / "short",
        api_key=API_KEY,
        min_part_size_bytes=MIN_PART_SIZE_BYTES,
        url_expiry_s=20,
    ) as api:
        client = FilesApi(api.base_url, SecretStr(API_KEY))
        yield Harness(client, api, tmp_path)
        client.close()


def test_urls_that_are_about_to_expire_are_not_gone_on_with(short_lived: Harness) -> None:
    begun(short_lived)

    done = short_lived.upload(short_lived.file(DATA, PARTS))

    short_lived.assert_uploaded(done, DATA)
    assert short_lived.open_uploads() == set()
    assert any("presigned URLs have expired" in note for note in short_lived.notes)


def test_expired_urls_do_not_matter_when_all_parts_are_there(short_lived: Harness) -> None:
    begun(short_lived, PARTS)
    short_lived.api.clear_requests()

    short_lived.assert_uploaded(short_lived.upload(short_lived.file(DATA, PARTS)), DATA)
    assert short_lived.parts_put() == []


def test_an_upload_that_the_server_has_dropped_starts_anew(harness: Harness) -> None:
    begun(harness)
    attempt = harness.attempt()
    assert attempt.upload_id is not None
    assert attempt.file_id is not None
    harness.client.abort(attempt.upload_id, attempt.file_id)

    done = harness.upload(harness.file(DATA, PARTS))

    harness.assert_uploaded(done, DATA)
    assert any("the earlier upload is lost" in note for note in harness.notes)
    assert sum(harness.sent_bytes) == len(DATA)
    there = next(parts for parts, earlier in harness.told if earlier)
    assert harness.told == [(there, True), (-there, False), *[(1, False)] * PARTS]


def test_an_upload_that_was_dropped_before_it_was_completed_starts_anew(harness: Harness) -> None:
    file = harness.file(DATA, PARTS)
    with pytest.raises(Crash):
        harness.upload(file, crash_at=PARTS + 2)
    attempt = harness.attempt()
    assert attempt.phase is Phase.COMPLETING
    assert attempt.upload_id is not None
    assert attempt.file_id is not None
    harness.client.abort(attempt.upload_id, attempt.file_id)

    harness.assert_uploaded(harness.upload(file), DATA)


def test_a_failed_attempt_is_not_gone_on_with(harness: Harness) -> None:
    file = harness.file(DATA, PARTS)
    harness.api.script(Fault(where="put-part", what="status", status=400, part=3))
    with pytest.raises(Permanent):
        harness.upload(file)
    assert harness.attempt().phase is Phase.ABORTED

    harness.assert_uploaded(harness.upload(file), DATA)
    assert len(harness.api.requests("initiate")) == 2
    assert harness.open_uploads() == set()


def test_an_abort_that_failed_is_told_and_made_up_for_by_the_next_run(harness: Harness) -> None:
    file = harness.file(DATA, PARTS)
    harness.api.script(
        Fault(where="put-part", what="status", status=400, part=3),
        Fault(where="abort", what="status", status=400),
    )
    with pytest.raises(Permanent, match="part 3/5: the store answered 400"):
        harness.upload(file)
    attempt = harness.attempt()
    assert (attempt.phase, attempt.open_at_server) == (Phase.FAILED, True)
    assert attempt.error is not None
    assert any("could not be aborted" in note for note in harness.notes)

    harness.assert_uploaded(harness.upload(file), DATA)
    assert harness.open_uploads() == set()


@pytest.mark.parametrize(
    ("fault", "may_be_open"),
    [
        ({"what": "lost_reply"}, True),
        ({"what": "status_after_work", "status": 502}, True),
        ({"what": "not_json"}, True),
        ({"what": "status", "status": 429}, False),
    ],
    ids=["lost reply", "502", "not JSON", "429"],
)
def test_an_upload_that_may_be_open_and_whose_id_is_lost_is_told_and_in_the_journal(
    harness: Harness, fault: dict[str, Any], may_be_open: bool
) -> None:
    harness.api.script(Fault(where="initiate", **fault))

    harness.assert_uploaded(harness.upload(harness.file(DATA, PARTS)), DATA)

    phases = [attempt.phase for attempt in harness.journal().attempts.values()]
    assert phases == [*([Phase.INITIATING] if may_be_open else []), Phase.COMPLETED]
    told = [note for note in harness.notes if "did not say whether its upload was opened" in note]
    assert len(told) == may_be_open
    harness.assert_uploaded(harness.upload(harness.file(DATA, PARTS)), DATA)
    assert len(harness.api.requests("initiate")) == 2, "the later attempt is the one that counts"


# --- faults (each of them at each call: tests/faults) ---------------------------------------------


@pytest.mark.parametrize("what", ["status", "lost_reply"])
@pytest.mark.parametrize("kind", ["single", "multipart"])
def test_bytes_that_are_sent_twice_count_once(harness: Harness, kind: str, what: Any) -> None:
    file, data = uploads(harness, kind)
    where: Where = "put-part" if kind == "multipart" else "put"
    harness.api.script(Fault(where=where, what=what))

    harness.assert_uploaded(harness.upload(file), data)
    assert len(harness.api.requests(where)) == (len(file.parts) or 1) + 1
    assert sum(harness.sent_bytes) == len(data)


def not_md5(_task: PutTask, result: PutResult) -> PutResult:
    """As if the store's ETag looked like an MD5, and were none."""
    return dataclasses.replace(result, md5="0" * 32)


def test_a_store_whose_etags_are_no_md5s_is_believed_and_told(harness: Harness) -> None:
    harness.options = {"parts_in_flight": 1}
    harness.edit = not_md5

    harness.assert_uploaded(harness.upload(harness.file(DATA, PARTS)), DATA)
    assert harness.parts_put() == [1, 1, 2, 3, 4, 5]
    assert len(harness.notes) == 1
    assert "ETags are not MD5s" in harness.notes[0]


@pytest.mark.parametrize(
    "edit",
    [
        lambda _, result: dataclasses.replace(result, md5="0" * 32, opaque_etag=True),
        lambda _, result: dataclasses.replace(result, md5="0" * 32, etag=result.etag),
    ],
    ids=["KMS", "by looks"],
)
def test_strict_etags_refuse_such_a_store(harness: Harness, edit: Any) -> None:
    harness.options = {"strict_etag": True}
    harness.edit = edit

    with pytest.raises(Permanent, match=r"ETag [0-9a-f]{32} is not its MD5 0{32}"):
        harness.upload(harness.file(DATA, PARTS))
    assert harness.open_uploads() == set()
    assert harness.api.files() == []


def test_an_encrypting_store_is_believed_at_once(harness: Harness) -> None:
    headers: dict[str, str | None] = {"x-amz-server-side-encryption": "aws:kms"}
    harness.api.script(Fault(where="put-part", what="reply_headers", headers=headers, times=None))
    harness.edit = not_md5

    harness.assert_uploaded(harness.upload(harness.file(DATA, PARTS)), DATA)
    assert harness.parts_put() == [1, 2, 3, 4, 5]
    assert len(harness.notes) == 1


@pytest.mark.parametrize("kind", ["single", "multipart"])
def test_a_url_that_expires_starts_the_upload_anew(harness: Harness, kind: str) -> None:
    file, data = uploads(harness, kind)
    where: Where = "put-part" if kind == "multipart" else "put"
    harness.options = {"parts_in_flight": 1}
    number = 3 if kind == "multipart" else None
    harness.api.script(Fault(where=where, what="expired", part=number))

    done = harness.upload(file)

    harness.assert_uploaded(done, data)
    assert harness.open_uploads() == set()
    assert harness.notes == ["a.jsonl: its presigned URLs expire too soon; the upload starts anew"]
    assert sum(harness.sent_bytes) == len(data)
    assert sum(parts for parts, _ in harness.told) == len(file.parts)
    assert not any(earlier for _, earlier in harness.told)


def test_urls_that_always_expire_are_not_asked_for_for_ever(harness: Harness) -> None:
    harness.api.script(Fault(where="put-part", what="expired", times=None))

    with pytest.raises(Retryable, match=r"expired 3 times .* clock"):
        harness.upload(harness.file(DATA, PARTS))
    assert len(harness.api.requests("initiate")) == 3
    assert harness.open_uploads() == set()


def test_a_source_that_changes_on_the_way_fails_the_file(harness: Harness) -> None:
    harness.options = {"parts_in_flight": 1}

    def change(task: PutTask) -> None:
        if task.offset == 2 * MIN_PART_SIZE_BYTES:
            os.utime(harness.path, ns=(1, 1))

    harness.before_send = change

    with pytest.raises(SourceChanged):
        harness.upload(harness.file(DATA, PARTS))

    assert sorted(harness.attempt().sent) == [1, 2]
    assert harness.attempt().phase is Phase.ABORTED
    assert harness.open_uploads() == set()
    assert harness.api.files() == []


@pytest.mark.parametrize("what", ["few_parts", "many_parts", "duplicate_parts"])
def test_a_wrong_part_list_is_aborted_and_nothing_is_sent(harness: Harness, what: Any) -> None:
    harness.api.script(Fault(where="initiate", what=what))

    with pytest.raises(Permanent, match=r"a\.jsonl: asked for 5 part URLs"):
        harness.upload(harness.file(DATA, PARTS))

    assert harness.api.requests("put-part") == []
    assert harness.open_uploads() == set()
    assert harness.attempt().phase is Phase.ABORTED


# --- faults of the last step ----------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "where"), [("single", "preprocess"), ("multipart", "complete")])
def test_a_last_step_that_was_done_and_is_refused_is_found_out(
    harness: Harness, kind: str, where: Where
) -> None:
    file, data = uploads(harness, kind)
    harness.api.script(Fault(where=where, what="status_after_work", status=404))

    harness.assert_uploaded(harness.upload(file), data)
    assert len(harness.api.requests(where)) == 1
    assert harness.api.requests("abort") == []


# --- what the API has already ---------------------------------------------------------------------


def there_already(harness: Harness) -> str:
    """The id of a file with our content, which the journal knows nothing of."""
    file_id = harness.upload(harness.file(SMALL)).remote.id
    (harness.folder / "out.jsonl.journal").unlink()
    harness.api.clear_requests()
    return file_id


def test_bytes_that_are_there_already_are_not_sent(harness: Harness) -> None:
    file_id = there_already(harness)

    done = harness.upload(harness.file(SMALL))

    assert (done.remote.id, done.duplicate, done.parts) == (file_id, True, 0)
    assert harness.api.requests("put") == []


@pytest.mark.parametrize(
    ("fault", "expected", "match"),
    [
        ({"what": "reply_fields", "fields": {"purpose": "eval"}}, Permanent, "purpose eval"),
        ({"what": "reply_fields", "fields": {"bytes": 5}}, Permanent, "has 5 bytes"),
        ({"what": "reply_fields", "fields": {"processing_status": "FAILED"}}, Permanent, "FAILED"),
        (
            {"what": "reply_fields", "fields": {"processing_status": "INVALID_FORMAT"}},
            Permanent,
            "INVALID_FORMAT",
        ),
        ({"what": "status", "status": 404}, Retryable, "does not find it"),
    ],
    ids=["purpose", "bytes", "failed", "invalid", "not found"],
)
def test_a_file_that_is_there_and_is_not_ours_is_an_error_that_names_it(
    harness: Harness, fault: dict[str, Any], expected: type[IngestError], match: str
) -> None:
    file_id = there_already(harness)
    harness.api.script(Fault(where="retrieve", **fault))

    with pytest.raises(expected, match=match) as caught:
        harness.upload(harness.file(SMALL))
    assert file_id in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"what": "reply_fields", "fields": {"bytes": 5}}, Permanent),
        ({"what": "status", "status": 404}, OutcomeUnknown),
    ],
    ids=["other bytes", "not found"],
)
def test_a_file_that_is_not_there_as_it_was_sent_is_an_error_that_names_it(
    harness: Harness, fault: dict[str, Any], expected: type[IngestError]
) -> None:
    harness.api.script(Fault(where="retrieve", **fault))

    with pytest.raises(expected) as caught:
        harness.upload(harness.file(SMALL))
    assert str(harness.attempt().file_id) in str(caught.value)


# --- stopping -------------------------------------------------------------------------------------


def test_a_stopped_upload_ends_within_seconds_and_the_next_run_sends_what_is_missing(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.bodies._INTERRUPT_GRACE_S", 0.5)
    file = harness.file(DATA, PARTS)
    harness.api.script(Fault(where="put-part", what="stall", part=2, times=None))
    stopped_at: list[float] = []

    def stop_when_the_others_are_sent() -> None:
        while len(harness.sent_bytes) < PARTS - 1:
            time.sleep(0.01)
        stopped_at.append(time.monotonic())
        harness.stop.set()

    stopper = threading.Thread(target=stop_when_the_others_are_sent)
    stopper.start()
    with pytest.raises(Interrupted, match="run again to go on"):
        harness.upload(file)
    assert time.monotonic() - stopped_at[0] < 4.0
    stopper.join()
    assert sorted(harness.attempt().sent) == [1, 3, 4, 5]

    harness.stop.clear()
    harness.api.clear_requests()
    harness.assert_uploaded(harness.upload(file), DATA)
    assert harness.parts_put() == [2]


def test_a_part_that_arrives_while_the_run_is_being_stopped_counts(harness: Harness) -> None:
    harness.options = {"parts_in_flight": 1}

    def stop(task: PutTask) -> None:
        if task.offset == MIN_PART_SIZE_BYTES:
            harness.stop.set()
            time.sleep(0.7)  # until the driver has seen it

    harness.before_send = stop

    with pytest.raises(Interrupted):
        harness.upload(harness.file(DATA, PARTS))
    assert sorted(harness.attempt().sent) == [1, 2]


def test_an_upload_does_not_begin_once_the_run_is_stopped(harness: Harness) -> None:
    harness.stop.set()

    with pytest.raises(Interrupted):
        harness.upload(harness.file(SMALL))
    assert [s for s in harness.api.requests() if s.where != "delete"] == []


# --- the journal ----------------------------------------------------------------------------------


def test_nothing_is_sent_when_the_journal_cannot_be_written(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_store: LocalRunStore, _lines: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LocalRunStore, "append", full)

    with pytest.raises(ManifestError, match="No space left on device"):
        harness.upload(harness.file(DATA, PARTS))
    assert harness.api.requests() == []
