"""Turns what the user named (files, folders, globs, ``s3://``) into source files.

Called once, by the driver, before anything is planned. What is missing or unreadable is a result
here (a problem with a code), since one bad name among a hundred should not hide the rest; only a
store that cannot be used at all is an error. It reads no file's content, and must never depend
on the order in which a disk lists its entries.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ingest.errors import SourceError
from ingest.files import Problem, SourceFile
from ingest.sources.local import stat_local
from ingest.sources.opening import is_s3
from ingest.sources.s3 import find_object, list_objects, split_uri

_MAGIC = re.compile(r"[*?\[]")
_HIDDEN = (".", "_")  # .git, .DS_Store; _SUCCESS and other marks that Spark and Hive leave

_NOTHING_HERE = "expected a file or a folder, found nothing; check the path"
_NOTHING_IN_S3 = "expected an object with this key or below it, found none; check the path"
_NO_MATCH = "the pattern matches no dataset file; * stays within a folder, ** crosses folders"
_NO_FILES = "the folder holds no dataset files; name another one"
_NAME_NOT_UTF8 = "the file's name is not UTF-8; rename it"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was found and is not a source, and why."""

    uri: str
    reason: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """What the inputs of a run name.

    Attributes:
        files: the sources, sorted by URI within an input, inputs in the order given.
        skipped: what was left out on purpose.
        problems: ``(uri, problem)`` for what was named and is missing or cannot be read.
    """

    files: tuple[SourceFile, ...]
    skipped: tuple[Skipped, ...]
    problems: tuple[tuple[str, Problem], ...]


def discover(inputs: Sequence[str], s3_endpoint: str | None = None) -> Discovery:
    """Find the source files that ``inputs`` name; each is taken once, by the first that names it.

    Args:
        inputs: local files, folders (all below them), globs, ``s3://bucket/key``,
            ``s3://bucket/prefix/`` (all below it) and ``s3://`` globs. What literally exists wins
            over its meaning as a glob.
        s3_endpoint: where ``s3://`` is; None leaves it to boto3 (``AWS_ENDPOINT_URL``).

    Raises:
        SourceError: an S3 bucket is missing, or cannot be reached or listed.
    """
    found = _Found()
    for text in inputs:
        if is_s3(text):
            _discover_s3(text, s3_endpoint, found)
        else:
            _discover_local(text, found)
        found.close_input()
    return Discovery(
        tuple(found.files),
        tuple(dict.fromkeys(found.skipped)),
        tuple(dict.fromkeys(found.problems)),
    )


@dataclass
class _Found:
    """What has been found so far; the files of the current input wait to be sorted."""

    files: list[SourceFile] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    problems: list[tuple[str, Problem]] = field(default_factory=list)
    _current: dict[str, SourceFile] = field(default_factory=dict)
    _taken: dict[str, str] = field(default_factory=dict)  # real path or S3 URI -> URI

    def take(self, source: SourceFile) -> None:
        self._current.setdefault(source.uri, source)

    def skip(self, uri: str, reason: str) -> None:
        self.skipped.append(Skipped(_printable(uri), reason))

    def refuse(self, uri: str, code: str, message: str) -> None:
        self.problems.append((_printable(uri), Problem(None, None, None, code, message)))

    def count(self) -> int:
        """How many files and problems the current input has led to."""
        return len(self._current) + len(self.problems)

    def close_input(self) -> None:
        """Sort the input's files in, but for those that an earlier input has led to."""
        identities = {uri: uri if is_s3(uri) else os.path.realpath(uri) for uri in self._current}
        for uri, source in sorted(self._current.items()):
            first = self._taken.get(identities[uri])
            if first is None:
                self.files.append(source)
            elif first != uri:
                self.skip(uri, f"the same file as {first}")
        for uri, identity in identities.items():
            self._taken.setdefault(identity, uri)
        self._current.clear()


# --- local ----------------------------------------------------------------------------------------


def _discover_local(text: str, found: _Found) -> None:
    path = os.path.abspath(text)  # noqa: PTH100  Path.absolute would keep ".."
    before = found.count()
    try:
        kind = _kind(path)
    except FileNotFoundError:
        if not _MAGIC.search(text):
            advice = "; only local paths and s3:// can be read" if "://" in text else ""
            found.refuse(text if advice else path, "file.not_found", _NOTHING_HERE + advice)
            return
        folder, parts = _literal_folder(text)
        _glob(folder, parts, folder, _names_hidden(parts), found)
        if found.count() == before:
            found.refuse(path, "file.not_found", _NO_MATCH)
    except (OSError, ValueError) as error:
        found.refuse(path, "file.unreadable", f"cannot be read: {error}")
    else:
        if kind != stat.S_IFDIR:
            _take_file(path, os.path.basename(path), found)  # noqa: PTH119
            return
        _walk(path, path, found)
        if found.count() == before:
            found.refuse(path, "file.not_found", _NO_FILES)


def _kind(path: str) -> int:
    """The type bits of what ``path`` leads to; of the link itself if that is nothing."""
    try:
        return stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116
    except NotADirectoryError as error:
        raise FileNotFoundError(path) from error
    except FileNotFoundError:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except OSError:
        if os.path.islink(path):  # noqa: PTH114  a loop of links
            return stat.S_IFLNK
        raise


def _take_file(path: str, name: str, found: _Found) -> None:
    if _printable(path) != path:
        found.refuse(path, "file.unreadable", _NAME_NOT_UTF8)
        return
    try:
        found.take(stat_local(path, name))
    except SourceError as error:
        dangling = isinstance(error.__cause__, FileNotFoundError)
        message = "a symbolic link that leads to nothing; remove or mend it"
        found.refuse(
            path,
            "file.unreadable",
            message if dangling else str(error).removeprefix(f"{path}: "),
        )


