"""What the door says: JSON answers and errors in OpenAI's shape; every handler raises ``ApiError``, none builds one by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

__all__ = ["ApiError", "ClosingStream", "answer", "error_answer", "parse", "read_json", "unless_gone"]

_BODY_SECONDS = 30.0
# What is too much is taken in and dropped, as far as it is on its way: a connection that is closed on unread bytes takes the
# answer along.
_SURPLUS, _SURPLUS_SECONDS = 8 * 1024 * 1024, 2.0
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
# Said while the other side may still be sending: without closing, it would go on into the void.
_EARLY = frozenset({400, 408, 410, 413})
_M = TypeVar("_M", bound=BaseModel)
_T = TypeVar("_T")


@dataclass(eq=False)
class ApiError(Exception):
    """A call that gets no answer but this one: an HTTP status, a stable code and a sentence."""

    status: int
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    def body(self) -> dict[str, Any]:
        """The error as OpenAI's clients expect it."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "code": self.code, "param": None}}


class ClosingStream(StreamingResponse):
    """A stream whose source is closed when the client goes away, and not when the collector comes by; then ``finish``.

    ``finish`` runs in every case, also when the client was gone before the first byte and the source never began.
    """

    def __init__(
        self,
        source: AsyncGenerator[bytes, None],
        finish: Callable[[], Awaitable[None]],
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str = "text/event-stream",
    ) -> None:
        # Not as media_type: Starlette would add a charset to what a server said.
        super().__init__(source, status, {"Content-Type": media_type, "Cache-Control": "no-store", **(headers or {})})
        self._source = source
        self._finish = finish

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except ClientDisconnect:
            return
        finally:
            await self._source.aclose()
            await self._finish()


async def unless_gone(request: Request, waited: Awaitable[_T]) -> _T:
    """The result of a wait, given up (``ApiError`` 499, which nobody reads) when the client goes away. Its body must be read."""
    waiting = asyncio.ensure_future(waited)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
    finally:
        for task in (gone, waiting):
            task.cancel()
        await asyncio.wait({gone, waiting})
    raise ApiError(499, "client_closed", "the client went away")


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def answer(payload: Mapping[str, Any], status: int = 200) -> JSONResponse:
    """A JSON answer."""
    return JSONResponse(payload, status)


async def error_answer(request: Request, error: Exception) -> Response:
    """Starlette's handler for ``ApiError``, and for what should never happen (which is logged with its traceback)."""
    del request
    if not isinstance(error, ApiError):
        error = ApiError(500, "internal_error", "the gateway failed; its log says how")
    closing = {"Connection": "close"} if error.status in _EARLY else {}
    return JSONResponse(error.body(), error.status, dict(error.headers) | closing)


async def _read_body(request: Request, limit: int) -> bytes:
    """The whole body, at most ``limit`` bytes and half a minute of them."""
    length = request.headers.get("content-length", "")
    declared, taken, body = int(length) if length.isdigit() else 0, 0, bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS if declared <= limit else _SURPLUS_SECONDS):
            async for chunk in request.stream():
                taken += len(chunk)
                if taken <= limit:
                    body += chunk
                elif taken > limit + _SURPLUS:
                    break
    except TimeoutError as error:
        if max(declared, taken) <= limit:
            reason = f"the body did not arrive within {_BODY_SECONDS:.0f} seconds"
            raise ApiError(408, "body_too_slow", reason) from error
    if max(declared, taken) > limit:
        raise ApiError(413, "body_too_large", f"the body is larger than the {limit} bytes that this path takes")
    return bytes(body)


async def read_json(request: Request, limit: int) -> dict[str, Any]:
    """The body as a JSON object."""
    body = await _read_body(request, limit)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "invalid_json", "the body is not JSON") from error
    if not isinstance(value, dict):
        raise ApiError(400, "invalid_json", "the body is not a JSON object")
    return value


async def parse(request: Request, kind: type[_M], limit: int) -> _M:
    """The body as a typed request; the error names the first field that is wrong, never its value."""
    value = await read_json(request, limit)
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the body"
        raise ApiError(400, "invalid_request", f"{place}: {first['msg']}") from error
