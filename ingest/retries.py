"""When a failed HTTP step is worth trying again, and how long to wait before: pure decisions.

Shared by the Files API client and the transfer of bodies, so that both read a status, a
``Retry-After`` and an attempt count the same way. Nothing here sleeps.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

ATTEMPTS = 6
"""How often a step is tried in all before its fault is called lasting: about 20 s of waiting."""

_BASE_DELAY_S = 0.5
_MAX_DELAY_S = 20.0
_MAX_SERVER_DELAY_S = 120.0

_RETRYABLE_STATUSES = frozenset({408, 409, 425, 429})

THROTTLES = frozenset({429, 503})
"""Statuses that ask for fewer requests, from whoever sends them; 503 is S3's ``SlowDown``."""


def is_retryable(status: int, headers: Mapping[str, str]) -> bool:
    """Whether the same request may succeed later; ``x-should-retry`` overrules the status."""
    wish = headers.get("x-should-retry", "").lower()
    if wish in ("true", "false"):
        return wish == "true"
    return status in _RETRYABLE_STATUSES or status >= 500


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """The wait in seconds that the server asks for: ``retry-after-ms``, or both ``Retry-After``.

    At most 120 s: a longer wish is a failure to tell, not a wait to sit out. None without a wish
    that makes sense.
    """
    wish_s = _number(headers.get("retry-after-ms", ""))
    if wish_s is not None:
        wish_s /= 1000
    elif "Retry-After" in headers:
        wish_s = _number(headers["Retry-After"])
        if wish_s is None:
            wish_s = _seconds_until(headers["Retry-After"], now or datetime.now(timezone.utc))
    return None if wish_s is None else min(max(wish_s, 0.0), _MAX_SERVER_DELAY_S)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text.strip(), re.ASCII) else None


def _seconds_until(date: str, now: datetime) -> float | None:
    try:
        return (parsedate_to_datetime(date) - now).total_seconds()
    except (ValueError, TypeError):  # TypeError: a date without a zone cannot be subtracted
        return None


def backoff_s(attempt: int, wish_s: float | None = None) -> float:
    """Seconds to wait after failed attempt number ``attempt`` (from 1), with jitter.

    Doubles from half a second to 20 s; never less than the server's wish.
    """
    delay: float = min(_BASE_DELAY_S * 2 ** (attempt - 1), _MAX_DELAY_S) * random.uniform(0.5, 1.0)
    return max(delay, wish_s or 0.0)


_URL_QUERY = re.compile(r"(https?://[^\s\"'<>?]+)\?[^\s\"'<>]*", re.IGNORECASE)
# A store that refuses a signature may quote the query without its URL.
_SIGNED_FIELD = re.compile(r"(X-Amz-(?:Signature|Credential|Security-Token)=)[^\s&\"'<>]+", re.I)


def redacted(text: str, limit: int = 300) -> str:
    """A server's own words, fit for a message: one line, cut, and no URL with its query."""
    line = " ".join(_SIGNED_FIELD.sub(r"\1...", _URL_QUERY.sub(r"\1?...", text)).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