def _entries(folder: str, found: _Found) -> list[tuple[str, str, bool]]:
    """The ``(name, path, is a folder)`` of a folder's entries, sorted; none if unreadable."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry.name, entry.path, _is_folder(entry)) for entry in entries)
    except OSError as error:
        found.refuse(folder, "file.unreadable", f"the folder cannot be listed: {error.strerror}")
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links: it is told when it is taken as a file
        return False


def _walk(
    folder: str, base: str, found: _Found, above: frozenset[str] = frozenset(), hidden: bool = False
) -> None:
    """Take every file below ``folder``; names are the path below ``base``.

    ``above`` holds the real paths of the folders that led here: a link back to one is a loop.
    """
    real = os.path.realpath(folder)
    if real in above:
        found.skip(folder, "a link back to a folder that holds it")
        return
    for name, path, is_folder in _entries(folder, found):
        if name.startswith(_HIDDEN) and not hidden:
            found.skip(path, "hidden: its name begins with . or _")
        elif is_folder:
            _walk(path, base, found, above | {real}, hidden)
        else:
            _take_file(path, _below(path, base), found)


def _glob(
    folder: str,
    parts: Sequence[str],
    base: str,
    hidden: bool,
    found: _Found,
    above: frozenset[str] = frozenset(),
) -> None:
    """Take the files below ``folder`` whose path matches ``parts``, folder by folder."""
    part, rest = parts[0], parts[1:]
    real = os.path.realpath(folder)
    if part == "**":
        if real in above:
            return
        if not rest:
            _walk(folder, base, found, above, hidden)
            return
        _glob(folder, rest, base, hidden, found)
        for name, path, is_folder in _entries(folder, found):
            if is_folder and (hidden or not name.startswith(_HIDDEN)):
                _glob(path, parts, base, hidden, found, above | {real})
        return
    if not os.path.isdir(folder):  # noqa: PTH112  the literal part of the pattern does not exist
        return
    for name, path, is_folder in _entries(folder, found):
        if not fnmatchcase(name, part):
            continue
        if name.startswith(_HIDDEN) and not hidden:
            found.skip(path, "hidden: its name begins with . or _")
        elif rest and is_folder:
            _glob(path, rest, base, hidden, found)
        elif not rest and is_folder:
            found.skip(path, "a folder; a glob takes files: name the folder, or use **")
        elif not rest:
            _take_file(path, _below(path, base), found)


def _literal_folder(pattern: str) -> tuple[str, list[str]]:
    """Split a pattern before its first part with a wildcard; the folder is absolute."""
    parts = pattern.split("/")
    first = next(n for n, part in enumerate(parts) if _MAGIC.search(part))
    # Only the user's text is a pattern: the working directory may well hold a bracket.
    folder = os.path.abspath("/".join(["." if parts[0] else "/", *parts[:first]]))  # noqa: PTH100
    return folder, _collapsed(parts[first:])


def _below(path: str, base: str) -> str:
    return os.path.relpath(path, base).replace(os.sep, "/")


# --- S3 -------------------------------------------------------------------------------------------


def _discover_s3(uri: str, endpoint_url: str | None, found: _Found) -> None:
    bucket, key = split_uri(uri)
    before = found.count()
    if key and not key.endswith("/"):
        source = find_object(uri, key.rpartition("/")[2], endpoint_url)
        if source is not None:
            found.take(source)
            return
    if _MAGIC.search(key):
        parts = key.split("/")
        first = next(n for n, part in enumerate(parts) if _MAGIC.search(part))
        folder = "".join(f"{part}/" for part in parts[:first])
        literal = _MAGIC.split(key)[0]
        pattern, message = _collapsed(parts[first:]), _NO_MATCH
    else:
        folder = literal = f"{key.rstrip('/')}/" if key else ""
        pattern, message = ["**"], _NOTHING_IN_S3
    hidden = _names_hidden(pattern)
    for item in list_objects(f"s3://{bucket}/{literal}", endpoint_url):
        name = item.uri.removeprefix(f"s3://{bucket}/{folder}")
        parts = name.split("/")
        if not _matches(parts, pattern):
            continue
        message = _NO_FILES if message == _NOTHING_IN_S3 else message
        if name == "" or name.endswith("/"):
            found.skip(item.uri, "a folder marker, no file")
        elif not hidden and any(part.startswith(_HIDDEN) for part in parts):
            found.skip(item.uri, "hidden: its name begins with . or _")
        else:
            found.take(SourceFile(item.uri, name, item.size_bytes, item.etag, endpoint_url))
    if found.count() == before:
        found.refuse(uri, "file.not_found", message)


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the path ``parts`` match ``pattern``, in which ``**`` is any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        # At its end ** is everything below, so at least the file itself.
        if len(pattern) == 1:
            return bool(parts)
        return any(_matches(parts[n:], pattern[1:]) for n in range(len(parts)))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


# --- both -----------------------------------------------------------------------------------------


def _collapsed(parts: Sequence[str]) -> list[str]:
    """The parts of a pattern, with ``**/**`` as ``**``: they mean the same."""
    return [p for n, p in enumerate(parts) if not (p == "**" and n and parts[n - 1] == "**")]


def _names_hidden(parts: Sequence[str]) -> bool:
    """Whether a pattern asks for hidden names itself, as ``_*.jsonl`` does."""
    return any(part.startswith(_HIDDEN) for part in parts)


def _printable(text: str) -> str:
    """The text as UTF-8 can hold it; other bytes of a file name appear in hexadecimal."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")
