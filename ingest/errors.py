"""Every error this package raises on purpose, and what each means for the caller.

    IngestError                     1    something unexpected; running again may help
    ├── UsageError                  2    wrong arguments, or input that cannot be read
    │   ├── SourceError             2    a source is missing, unreadable or unreachable
    │   └── ManifestError           2    the manifest or journal is not ours, or is in use
    ├── DataInvalid                 5    the gate is shut: a dataset file breaks the rules
    ├── NotAuthorised               4    the API refused the key (401, 403)
    ├── UploadError                 3    one file, or one step of it, was not uploaded
    │   ├── Retryable               3    trying the same step again may succeed
    │   │   └── TooSlow             3    the link is too slow for the size of the part
    │   ├── Permanent               3    trying again cannot succeed without a change
    │   │   └── SourceChanged       3    a source is not what it was when it was planned
    │   ├── UrlExpired              3    the presigned URL is past its time: initiate anew
    │   └── OutcomeUnknown          3    the step may have happened: look before repeating it
    └── Interrupted               130    Ctrl-C or SIGTERM; the journal is closed

The number is the exit code of the command line. Errors cross process borders (worker pools and
Ray), so each one is rebuilt from its positional arguments alone. A message names the file, line
or part, what was expected, what was found, and what to do; it never holds a key or a presigned
URL.
"""

from __future__ import annotations

from typing import ClassVar


class IngestError(Exception):
    """The root of the tree: a message for a person, and the exit code it leads to."""

    exit_code: ClassVar[int] = 1


class UsageError(IngestError):
    """Wrong arguments or settings, or input that cannot be used as given."""

    exit_code = 2


class SourceError(UsageError):
    """A source does not exist, cannot be read, or its store cannot be reached."""


class ManifestError(UsageError):
    """The manifest or its journal is not ours, is damaged, or is held by another run."""


class DataInvalid(IngestError):
    """At least one dataset file breaks the rules, so nothing was sent."""

    exit_code = 5


class NotAuthorised(IngestError):
    """The Files API refused the key. No later request can do better."""

    exit_code = 4


class UploadError(IngestError):
    """One upload file could not be brought to its end."""

    exit_code = 3


class _Waitable(UploadError):
    """``retry_after_s`` is the server's wish in seconds, if it told one."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return str(self.args[0])


class Retryable(_Waitable):
    """A passing fault. One that is ``throttled`` (429, 503) asks all requests to slow down."""

    def __init__(
        self, message: str, retry_after_s: float | None = None, throttled: bool = False
    ) -> None:
        super().__init__(message, retry_after_s)
        self.args = (message, retry_after_s, throttled)
        self.throttled = throttled


class TooSlow(Retryable):
    """A body moved, but not fast enough for its time limit; ``bytes_s`` is how fast."""

    def __init__(self, message: str, bytes_s: float) -> None:
        super().__init__(message)
        self.args = (message, bytes_s)
        self.bytes_s = bytes_s


class Permanent(UploadError):
    """A fault that the same request would meet again."""


class SourceChanged(Permanent):
    """A source's size or version differs from what was planned; its bytes must not be mixed."""


class UrlExpired(UploadError):
    """A presigned URL is past its expiry; the upload has to be initiated anew."""


class OutcomeUnknown(_Waitable):
    """The reply was lost after the request was sent: it may or may not have taken effect."""


class Interrupted(IngestError):
    """The run was stopped by a signal; what was sent is in the journal."""

    exit_code = 130
