"""What a failed S3 request means: which errors pass by themselves, and what to do about the rest.

Called by ``ingest.sources.s3`` only, which talks to S3; nothing here does. Like there, botocore is
imported by the first call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ingest.errors import SourceError

MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
NOT_SHOWN = MISSING | {"NoSuchBucket", "403", "AccessDenied", "Forbidden"}
CONDITION_FAILED = frozenset({"412", "PreconditionFailed", "409", "ConditionalRequestConflict"})
OUT_OF_RANGE = frozenset({"416", "InvalidRange"})

_PASSING = frozenset(
    {"500", "502", "503", "504", "InternalError", "RequestTimeout", "ServiceUnavailable"}
    | {"SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "429"}
)

_CREDENTIALS_ADVICE = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give this machine a role"
)
_DENIED = (
    "access denied; the credentials need s3:GetObject and s3:ListBucket to read, "
    "and s3:PutObject and s3:DeleteObject to keep a manifest"
)
_ADVICE = {
    "NoSuchBucket": "there is no such bucket; check its name and the endpoint",
    "NoSuchKey": "there is no such object",
    "NotFound": "there is no such object or bucket",
    "404": "there is no such object or bucket",
    "AccessDenied": _DENIED,
    "403": _DENIED,
    "InvalidAccessKeyId": f"the access key is unknown to this endpoint; {_CREDENTIALS_ADVICE}",
    "SignatureDoesNotMatch": f"the secret key does not fit the access key; {_CREDENTIALS_ADVICE}",
    "InvalidObjectState": "the object is archived; restore it first",
    "ExpiredToken": "the session's credentials have expired; log in again",
    "NoCredentialsError": f"no AWS credentials were found; {_CREDENTIALS_ADVICE}",
    "PartialCredentialsError": f"the AWS credentials are not complete; {_CREDENTIALS_ADVICE}",
    "ProfileNotFound": "AWS_PROFILE names a profile that is not in the AWS config files",
}


@contextlib.contextmanager
def explained(uri: str) -> Iterator[None]:
    """Raise what boto3 raises as ``SourceError`` about ``uri``."""
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (BotoCoreError, ClientError, HTTPError) as error:
        raise SourceError(explanation(error, uri)) from error


def explanation(error: Exception, uri: str) -> str:
    """One line about a failed request for ``uri``: what is wrong, and what to do."""
    advice = _ADVICE.get(error_code(error)) or _ADVICE.get(type(error).__name__)
    if advice is None and is_passing(error):
        advice = f"{one_line(error)}; check the endpoint and the network, then run again"
    return f"{uri}: {advice or one_line(error)}"


def error_code(error: Exception) -> str:
    """The S3 error code of a reply; empty for an error without a reply."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def is_passing(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    from botocore import exceptions as botocore_errors
    from urllib3.exceptions import HTTPError

    if isinstance(error, botocore_errors.ClientError):
        return error_code(error) in _PASSING
    if isinstance(error, botocore_errors.SSLError):
        return False
    return isinstance(
        error,
        botocore_errors.HTTPClientError
        | botocore_errors.ConnectionError
        | botocore_errors.IncompleteReadError
        | HTTPError,
    )


def one_line(error: Exception) -> str:
    """The error's own words on one line, cut to 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__
