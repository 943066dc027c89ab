"""Storage URLs that prove where they came from and when they end, in the manner of S3.

`UrlSigner` signs and checks them for the disk storage. The parameters carry S3's names, since
clients read ``X-Amz-Date`` and ``X-Amz-Expires``; the signature is our own plain HMAC over the
method, the path and every other query parameter (S3's also covers the host, which would tie a
rehearsal to one address). The secret never leaves the data directory, and URLs are never logged.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote, urlencode

from ingest.serve.storage import StorageRefusal

ALGORITHM = "HMAC-SHA256"
_DATE_FORMAT = "%Y%m%dT%H%M%SZ"
_SIGNATURE = "X-Amz-Signature"


def load_secret(path: Path) -> bytes:
    """The signing secret of a data directory, made on first use and readable by its owner only."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    secret = secrets.token_hex(32).encode()
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
    return secret


class UrlSigner:
    """Signs paths and checks what comes back."""

    def __init__(
        self, secret: bytes, expiry_s: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._secret = secret
        self._expiry_s = expiry_s
        self._clock = clock

    def sign(self, method: str, path: str, query: Mapping[str, str]) -> str:
        """The path with its query, valid for ``expiry_s`` seconds from now."""
        now = datetime.fromtimestamp(self._clock(), timezone.utc)
        signed = {
            **query,
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Date": now.strftime(_DATE_FORMAT),
            "X-Amz-Expires": str(self._expiry_s),
        }
        signed[_SIGNATURE] = self._signature(method, path, signed)
        return f"{quote(path)}?{urlencode(signed)}"

    def check(self, method: str, path: str, query: Mapping[str, str]) -> None:
        """Accept a URL that `sign` made for this method and path, before its expiry.

        Raises:
            StorageRefusal: as S3 answers: 403 for no, a wrong or an expired signature.
        """
        if _SIGNATURE not in query:
            raise StorageRefusal(403, "AccessDenied", "Access Denied")
        try:
            signed_at = datetime.strptime(query["X-Amz-Date"], _DATE_FORMAT)
            lifetime_s = int(query["X-Amz-Expires"])
        except (KeyError, ValueError):
            message = "X-Amz-Date and X-Amz-Expires must be a date and a number of seconds"
            raise StorageRefusal(400, "AuthorizationQueryParametersError", message) from None
        expires = signed_at.replace(tzinfo=timezone.utc).timestamp() + lifetime_s
        if self._clock() > expires:
            raise StorageRefusal(403, "AccessDenied", "Request has expired")
        unsigned = {name: value for name, value in query.items() if name != _SIGNATURE}
        expected = self._signature(method, path, unsigned)
        if not hmac.compare_digest(expected.encode(), query[_SIGNATURE].encode()):
            message = "The request signature we calculated does not match the one you provided"
            raise StorageRefusal(403, "SignatureDoesNotMatch", message)

    def _signature(self, method: str, path: str, query: Mapping[str, str]) -> str:
        canonical = "\n".join([method, path, urlencode(sorted(query.items()))])
        return hmac.new(self._secret, canonical.encode(), hashlib.sha256).hexdigest()
