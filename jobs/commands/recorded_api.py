"""The API that a manifest or a journal names, and whether the key may go there.

Used by `ingest verify` and `ingest abort`, which learn where to ask from a file. A manifest is
committed and merged like code, so it must not be enough to name a host in it to be sent the key.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import click

from ingest.errors import UsageError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from ingest.files_api import FilesApi

_F = TypeVar("_F", bound=Callable[..., Any])

_VENDOR_HOSTS = frozenset({"api.together.ai", "api.together.xyz"})

_OPTIONS = (
    click.option(
        "--base-url", metavar="URL", help="The API that is recorded  [$TOGETHER_BASE_URL]."
    ),
    click.option("--api-key-file", metavar="FILE", help="Holds the key  [$TOGETHER_API_KEY]."),
    click.option("--api-key-secret", metavar="ARN", help="AWS Secrets Manager holds the key."),
    click.option("--s3-endpoint", metavar="URL", help="An S3 endpoint other than AWS's."),
    click.option("--insecure", is_flag=True, help="Allow plain http to another machine."),
)


def api_options(function: _F) -> _F:
    """The options of a command that asks the API which a file names."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


class RecordedApis:
    """Clients of the APIs that ``where`` names, one each.

    Args:
        where: the manifest, for messages.
        chosen: the API that the user named for this command, if any.
        insecure: plain http is fine.
        key: for all of them.
    """

    def __init__(self, where: str, chosen: str | None, insecure: bool, key: SecretStr) -> None:
        self._where = where
        self._chosen = chosen or os.environ.get("TOGETHER_BASE_URL")
        self._insecure = insecure
        self._key = key
        self._apis: dict[str, FilesApi] = {}

    def at(self, base_url: str) -> FilesApi:
        """The client of one of them.

        Raises:
            UsageError: the key must not go there.
        """
        from ingest.files_api import FilesApi

        if base_url not in self._apis:
            self._refuse_unknown(base_url)
            self._apis[base_url] = FilesApi(base_url, self._key)
        return self._apis[base_url]

    def close(self) -> None:
        """Give the connections back."""
        for api in self._apis.values():
            api.close()

    def _refuse_unknown(self, base_url: str) -> None:
        from ingest.settings import is_loopback, normalise_base_url

        try:
            usable = normalise_base_url(base_url) == base_url
            chosen = normalise_base_url(self._chosen) if self._chosen else None
        except ValueError as error:
            raise UsageError(f"{self._where}: names an API that cannot be one ({error})") from None
        if not usable:
            raise UsageError(f"{self._where}: names an API that cannot be one; was it edited?")
        if base_url.startswith("http://") and not (is_loopback(base_url) or self._insecure):
            raise UsageError(
                f"{self._where}: names {base_url}: plain http would show the key to the network; "
                "--insecure allows it"
            )
        host = urlsplit(base_url).netloc
        known = host in _VENDOR_HOSTS or is_loopback(base_url)
        if not known and (chosen is None or urlsplit(chosen).netloc != host):
            raise UsageError(
                f"{self._where}: names {base_url}; if the key may be sent there, say so with "
                f"--base-url {base_url}"
            )
