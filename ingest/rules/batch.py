"""Batch-api requests: a ``custom_id`` to find the answer by, and a ``body`` to run.

Called by ``records.py``. That no ``custom_id`` is used twice, and that a file holds at most
``MAX_REQUESTS``, is for the reader to see.
"""

from __future__ import annotations

from ingest.rules.verdict import Problems, show

MAX_CUSTOM_ID_CHARACTERS = 64
MAX_REQUESTS = 50_000
MAX_BATCH_FILE_BYTES = 100 * 10**6
PROMPT_KEYS = ("messages", "prompt", "input")


def check_request(record: dict[str, object], problems: Problems) -> str | None:
    """Check one request and return its ``custom_id`` if that is well formed."""
    custom_id = _check_custom_id(record, problems)
    _check_body(record, problems)
    return custom_id


def _check_custom_id(record: dict[str, object], problems: Problems) -> str | None:
    custom_id = record.get("custom_id")
    if isinstance(custom_id, str) and 1 <= len(custom_id) <= MAX_CUSTOM_ID_CHARACTERS:
        return custom_id
    if isinstance(custom_id, str) and custom_id:
        found = f"one of {len(custom_id):,}"
    else:
        found = show(custom_id) if "custom_id" in record else "none"
    problems.add(
        "custom_id",
        "batch.custom_id",
        f"expected a custom_id string of 1 to {MAX_CUSTOM_ID_CHARACTERS} characters, found {found}",
    )
    return None


def _check_body(record: dict[str, object], problems: Problems) -> None:
    body = record.get("body")
    if not isinstance(body, dict):
        found = show(body) if "body" in record else "none"
        problems.add("body", "batch.body", f"expected a body object, found {found}")
        return
    model = body.get("model")
    if not isinstance(model, str) or not model:
        found = show(model) if "model" in body else "none"
        problems.add(
            "body.model", "batch.body", f"expected a non-empty model string, found {found}"
        )
    if record.get("method") == "FILE":
        if "file" not in body:
            problems.add("body", "batch.body", "expected a file for the method FILE, found none")
    elif not any(key in body for key in PROMPT_KEYS):
        problems.add("body", "batch.body", "expected messages, a prompt or an input, found none")
