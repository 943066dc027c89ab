"""The way every request takes: log, key, fields, faults, endpoint, and errors into replies.

`Gate.handler` wraps an endpoint for the router. Endpoints raise `ApiError` or `StorageRefusal`
and never see a key. Whatever else escapes them is logged here and answered with 500.
"""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import ClientError, web

from ingest.serve.calls import Call, Endpoint, RequestLog, Seen, Where
from ingest.serve.faults import FaultScript
from ingest.serve.records import Catalog
from ingest.serve.storage import StorageRefusal
from ingest.serve.strikes import ConnectionCut, apply
from ingest.serve.wire import ApiError

_log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_READERS: dict[Where, str] = {
    "create": "form",
    "initiate": "json",
    "complete": "json",
    "abort": "json",
}


class Gate:
    """Wraps endpoints into handlers."""

    def __init__(
        self, api_key: str, catalog: Catalog, script: FaultScript, log: RequestLog
    ) -> None:
        self._expected = f"Bearer {api_key}".encode()
        self._catalog = catalog
        self._script = script
        self._log = log

    def handler(self, where: Where, endpoint: Endpoint) -> Handler:
        """A handler for one kind of call; ``put`` serves part PUTs too."""
        return partial(self._pass, where, endpoint)

    def guarded(self, handler: Handler) -> Handler:
        """A handler that needs the key and nothing else of the gate."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                self._authorise(request)
            except ApiError as refusal:
                return refusal.response()
            return await handler(request)

        return guarded

    def _authorise(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, self._expected):
            message = "Invalid API key provided. Send it as: Authorization: Bearer <key>"
            raise ApiError(401, message, code="invalid_api_key")

    async def _pass(
        self, where: Where, endpoint: Endpoint, request: web.Request
    ) -> web.StreamResponse:
        call = Call(request, _first_look(where, request))
        self._log.add(call.seen)
        try:
            response = await self._answer(call, endpoint)
        except (ApiError, StorageRefusal) as refusal:
            response = refusal.response()
        except (ConnectionCut, ConnectionError, ClientError):
            return web.Response(status=499)  # not sent: the connection is gone
        except web.HTTPException as error:
            response = ApiError(error.status, error.reason, code="http_error").response()
        except Exception:
            _log.exception("%s failed", where)
            response = ApiError(500, "internal error", code="internal_error").response()
        call.seen.status = response.status
        return response

    async def _answer(self, call: Call, endpoint: Endpoint) -> web.StreamResponse:
        if call.seen.where not in ("put", "put-part"):
            self._authorise(call.request)
            await self._read_fields(call)
        self._identify(call)
        return await apply(self._script, call, lambda: endpoint(call))

    async def _read_fields(self, call: Call) -> None:
        """Parse the small bodies; aiohttp refuses those of more than ``client_max_size``."""
        reader = _READERS.get(call.seen.where)
        if reader == "form":
            call.fields = await _form(call.request)
            call.seen.received_bytes = call.request.content_length or 0
        elif reader == "json":
            body = await call.request.read()
            call.seen.received_bytes = len(body)
            call.fields = _json_object(body)

    def _identify(self, call: Call) -> None:
        """Put the file's id and name into the log entry, where faults look for them too."""
        seen = call.seen
        file_id = call.request.match_info.get("file_id") or call.fields.get("file_id")
        record = self._catalog.get(file_id) if isinstance(file_id, str) else None
        if record is not None:
            seen.file_id, seen.name = record.id, record.filename
        elif isinstance(name := call.fields.get("file_name"), str):
            seen.name = name


def _first_look(where: Where, request: web.Request) -> Seen:
    part = request.query.get("partNumber", "")
    if where == "put" and part.isdecimal():
        return Seen(where="put-part", method=request.method, part=int(part))
    return Seen(where=where, method=request.method)


async def _form(request: web.Request) -> dict[str, Any]:
    try:
        return dict(await request.post())
    except ValueError as error:
        raise ApiError(400, f"the form cannot be read: {error}", code="bad_form") from None


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise ApiError(400, f"the body is not JSON: {error}", code="bad_json") from None
    if not isinstance(fields, dict):
        raise ApiError(400, "the body is not a JSON object", code="bad_json")
    return fields
