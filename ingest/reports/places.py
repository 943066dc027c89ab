"""Where a problem is, in the words of each format; shared by the renderers of this package.

A dataset file's name and its contents are a stranger's text: all of it passes through
`printable` (or percent-encoding) before it is shown.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from urllib.parse import quote

from ingest.files import FileReport, Problem


def printable(text: str) -> str:
    r"""Return ``text`` with control characters, lone surrogates and the like as ``\x1b`` escapes.

    What is left is safe on a terminal, legal in XML 1.0, and can be encoded as UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def checkout_root() -> Path:
    """Return the folder that a code host's paths start from.

    On a GitHub runner that is the checkout, even for a step with its own working directory;
    anywhere else it is the working directory.
    """
    return Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd())


def is_remote(uri: str) -> bool:
    """Whether ``uri`` names an object in a store rather than a local file."""
    return uri.startswith("s3://")


def path_below(uri: str, root: Path) -> str | None:
    """Return the ``/``-separated path of a local file below ``root``, or None if it is not."""
    if is_remote(uri):
        return None
    path = PurePath(uri)
    for folder in (root, root.resolve()):
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return None


def shown_name(report: FileReport, root: Path) -> str:
    """Return the shortest name that a person standing in ``root`` would find the file by."""
    return printable(path_below(report.uri, root) or report.uri)


def uri_reference(report: FileReport, root: Path) -> tuple[str, bool]:
    """Return the file's percent-encoded URI, and whether it is relative to ``root``."""
    if is_remote(report.uri):
        return "s3://" + quote(os.fsencode(report.uri[len("s3://") :])), False
    below = path_below(report.uri, root)
    if below is None:
        return file_uri(report.uri), False
    # A colon in the first segment would read as a scheme (RFC 3986, 4.2); quote() encodes it.
    return quote(os.fsencode(below)), True


def file_uri(path: str | Path) -> str:
    """Return the ``file://`` URI of an absolute path, whatever bytes its name holds."""
    return "file://" + quote(os.fsencode(path))


def place(name: str, problem: Problem) -> str:
    """Return ``file:line``, as compilers write it, or the file alone."""
    return name if problem.line is None else f"{name}:{problem.line}"


def place_in_record(problem: Problem) -> str:
    """Return the record, where no line says which it is, and the path inside it; may be empty."""
    record = f"record {problem.record:,}" if problem.line is None and problem.record else ""
    return " ".join(filter(None, (record, printable(problem.path or ""))))


def sentence(problem: Problem) -> str:
    """Return the message, headed by the place inside the record."""
    inside, message = place_in_record(problem), printable(problem.message)
    return f"{inside}: {message}" if inside else message


def counted(number: int, noun: str) -> str:
    """Return ``1 file``, ``2 files``, ``12,345 files``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
