"""Makes scripted faults happen: one small function for each, and the table that names them.

The gate calls `apply`. Each action gets a `Strike`: the fault, the call, and ``work``, which does
the honest work and returns the honest reply. Calling ``work`` or not, before or after
misbehaving, is what tells the faults apart. Nothing here knows the Files API's rules.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from ingest.serve.calls import Call, ChunkFilter
from ingest.serve.faults import Fault, FaultScript, What
from ingest.serve.storage import StorageRefusal
from ingest.serve.wire import ApiError

DEAD_ORIGIN = "http://127.0.0.1:1"  # nobody listens on port 1


class ConnectionCut(Exception):
    """The connection was cut on purpose; there is nobody left to answer."""


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that is about to happen to a call."""

    script: FaultScript
    fault: Fault
    call: Call
    work: Callable[[], Awaitable[web.StreamResponse]]

    @property
    def streams_body(self) -> bool:
        """Whether the request carries a file's bytes, which arrive while the work is done."""
        return self.call.seen.where in ("put", "put-part")


Action = Callable[[Strike], Awaitable[web.StreamResponse]]
Ending = Callable[[Strike], Awaitable[ConnectionCut]]


async def apply(
    script: FaultScript, call: Call, work: Callable[[], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Do the work of a call under the faults that the script has for it.

    Work that is refused has a reply too, which a fault can lose or spoil.

    Raises:
        ConnectionCut: the connection is gone.
    """

    async def worked() -> web.StreamResponse:
        try:
            return await work()
        except (ApiError, StorageRefusal) as refusal:
            return refusal.response()

    for fault in script.take(call.seen):
        call.seen.fault = fault.what
        if fault.what != "latency":
            return await ACTIONS[fault.what](Strike(script, fault, call, worked))
        await script.hold(fault.seconds)
    return await work()


# ---------------------------------------------------------------- ways to end a connection


async def _reset_now(strike: Strike) -> ConnectionCut:
    transport = strike.call.request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        linger = struct.pack("ii", 1, 0)  # close with RST, as a crashed peer does
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
    return ConnectionCut()


async def _reset_after_hold(strike: Strike) -> ConnectionCut:
    await strike.script.hold(strike.fault.seconds)
    return await _reset_now(strike)


async def _close_now(strike: Strike) -> ConnectionCut:
    transport = strike.call.request.transport
    if transport is not None:
        transport.close()
    return ConnectionCut()


# ---------------------------------------------------------------- instead of the work


async def _status(strike: Strike) -> web.StreamResponse:
    fault = strike.fault
    message = f"scripted fault: {fault.status}"
    if strike.streams_body:
        response = StorageRefusal(fault.status, "ScriptedFault", message).response()
    else:
        response = ApiError(fault.status, message, code="scripted_fault").response()
    if fault.retry_after is not None:
        response.headers["Retry-After"] = fault.retry_after
    return _with_headers(response, fault.headers)


async def _redirect(strike: Strike) -> web.StreamResponse:
    status = 307 if strike.fault.status == 500 else strike.fault.status
    path = strike.call.request.raw_path
    location = strike.fault.location or path
    if not urlsplit(location).path:
        location += path
    return web.Response(status=status, headers={"Location": location})


async def _expired(strike: Strike) -> web.StreamResponse:
    return StorageRefusal(403, "AccessDenied", "Request has expired").response()


async def _refuse(strike: Strike) -> web.StreamResponse:
    cut = await _reset_now(strike)
    await strike.script.refuse(strike.fault.seconds or 1.0, None)
    raise cut


async def _refuse_next(strike: Strike) -> web.StreamResponse:
    """The last honest reply before nobody listens any more."""
    response = await strike.work()
    await strike.script.refuse(strike.fault.seconds, strike.call.request.transport)
    response.force_close()
    return response


# ---------------------------------------------------------------- while bytes move


def _break_off(strike: Strike, at: str, ending: Ending) -> ChunkFilter:
    """A filter that passes bytes up to ``at``, then ends the connection."""

    async def filtered(chunks: AsyncIterator[bytes], length: int) -> AsyncIterator[bytes]:
        left = {"first": 0, "middle": length // 2, "last": max(0, length - 1)}[at]
        async for chunk in chunks:
            if len(chunk) > left:
                if left:
                    yield chunk[:left]
                break
            left -= len(chunk)
            yield chunk
        raise await ending(strike)

    return filtered


def _throttle(strike: Strike) -> ChunkFilter:
    """A filter that passes all bytes at the fault's pace, about ten times a second.

    It ends once the client has had enough, which may be long before the bytes do.
    """
    rate = strike.fault.bytes_per_s
    step = max(1, rate // 10)

    async def filtered(chunks: AsyncIterator[bytes], length: int) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            for start in range(0, len(chunk), step):
                piece = chunk[start : start + step]
                await strike.script.hold(len(piece) / rate)
                transport = strike.call.request.transport
                if transport is None or transport.is_closing():
                    raise ConnectionCut
                yield piece

    return filtered


def _in_body(ending: Ending) -> Action:
    async def act(strike: Strike) -> web.StreamResponse:
        if not strike.streams_body:  # an API call's body is read as one, before the work
            raise await ending(strike)
        strike.call.body_filter = _break_off(strike, strike.fault.at, ending)
        return await strike.work()

    return act


async def _trickle(strike: Strike) -> web.StreamResponse:
    strike.call.body_filter = _throttle(strike)
    return await strike.work()


# ---------------------------------------------------------------- after the work


async def _status_after_work(strike: Strike) -> web.StreamResponse:
    await strike.work()
    return await _status(strike)


def _no_reply(ending: Ending) -> Action:
    """No byte of the reply; of a file's content, half of it."""

    async def act(strike: Strike) -> web.StreamResponse:
        if strike.call.seen.where == "content":
            strike.call.reply_filter = _break_off(strike, "middle", ending)
            return await strike.work()
        await strike.work()
        raise await ending(strike)

    return act


def _half_reply(ending: Ending) -> Action:
    """Half of the reply's bytes, head and body as one; of a file's content, half of that."""

    async def act(strike: Strike) -> web.StreamResponse:
        if strike.call.seen.where == "content":
            strike.call.reply_filter = _break_off(strike, "middle", ending)
            return await strike.work()
        raw = _raw_reply(await strike.work())
        _write(strike, raw[: len(raw) // 2])
        raise await ending(strike)

    return act


async def _trickle_reply(strike: Strike) -> web.StreamResponse:
    throttle = _throttle(strike)
    if strike.call.seen.where == "content":
        strike.call.reply_filter = throttle
        return await strike.work()
    raw = _raw_reply(await strike.work())

    async def whole() -> AsyncIterator[bytes]:
        yield raw

    async for piece in throttle(whole(), len(raw)):
        _write(strike, piece)
    raise await _close_now(strike)


def _raw_reply(response: web.StreamResponse) -> bytes:
    """The reply as it would go over the wire."""
    body = _body(response)
    headers = {**response.headers, "Content-Length": str(len(body)), "Connection": "close"}
    head = f"HTTP/1.1 {response.status} {response.reason}\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (head + lines + "\r\n").encode() + body


def _write(strike: Strike, data: bytes) -> None:
    transport = strike.call.request.transport
    if transport is not None:
        transport.write(data)


# ---------------------------------------------------------------- a reply that is wrong


async def _not_json(strike: Strike) -> web.StreamResponse:
    await strike.work()
    return web.Response(text="<html><body>Bad gateway</body></html>", content_type="text/html")


async def _no_etag(strike: Strike) -> web.StreamResponse:
    return _with_headers(await strike.work(), {"ETag": None})


async def _wrong_etag(strike: Strike) -> web.StreamResponse:
    return _with_headers(await strike.work(), {"ETag": f'"{"0" * 32}"'})


async def _opaque_etag(strike: Strike) -> web.StreamResponse:
    """As of a store that encrypts: it looks like an MD5, and is that of other bytes."""
    strike.call.etag_filter = lambda md5: hashlib.md5(md5.encode()).hexdigest()  # noqa: S324
    return await strike.work()


async def _reply_headers(strike: Strike) -> web.StreamResponse:
    return _with_headers(await strike.work(), strike.fault.headers)


def _with_headers(
    response: web.StreamResponse, headers: dict[str, str | None]
) -> web.StreamResponse:
    for name, value in headers.items():
        response.headers.pop(name, None)
        if value is not None:
            response.headers[name] = value
    return response


def _edit_json(edit: Callable[[Fault, dict[str, Any]], None]) -> Action:
    """An action that changes the reply's JSON object, if the work succeeded."""

    async def act(strike: Strike) -> web.StreamResponse:
        response = await strike.work()
        if response.status == 200:
            body = json.loads(_body(response))
            edit(strike.fault, body)
            return web.json_response(body)
        return response

    return act


async def _other_id(strike: Strike) -> web.StreamResponse:
    """Another id wherever the reply has one: in the header of a redirect, or in the JSON."""
    response = await strike.work()
    value = strike.fault.value
    if "X-Together-File-Id" in response.headers:
        return _with_headers(response, {"X-Together-File-Id": value})
    body = json.loads(_body(response))
    body.update({name: value for name in ("id", "file_id") if name in body})
    return web.json_response(body, status=response.status)


def _drop_last_part(fault: Fault, body: dict[str, Any]) -> None:
    body["parts"].pop()


def _add_a_part(fault: Fault, body: dict[str, Any]) -> None:
    last = body["parts"][-1]
    body["parts"].append({**last, "PartNumber": last["PartNumber"] + 1})


def _number_two_alike(fault: Fault, body: dict[str, Any]) -> None:
    body["parts"][-1]["PartNumber"] = body["parts"][0]["PartNumber"]


async def _dead_urls(strike: Strike) -> web.StreamResponse:
    """Storage URLs at which every connection is refused."""
    response = await strike.work()
    if "Location" in response.headers:
        return _with_headers(response, {"Location": _dead(response.headers["Location"])})
    body = json.loads(_body(response))
    for part in body.get("parts", []):
        part["URL"] = _dead(part["URL"])
    return web.json_response(body, status=response.status)


def _dead(url: str) -> str:
    parts = urlsplit(url)
    return f"{DEAD_ORIGIN}{parts.path}?{parts.query}"


def _body(response: web.StreamResponse) -> bytes:
    body = response.body if isinstance(response, web.Response) else None
    return body if isinstance(body, bytes) else b""


ACTIONS: dict[What, Action] = {
    "status": _status,
    "redirect": _redirect,
    "expired": _expired,
    "refuse": _refuse,
    "reset": _in_body(_reset_now),
    "stall": _in_body(_reset_after_hold),
    "trickle": _trickle,
    "status_after_work": _status_after_work,
    "lost_reply": _no_reply(_reset_now),
    "stall_reply": _no_reply(_reset_after_hold),
    "reset_reply": _half_reply(_reset_now),
    "truncated_reply": _half_reply(_close_now),
    "trickle_reply": _trickle_reply,
    "not_json": _not_json,
    "no_etag": _no_etag,
    "wrong_etag": _wrong_etag,
    "other_id": _other_id,
    "reply_headers": _reply_headers,
    "reply_fields": _edit_json(lambda fault, body: body.update(fault.fields)),
    "few_parts": _edit_json(_drop_last_part),
    "many_parts": _edit_json(_add_a_part),
    "duplicate_parts": _edit_json(_number_two_alike),
    "dead_urls": _dead_urls,
    "refuse_next": _refuse_next,
    "opaque_etag": _opaque_etag,
}
