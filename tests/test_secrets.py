from __future__ import annotations

import json
import logging
import pickle
import traceback
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ingest.bodies import _Body
from ingest.errors import NotAuthorised, UsageError
from ingest.files import Part
from ingest.files_api import MultipartTicket, SingleTicket
from ingest.files_api.wire import RefusedTicket, _Initiated
from ingest.journal import Attempt
from ingest.secrets import PresignedUrl, read_api_key
from ingest.transfer import PutTask
from tests.fixtures.raw_http import RawServer, reply

URL = "https://store.example/key?X-Amz-Signature=5ec7e7"


def signed(date: str, expires: str) -> PresignedUrl:
    return PresignedUrl(f"https://store.example/key?X-Amz-Date={date}&X-Amz-Expires={expires}")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param(
            signed("20260102T030405Z", "60"),
            datetime(2026, 1, 2, 3, 5, 5, tzinfo=timezone.utc),
            id="S3",
        ),
        pytest.param(PresignedUrl("https://store.example/key"), None, id="no query"),
        pytest.param(PresignedUrl("https://store.example/key?Expires=9"), None, id="another kind"),
        pytest.param(signed("20260102T030405Z", "soon"), None, id="lifetime is a word"),
        pytest.param(signed("20260102", "60"), None, id="date has no time"),
        pytest.param(signed("20260102T030405Z", "9" * 30), None, id="lifetime of ages"),
        pytest.param(signed("99991231T235959Z", "60"), None, id="after the last year"),
        pytest.param(PresignedUrl("https://[broken/?X-Amz-Date=1"), None, id="not a URL"),
    ],
)
def test_a_presigned_url_tells_when_it_expires(
    url: PresignedUrl, expected: datetime | None
) -> None:
    assert url.expires_at == expected
    assert expected is not None or not url.expires_within(1e9)


@pytest.mark.parametrize(("margin_s", "expected"), [(0, False), (50, False), (70, True)])
def test_a_url_expires_within_a_margin(margin_s: float, expected: bool) -> None:
    url = signed(datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ"), "60")

    assert url.expires_within(margin_s) is expected


def test_a_url_of_yesterday_has_expired() -> None:
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)

    assert signed(yesterday.strftime("%Y%m%dT%H%M%SZ"), "60").expires_within(0)


@pytest.mark.parametrize(
    "holder",
    [
        pytest.param(PresignedUrl(URL, {"x-amz-key": "5ec7e7"}), id="the URL"),
        pytest.param(SingleTicket("file-1", PresignedUrl(URL)), id="a single ticket"),
        pytest.param(MultipartTicket("u", "file-1", (PresignedUrl(URL),)), id="a multipart ticket"),
        pytest.param(Attempt("a", "n", "i", 1, urls=(PresignedUrl(URL),)), id="an attempt"),
        pytest.param(PutTask("l", (), 0, 0, PresignedUrl(URL), 1.0), id="a task"),
        pytest.param(_Body(Part(1, 0, 1), PresignedUrl(URL)), id="a body that is owed"),
        pytest.param(
            RefusedTicket("at store.example", MultipartTicket("u", "f", (PresignedUrl(URL),))),
            id="an error with a ticket",
        ),
    ],
)
def test_what_holds_a_presigned_url_does_not_show_it(holder: object) -> None:
    shown = f"{holder} {holder!r} {[holder]}"

    assert "5ec7e7" not in shown
    assert "store.example" in shown


def test_a_reply_to_initiate_does_not_show_its_urls() -> None:
    target = {"PartNumber": 1, "URL": URL, "Headers": {"x-amz-key": "5ec7e7"}}

    reply = _Initiated.model_validate({"upload_id": "u", "file_id": "file-1", "parts": [target]})

    assert reply.parts[0].url == URL
    assert "5ec7e7" not in f"{reply} {reply!r} {reply.parts}"


def test_a_presigned_url_travels_whole() -> None:
    url = PresignedUrl(URL, {"x-amz-key": "5ec7e7"})

    assert pickle.loads(pickle.dumps(url)) == url


def test_a_host_that_cannot_be_read_is_a_question_mark() -> None:
    assert repr(PresignedUrl("https://[broken")) == "<presigned URL at ?>"


