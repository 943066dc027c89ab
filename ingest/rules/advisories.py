"""Oddities of a record that do not change the verdict: the vendor's clients accept them.

Called by ``records.py`` for a caller that asks for warnings; the fast path in
``ingest.validation`` asks ``is_plain`` about the parts of a record that it has not typed. Almost
every record is plain, so that is looked at first, without naming any place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from ingest.files import Purpose, RuleSet
from ingest.rules.verdict import Problems, RecordProblem, key_path, show

_SURROGATE = re.compile("[\ud800-\udfff]")


def find_warnings(
    record: dict[str, object], rules: RuleSet, purpose: Purpose
) -> tuple[RecordProblem, ...]:
    """Return a warning for each oddity of a decoded record, in document order."""
    warnings = Problems()
    if not is_plain(record):
        for path, value in _walk(record):
            _check_scalar(path, value, warnings)
            if isinstance(value, dict):
                _check_keys(path, value, warnings)
    if purpose == "fine-tune" and rules == "standard" and "messages" in record:
        _check_tools(record, warnings)
    return warnings.as_tuple()


def is_plain(value: object) -> bool:
    """Whether keys are trimmed, characters whole and numbers finite in a decoded JSON value."""
    todo = [value]
    while todo:
        inner = todo.pop()
        if isinstance(inner, str):
            if _has_lone_surrogate(inner):
                return False
        elif isinstance(inner, dict):
            for key in inner:
                if key != key.strip() or _has_lone_surrogate(key):
                    return False
            todo.extend(inner.values())
        elif isinstance(inner, list):
            todo.extend(inner)
        elif isinstance(inner, float) and not math.isfinite(inner):
            return False
    return True


def are_functions(tools: object) -> bool:
    """Whether ``tools`` is a list of functions, each with a name."""
    return isinstance(tools, list) and all(map(_is_function, tools))


def _walk(record: dict[str, object]) -> Iterator[tuple[str, object]]:
    """Yield every value with its path, in document order.

    Without recursion: a record may be nested deeper than Python's stack.
    """
    todo: list[tuple[str, object]] = [("", record)]
    while todo:
        path, value = todo.pop()
        yield path, value
        if isinstance(value, dict):
            inner = [(_join(path, key), item) for key, item in value.items()]
        elif isinstance(value, list):
            inner = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
        else:
            continue
        todo.extend(reversed(inner))


def _join(path: str, key: str) -> str:
    name = key_path(key)
    return f"{path}.{name}" if path and not name.startswith("[") else f"{path}{name}"


def _check_scalar(path: str, value: object, warnings: Problems) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        warnings.add(path, "warn.not_finite", f"expected a finite number, found {show(value)}")
    elif isinstance(value, str) and _has_lone_surrogate(value):
        warnings.add(path, "warn.lone_surrogate", f"expected whole characters, found {show(value)}")


def _check_keys(path: str, value: dict[str, object], warnings: Problems) -> None:
    for key in value:
        where = _join(path, key)
        if key != key.strip():
            message = f"expected a key without white space around it, found {show(key)}"
            warnings.add(where, "warn.untrimmed_key", message)
        if _has_lone_surrogate(key):
            message = f"expected whole characters in a key, found {show(key)}"
            warnings.add(where, "warn.lone_surrogate", message)


def _check_tools(record: dict[str, object], warnings: Problems) -> None:
    if "tools" not in record:
        return
    tools = record["tools"]
    if not isinstance(tools, list):
        message = f"expected a list of functions, found {show(tools)}"
        warnings.add("tools", "warn.tools", message)
        return
    for index, tool in enumerate(tools):
        if not _is_function(tool):
            message = (
                f'expected a tool of type "function" with a named function, found {show(tool)}'
            )
            warnings.add(f"tools[{index}]", "warn.tools", message)


def _is_function(tool: object) -> bool:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        return False
    function = tool.get("function")
    return isinstance(function, dict) and isinstance(function.get("name"), str)


def _has_lone_surrogate(text: str) -> bool:
    return not text.isascii() and _SURROGATE.search(text) is not None
