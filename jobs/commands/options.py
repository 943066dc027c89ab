"""Options that several commands share, and how they become settings.

Values are checked by the settings themselves; here a refusal is told in terms of the flags.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ingest.errors import UsageError
from ingest.files import PURPOSES, RULE_SETS

if TYPE_CHECKING:
    from ingest.settings import CheckSettings

_F = TypeVar("_F", bound=Callable[..., Any])
_S = TypeVar("_S", bound="CheckSettings")

FORMATS = ("text", "json", "github", "sarif", "junit")

_INPUTS = click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")

_CHECK = (
    click.option("--purpose", type=click.Choice(PURPOSES), help="What the files are for."),
    click.option("--rules", type=click.Choice(RULE_SETS), help="The rule set  [standard]."),
    click.option("--max-problems", type=int, metavar="N", help="Problems told a file  [100]."),
    click.option(
        "--engine",
        type=click.Choice(["auto", "local", "ray"]),
        help="Where the work runs  [auto: ray where there is an address, else local].",
    ),
    click.option("--address", metavar="ADDRESS", help="A Ray cluster: auto, or HOST:PORT."),
    click.option("--s3-endpoint", metavar="URL", help="An S3 endpoint other than AWS's."),
    click.option("--workers", type=int, metavar="N", help="Processes of the local engine."),
    click.option("--max-file-size", metavar="SIZE", help="The largest file to send  [50.1GiB]."),
)

_REPORTS = (
    click.option(
        "--format",
        "report_format",
        type=click.Choice(FORMATS),
        default="text",
        help="How problems are told  [text].",
    ),
    click.option("--problems", metavar="FILE", help="Also write every problem as a JSON line."),
    click.option(
        "--duplicates", is_flag=True, help="Also warn of repeated records in JSONL files."
    ),
)

_JSON_FILE = click.option(
    "--json", "json_file", metavar="FILE", help="Also write the report as JSON (-: stdout)."
)

_PLAN = (
    click.option("--manifest", metavar="FILE", help="Where file ids are recorded; path or s3://."),
    click.option("--base-url", metavar="URL", help="The API  [$TOGETHER_BASE_URL]."),
    click.option("--multipart-threshold", metavar="SIZE", help="Larger goes in parts  [5GiB]."),
    click.option("--part-size", metavar="SIZE", help="The target  [250MiB]."),
    click.option("--shard-size", metavar="SIZE", help="Cut larger JSONL files at record borders."),
    click.option("--insecure", is_flag=True, help="Allow plain http to another machine."),
)

_PUBLISH = (
    click.option("--no-check", is_flag=True, help="Send without validating."),
    click.option(
        "--on-invalid",
        type=click.Choice(["stop", "skip"]),
        help="With an invalid file send nothing, or the others  [stop].",
    ),
    click.option("--api-key-file", metavar="FILE", help="Holds the key  [$TOGETHER_API_KEY]."),
    click.option("--api-key-secret", metavar="ARN", help="AWS Secrets Manager holds the key."),
    click.option("--max-parts-per-file", type=int, metavar="N", help="In flight  [4, the most]."),
    click.option("--part-timeout", type=float, metavar="SECONDS", help="For a part  [300]."),
    click.option("--max-in-flight", type=int, metavar="N", help="PUTs over all files  [16]."),
    click.option("--max-bandwidth", metavar="SIZE", help="Bytes a second, over all workers."),
    click.option(
        "--etag",
        type=click.Choice(["auto", "strict"]),
        help="Whether ETags must be MD5s  [auto: where they look like one].",
    ),
    click.option("--wait", is_flag=True, help="Follow the server's processing to its end."),
)


def _apply(options: tuple[Callable[[_F], _F], ...], function: _F) -> _F:
    for option in reversed(options):
        function = option(function)
    return function


def check_options(function: _F) -> _F:
    """The options of `ingest check`."""
    return _apply((_INPUTS, *_CHECK, *_REPORTS, _JSON_FILE), function)


def publish_options(function: _F) -> _F:
    """The options of `ingest publish`."""
    return _apply((_INPUTS, *_CHECK, *_REPORTS, _JSON_FILE, *_PLAN, *_PUBLISH), function)


def plan_options(function: _F) -> _F:
    """The options of `ingest plan`: those of publish, most of which change nothing here."""
    return _apply((_INPUTS, *_CHECK, *_REPORTS, *_PLAN, *_PUBLISH), function)


def settings_from(model: type[_S], flags: dict[str, Any]) -> _S:
    """Build settings from the flags that were given, dropping those the model does not know.

    Raises:
        UsageError: a value makes no sense; the message names its flag.
    """
    from pydantic import ValidationError

    # By identity: 0 is a value, and a wrong one, though it equals False.
    given = {n: v for n, v in flags.items() if v is not None and v is not False}
    if given.pop("no_check", False):
        given["check"] = False
    if "base_url" in model.model_fields and "base_url" not in given:
        from_environment = os.environ.get("TOGETHER_BASE_URL")
        given |= {"base_url": from_environment} if from_environment else {}
    given = {name: value for name, value in given.items() if name in model.model_fields}
    try:
        return model(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:  # about several settings; the message names the one to change
            name, _, message = message.partition(": ")
            raise UsageError(f"{_flag(name)}: {message}") from None
        name = str(first["loc"][0])
        # A URL that is refused may be so for the password or the key in it.
        secretive = name == "base_url" and any(mark in str(first["input"]) for mark in "@?#")
        shown = "" if secretive else f" {first['input']}"
        raise UsageError(f"{_flag(name)}{shown}: {message}") from None


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