@pytest.mark.parametrize(
    "content",
    [b"tgp_key", b"tgp_key\n", b"  tgp_key\r\n\r\n", b"\xef\xbb\xbftgp_key\n"],
    ids=["bare", "line end", "blanks around", "byte order mark"],
)
def test_a_key_is_read_from_a_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)

    assert read_api_key(str(path)).get_secret_value() == "tgp_key"


def test_a_key_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", " tgp_key\n")

    key = read_api_key()

    assert key.get_secret_value() == "tgp_key"
    assert "tgp_key" not in f"{key} {key!r}"


def test_a_key_file_counts_more_than_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "of_the_environment")
    (tmp_path / "key").write_text("of_the_file")

    assert read_api_key(str(tmp_path / "key")).get_secret_value() == "of_the_file"


@pytest.mark.parametrize("key", ["", " ", "\n"])
def test_no_key_is_told_with_the_ways_to_give_one(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", key)

    with pytest.raises(NotAuthorised, match="no API key: set TOGETHER_API_KEY"):
        read_api_key()


@pytest.mark.parametrize("key", ["5ec 7e7", "5ec\n7e7", "5ec\t7e7", "5ec7é7", "5ec\x007e7"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(key, encoding="utf-8")

    with pytest.raises(NotAuthorised, match="blank, a line break or a non-ASCII") as caught:
        read_api_key(str(tmp_path / "key"))
    assert "5ec" not in "".join(traceback.format_exception(caught.value))


def test_an_empty_key_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("\n")

    with pytest.raises(NotAuthorised, match=r"key is empty: set"):
        read_api_key(str(tmp_path / "key"))


def test_a_key_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone: cannot be read \(No such file or directory\)"):
        read_api_key(str(tmp_path / "gone"))


def test_a_key_file_that_is_not_text_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe5\x00")

    with pytest.raises(UsageError, match="is not text") as caught:
        read_api_key(str(tmp_path / "key"))
    assert "0xff" not in "".join(traceback.format_exception(caught.value))


def test_a_secret_without_aws_settings_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(UsageError, match="--api-key-secret a-name: cannot be read"):
        read_api_key(secret_arn="a-name")


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param("the-key", id="plain text"),
        pytest.param('{"TOGETHER_API_KEY": "the-key", "other": "x"}', id="by name"),
        pytest.param('{"key": "the-key"}', id="the only entry"),
    ],
)
def test_a_secret_in_secrets_manager_holds_the_key_in_either_form(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    body = json.dumps({"SecretString": secret}).encode()
    with RawServer(lambda _: reply(200, body, content_type="application/x-amz-json-1.1")) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", aws.url)
        key = read_api_key(secret_arn="arn:aws:secretsmanager:eu-west-1:111122223333:secret:k")
    assert key.get_secret_value() == "the-key"


def test_debug_logs_do_not_hold_what_secrets_manager_answers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    caplog.set_level(logging.DEBUG)
    for name in ("botocore.parsers", "botocore.endpoint", "urllib3"):
        caplog.set_level(logging.DEBUG, name)  # as somebody might who looks for a fault
    body = json.dumps({"SecretString": "the-key-5ec7e7"}).encode()
    with RawServer(lambda _: reply(200, body, content_type="application/x-amz-json-1.1")) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", aws.url)
        key = read_api_key(secret_arn="arn:aws:secretsmanager:eu-west-1:111122223333:secret:k")

    assert key.get_secret_value() == "the-key-5ec7e7"
    assert "botocore" in caplog.text, "it logs at this level"
    assert "5ec7e7" not in caplog.text
    logging.getLogger("after").debug("heard again")
    assert "heard again" in caplog.text


def test_a_secret_of_many_entries_must_name_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    body = json.dumps({"SecretString": '{"a": "hidden", "b": "hidden"}'}).encode()
    with RawServer(lambda _: reply(200, body, content_type="application/x-amz-json-1.1")) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", aws.url)
        with pytest.raises(UsageError, match="expected TOGETHER_API_KEY") as caught:
            read_api_key(secret_arn="arn:aws:secretsmanager:eu-west-1:111122223333:secret:k")
    assert "hidden" not in str(caught.value)
