"""Settings of the local Files API, checked once where they enter.

Built by the command line and by `LocalFilesApi`; read by the rest of this package. Reads one
environment variable, ``TOGETHER_API_KEY``, and only when no key is given.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

DEFAULT_KEY = "local-key"
MIN_PART_SIZE_BYTES = 5 * 2**20  # what object stores ask of every part but the last
MAX_FILE_SIZE_BYTES = int(50.1 * 2**30)  # the limit in the vendor's clients
MAX_PARTS = 250


def _key_from_environment() -> SecretStr:
    return SecretStr(os.environ.get("TOGETHER_API_KEY") or DEFAULT_KEY)


class ServeSettings(BaseModel):
    """How to run the local Files API.

    Attributes:
        host: the address to listen on.
        port: 0 takes a free one; the base URL printed at the start tells which.
        data_dir: where files, their metadata and the signing secret live; created if missing.
        api_key: the bearer key clients must send. Not given: ``TOGETHER_API_KEY``, so that a
            client in the same shell just works, else ``local-key``, which is accepted on the
            loopback interface only.
        storage: None keeps file contents in ``data_dir``; ``s3://bucket[/prefix]`` hands out
            presigned URLs of that bucket.
        s3_endpoint: the S3 server, if it is not AWS.
        min_part_size_bytes: smallest part of a multipart upload, but for the last.
        max_file_size_bytes: larger files are refused.
        url_expiry_s: lifetime of a storage URL in seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8400, ge=0, le=65535)
    data_dir: Path
    api_key: SecretStr = Field(default_factory=_key_from_environment)
    storage: str | None = None
    s3_endpoint: str | None = None
    min_part_size_bytes: int = Field(default=MIN_PART_SIZE_BYTES, ge=1)
    max_file_size_bytes: int = Field(default=MAX_FILE_SIZE_BYTES, ge=1)
    url_expiry_s: int = Field(default=3600, ge=1, le=7 * 24 * 3600)  # S3 signs for 7 days at most

    @field_validator("api_key")
    @classmethod
    def _key_is_not_blank(cls, key: SecretStr) -> SecretStr:
        if not key.get_secret_value().strip():
            raise ValueError("the API key is empty")
        return key

    @field_validator("storage")
    @classmethod
    def _storage_is_a_bucket(cls, storage: str | None) -> str | None:
        if storage is not None and (
            urlsplit(storage).scheme != "s3" or not urlsplit(storage).netloc
        ):
            raise ValueError(f"expected s3://bucket or s3://bucket/prefix, found {storage!r}")
        return storage

    @model_validator(mode="after")
    def _known_key_stays_at_home(self) -> ServeSettings:
        if self.api_key.get_secret_value() == DEFAULT_KEY and not _is_loopback(self.host):
            raise ValueError(
                f"listening on {self.host} needs a key of its own: "
                f"give --api-key or set TOGETHER_API_KEY"
            )
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
