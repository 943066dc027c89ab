"""The two secrets of a run, in types that do not show them: the API key and presigned URLs.

The driver alone reads the key. Presigned URLs travel to workers, so they are pickled whole; what
hides is their ``repr`` and ``str``, which is what logs, errors and dashboards print.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from ingest.errors import NotAuthorised, UsageError

API_KEY_VARIABLE = "TOGETHER_API_KEY"


@dataclass(frozen=True, slots=True, repr=False)
class PresignedUrl:
    """A URL whose holder may write (one part of) one file, with the headers it was signed for."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<presigned URL at {self.host}>"

    __str__ = __repr__

    @property
    def host(self) -> str:
        """The host, which is no secret and helps in a message."""
        try:
            return urlsplit(self.url).hostname or "?"
        except ValueError:
            return "?"

    @property
    def expires_at(self) -> datetime | None:
        """When the store will stop to honour it, as an S3 URL tells; None when it does not."""
        try:
            query = parse_qs(urlsplit(self.url).query)
            signed = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ")
            lifetime = timedelta(seconds=int(query["X-Amz-Expires"][0]))
            return signed.replace(tzinfo=timezone.utc) + lifetime
        except (KeyError, ValueError, OverflowError):
            return None

    def expires_within(self, seconds: float) -> bool:
        """Whether fewer than ``seconds`` are left; a URL that tells no expiry never expires."""
        expiry = self.expires_at
        return expiry is not None and expiry - datetime.now(timezone.utc) < timedelta(
            seconds=seconds
        )


def read_api_key(key_file: str | None = None, secret_arn: str | None = None) -> SecretStr:
    """The API key: from ``key_file``, else from AWS Secrets Manager, else from the environment.

    Raises:
        UsageError: the file or the secret cannot be read.
        NotAuthorised: no place holds a key.
    """
    if key_file:
        try:
            key = Path(key_file).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise UsageError(
                f"--api-key-file {key_file}: cannot be read ({error.strerror})"
            ) from None
        except UnicodeDecodeError:  # its text quotes the bytes
            raise UsageError(f"--api-key-file {key_file}: is not text") from None
    elif secret_arn:
        key = _read_secret(secret_arn)
    else:
        key = os.environ.get(API_KEY_VARIABLE, "")
    key = key.strip()
    if not key:
        where = f"{key_file or secret_arn} is empty" if key_file or secret_arn else "no API key"
        raise NotAuthorised(
            f"{where}: set {API_KEY_VARIABLE}, or pass --api-key-file or --api-key-secret"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        # Not told which character: it would be a part of the key.
        raise NotAuthorised("the API key holds a blank, a line break or a non-ASCII character")
    return SecretStr(key)


def _read_secret(arn: str) -> str:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    # arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME names its region; a bare name does not.
    fields = arn.split(":")
    region = fields[3] if len(fields) > 3 else None
    try:
        client = boto3.client("secretsmanager", region_name=region)
        with _no_debug_logs():  # botocore would write the reply into them
            secret = client.get_secret_value(SecretId=arn)["SecretString"]
        return _key_of_secret(secret, arn)
    except KeyError:
        raise UsageError(f"--api-key-secret {arn}: is binary; a string was expected") from None
    except (BotoCoreError, ClientError) as error:
        raise UsageError(f"--api-key-secret {arn}: cannot be read ({error})") from None


@contextmanager
def _no_debug_logs() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(max(before, logging.DEBUG))
    try:
        yield
    finally:
        logging.disable(before)


def _key_of_secret(secret: str, arn: str) -> str:
    """The key in a secret: plain text, or ``{"TOGETHER_API_KEY": KEY}``, as AWS's console makes it.

    Of an object with a single entry the entry's name does not matter.
    """
    try:
        fields = json.loads(secret)
    except ValueError:
        return secret
    if not isinstance(fields, dict):
        return secret
    values = [fields[API_KEY_VARIABLE]] if API_KEY_VARIABLE in fields else list(fields.values())
    if len(values) != 1 or not isinstance(values[0], str):
        raise UsageError(f"--api-key-secret {arn}: expected {API_KEY_VARIABLE} among its keys")
    return values[0]
