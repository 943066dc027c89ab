"""The control endpoints, which a script or a test uses and no Files API has.

    POST   /_local/faults      a JSON list of faults, appended to the script
    DELETE /_local/faults      forget them, and cut stalled connections
    GET    /_local/requests    {"data": [...]}: what was asked, oldest first
    DELETE /_local/requests    forget it

They need the same key as the API, are not logged, and meet no faults.
"""

from __future__ import annotations

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from ingest.serve.calls import RequestLog
from ingest.serve.faults import Fault, FaultScript
from ingest.serve.gate import Gate
from ingest.serve.wire import ApiError

_FAULTS = TypeAdapter(list[Fault])


def add_control_routes(
    app: web.Application, gate: Gate, script: FaultScript, log: RequestLog
) -> None:
    """Add the routes of this module's docstring."""

    async def add_faults(request: web.Request) -> web.StreamResponse:
        try:
            script.add(_FAULTS.validate_json(await request.read()))
        except ValidationError as error:
            return ApiError(422, str(error), code="invalid_fault").response()
        return web.json_response({})

    async def clear_faults(request: web.Request) -> web.StreamResponse:
        script.clear()
        return web.json_response({})

    async def show_requests(request: web.Request) -> web.StreamResponse:
        return web.json_response({"data": [seen.model_dump() for seen in log.entries()]})

    async def clear_requests(request: web.Request) -> web.StreamResponse:
        log.clear()
        return web.json_response({})

    for method, path, handler in (
        ("POST", "/_local/faults", add_faults),
        ("DELETE", "/_local/faults", clear_faults),
        ("GET", "/_local/requests", show_requests),
        ("DELETE", "/_local/requests", clear_requests),
    ):
        app.router.add_route(method, path, gate.guarded(handler))
