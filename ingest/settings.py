"""What a user can set, checked at the border: the command line and ``jobs.publish`` fill these in.

Sizes are bytes; text such as ``"64MiB"``, ``"5GiB"`` or ``"250MB"`` is understood. A value without
sense raises pydantic's ``ValidationError``, which the command line turns into exit code 2.
"""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, Field, model_validator

from ingest.files import Purpose, RuleSet

MIB = 2**20
GIB = 2**30

DEFAULT_BASE_URL = "https://api.together.ai/v1"
OBJECT_STORE_MIN_PART_BYTES = 5 * MIB
"""The smallest part, but for the last, that S3 and its kin accept."""
MAX_PARTS_IN_FLIGHT_PER_FILE = 4
"""The vendor's clients send at most four parts of a file at a time."""

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def _positive(size: ByteSize) -> ByteSize:
    if size <= 0:
        raise ValueError("must be more than 0 bytes")
    return size


Size = Annotated[ByteSize, AfterValidator(_positive)]


def is_loopback(url: str) -> bool:
    """Whether ``url`` names this machine itself, so that plain http and small parts are fine."""
    return (urlsplit(url).hostname or "") in LOOPBACK_HOSTS


def normalise_base_url(url: str) -> str:
    """``url`` with ``/v1`` at its end, however the user or another client's settings wrote it.

    Raises:
        ValueError: it is not an http(s) URL, or carries a user name, password, query or fragment.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"expected an http(s) URL such as {DEFAULT_BASE_URL}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("a base URL has no user name, password, query or fragment")
    _ = parts.port  # raises ValueError for one that is no port
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path if path.endswith('/v1') else path + '/v1'}"


class CheckSettings(BaseModel):
    """Stages 1 to 3: what to read, by which rules, and on which engine.

    Attributes:
        inputs: files, folders, globs, ``s3://bucket/prefix`` or ``s3://bucket/*.jsonl``.
        max_problems: how many problems of a file are told; all are counted.
        engine: ``auto`` is ``ray`` where there is an address or a Ray job around, else ``local``.
        address: a Ray cluster (``auto``, ``HOST:PORT``).
        s3_endpoint: an S3 endpoint other than AWS's; ``AWS_ENDPOINT_URL`` works as well.
        slice_size: how many bytes of a file one validation task reads.
        workers: processes of the local engine; the number of cores unless given.
    """

    # An input that is quoted in an error could be a URL with a password in it.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    inputs: tuple[str, ...] = Field(min_length=1)
    purpose: Purpose = "fine-tune"
    rules: RuleSet = "standard"
    max_problems: int = Field(default=100, ge=1)
    max_file_size: Size = ByteSize(int(50.1 * GIB))
    shard_size: Size | None = None
    engine: Literal["auto", "local", "ray"] = "auto"
    address: str | None = None
    s3_endpoint: str | None = None
    slice_size: Size = ByteSize(64 * MIB)
    workers: int | None = Field(default=None, ge=1)


class PlanSettings(CheckSettings):
    """Stages 1 and 2: also how each file would be cut and sent.

    Attributes:
        base_url: the API; ``TOGETHER_BASE_URL`` is read by the command line.
        multipart_threshold: a file over this goes by multipart, in bytes.
        part_size: the target; a file of more than 250 parts gets larger ones.
        part_timeout: wall clock seconds for one attempt of a part.
        max_bandwidth: bytes a second over all workers.
        manifest: where file ids are recorded: a path or ``s3://bucket/key``.
        insecure: allow plain http to a host that is not this machine.
    """

    manifest: str | None = None
    base_url: Annotated[str, AfterValidator(normalise_base_url)] = DEFAULT_BASE_URL
    multipart_threshold: Size = ByteSize(5 * GIB)
    part_size: Size = ByteSize(250 * MIB)
    part_timeout: float = Field(default=300.0, gt=0, le=3600)
    max_bandwidth: Size | None = None
    insecure: bool = False

    @property
    def min_part_bytes(self) -> int:
        """The smallest part of a plan: the store's 5 MiB, or less where a rehearsal asks for it."""
        return min(OBJECT_STORE_MIN_PART_BYTES, self.part_size)

    @model_validator(mode="after")
    def _check_together(self) -> PlanSettings:
        local = is_loopback(self.base_url)
        if self.base_url.startswith("http://") and not (local or self.insecure):
            raise ValueError(
                "base_url: plain http would show the key to the network; use https, or --insecure"
            )
        if self.part_size < OBJECT_STORE_MIN_PART_BYTES and not local:
            raise ValueError("part_size: object stores refuse parts under 5MiB")
        return self


class PublishSettings(PlanSettings):
    """The whole run: ``jobs.publish.publish(PublishSettings(...))`` is ``ingest publish``.

    Attributes:
        check: validate before sending; off is for data that was checked before.
        on_invalid: ``stop`` sends nothing when one file is invalid; ``skip`` sends the others.
        api_key_file: a file that holds the key; else ``TOGETHER_API_KEY`` is read.
        api_key_secret: the ARN of an AWS Secrets Manager secret that holds the key.
        max_parts_per_file: parts of one file in flight, at most 4.
        max_in_flight: bodies in flight over all files.
        etag: ``strict`` refuses a store whose ETags are not the MD5s of what was sent.
        wait: follow the server's processing of each file to its end.
    """

    manifest: str
    check: bool = True
    on_invalid: Literal["stop", "skip"] = "stop"
    api_key_file: str | None = None
    api_key_secret: str | None = None
    max_parts_per_file: int = Field(
        default=MAX_PARTS_IN_FLIGHT_PER_FILE, ge=1, le=MAX_PARTS_IN_FLIGHT_PER_FILE
    )
    max_in_flight: int = Field(default=16, ge=1)
    etag: Literal["auto", "strict"] = "auto"
    wait: bool = False
