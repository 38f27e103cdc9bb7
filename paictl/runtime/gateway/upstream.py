"""Calls model servers: rewrites the request, adds the key, passes the answer through byte for byte, counts its tokens."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import httpx

from paictl.runtime.config import ModelRoute
from paictl.runtime.gateway import egress, endpoints
from paictl.runtime.gateway.answers import ApiError

__all__ = ["Answer", "Usage", "Upstreams", "estimate"]

# A token is about four bytes of English; only budgets rely on it, and only until the server says the true figure.
_BYTES_PER_TOKEN = 4
_DEFAULT_ANSWER = 256
_ERROR_BYTES = 65536
_TAIL = 8192
# A kept connection was closed under us.
_CLOSED = (httpx.RemoteProtocolError,)
# One of our own servers ended, for a successor that has taken its place, say, with a question that it had not begun to answer.
# Whoever is paid for answers is not asked twice.
_CUT = (*_CLOSED, httpx.ReadError, httpx.WriteError)
_TIMEOUT = httpx.Timeout(connect=10.0, read=600.0, write=60.0, pool=60.0)
_PROBE_SECONDS = 2.0


@dataclass(slots=True)
class Usage:
    """Tokens of one call; estimated from bytes and pieces until the server has said."""

    prompt: int = 0
    completion: int = 0


@dataclass(slots=True)
class Answer:
    """An open answer of a model server: its status, and its bytes while they come. ``usage`` is right once they ended."""

    status: int
    media_type: str
    usage: Usage
    chunks: AsyncGenerator[bytes, None] = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict)


def estimate(body: Mapping[str, Any], size: int) -> int:
    """Tokens that a call may use at most or thereabouts."""
    asked = body.get("max_tokens", body.get("max_completion_tokens"))
    return size // _BYTES_PER_TOKEN + (asked if isinstance(asked, int) and asked > 0 else _DEFAULT_ANSWER)


class Upstreams:
    """One client for each model server, opened when it is first needed."""

    def __init__(self, models: Mapping[str, ModelRoute]) -> None:
        self._models = models
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def chat(self, name: str, body: Mapping[str, Any]) -> Answer:
        """Send a chat completion; raises ``ApiError`` 502 or 504 when the server does not answer."""
        route = self._models[name]
        payload = _translate(route, body)
        response, key = await self._send(name, "chat/completions", payload)
        usage = Usage(prompt=len(json.dumps(payload.get("messages", ""))) // _BYTES_PER_TOKEN)
        if response.status_code >= 300:
            return await _failure(name, response, key, usage)
        media_type = response.headers.get("content-type", "application/json")
        return Answer(response.status_code, media_type, usage, _pass_through(response, key, usage))

    async def embed(self, name: str, texts: list[str]) -> list[list[float]]:
        """Vectors for texts, in their order; raises ``ApiError`` when the server does not give them."""
        route = self._models[name]
        response, key = await self._send(
            name, "embeddings", {"model": route.model, "input": texts, "encoding_format": "float"}
        )
        try:
            content = await response.aread()
        except httpx.HTTPError as error:
            raise ApiError(502, "model_unavailable", f"the model {name!r} broke off") from error
        finally:
            await response.aclose()
        if response.status_code != 200:
            detail = egress.redact(content[:500], key).decode("utf-8", "replace")
            raise ApiError(502, "model_failed", f"the model {name!r} answered {response.status_code}: {detail}")
        try:
            data = sorted(json.loads(content)["data"], key=lambda entry: entry["index"])
            vectors = [[float(value) for value in entry["embedding"]] for entry in data]
        except (ValueError, KeyError, TypeError) as error:
            raise ApiError(502, "model_failed", f"the model {name!r} did not answer with embeddings") from error
        if len(vectors) != len(texts):
            raise ApiError(
                502, "model_failed", f"the model {name!r} gave {len(vectors)} vectors for {len(texts)} texts"
            )
        return vectors

    async def answers(self, name: str) -> bool:
        """Whether a model server is up and has its model loaded."""
        client = self._client(name)
        try:
            response = await client.get(client.base_url.copy_with(path="/health"), timeout=_PROBE_SECONDS)
            if response.status_code == 404:
                response = await client.get("models", timeout=_PROBE_SECONDS)
        except (httpx.HTTPError, ApiError):
            return False
        return response.status_code == 200

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def _send(self, name: str, path: str, payload: Mapping[str, Any]) -> tuple[httpx.Response, bytes | None]:
        route = self._models[name]
        client = self._client(name)
        key = egress.credential(route.secret, str(client.base_url), route.hosts) if route.secret else None
        headers = {"Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key.decode('ascii')}"
        try:
            return await _post(client, path, payload, headers, again=_CUT if route.local else _CLOSED), key
        except httpx.TimeoutException as error:
            raise ApiError(504, "model_timeout", f"the model {name!r} did not answer in time") from error
        except httpx.HTTPError as error:
            # The exception's text can hold the request; it is neither passed on nor logged.
            raise ApiError(502, "model_unavailable", f"the model {name!r} does not answer") from error

    def _client(self, name: str) -> httpx.AsyncClient:
        if name not in self._clients:
            route = self._models[name]
            self._clients[name] = endpoints.connect(route.endpoint, trusted=route.local, timeout=_TIMEOUT)
        return self._clients[name]


async def _post(
    client: httpx.AsyncClient,
    path: str,
    payload: Mapping[str, Any],
    headers: Mapping[str, str],
    *,
    again: tuple[type[httpx.HTTPError], ...],
) -> httpx.Response:
    try:
        return await client.send(client.build_request("POST", path, json=payload, headers=headers), stream=True)
    except again:
        # Before a byte of an answer: once more, on a new connection.
        return await client.send(client.build_request("POST", path, json=payload, headers=headers), stream=True)


def _translate(route: ModelRoute, body: Mapping[str, Any]) -> dict[str, Any]:
    payload = dict(body) | {"model": route.model}
    if route.local and "max_completion_tokens" in payload:
        # llama.cpp ignores the newer name (xllamacpp 0.2.10) and would go on to its own bound.
        payload.setdefault("max_tokens", payload["max_completion_tokens"])
        del payload["max_completion_tokens"]
    if payload.get("stream"):
        options = payload.get("stream_options")
        payload["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    return payload


async def _failure(name: str, response: httpx.Response, key: bytes | None, usage: Usage) -> Answer:
    body = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) >= _ERROR_BYTES:
                break
    except httpx.HTTPError:
        body += b" (and broke off)"
    finally:
        await response.aclose()
    usage.prompt = 0
    if response.status_code < 400:
        raise ApiError(502, "model_redirects", f"the model {name!r} answered with a redirect, which is not followed")
    headers = {"Retry-After": response.headers["retry-after"]} if "retry-after" in response.headers else {}
    said = egress.redact(bytes(body), key).decode("utf-8", "replace")
    # A wrong key at a provider is not the agent's 401: its own token was good.
    status = 502 if response.status_code in {401, 403} else response.status_code
    error = ApiError(status, "model_failed", f"the model {name!r} answered {response.status_code}: {said}")
    return Answer(status, "application/json", usage, _once(json.dumps(error.body()).encode()), headers)


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


async def _pass_through(response: httpx.Response, key: bytes | None, usage: Usage) -> AsyncGenerator[bytes, None]:
    tail = b""
    try:
        async with aclosing(egress.redacted_stream(response.aiter_raw(), key)) as source:
            async for chunk in source:
                tail = (tail + chunk)[-_TAIL:]
                # An event is about a token; the server's own figures, at the end, replace the count.
                usage.completion += chunk.count(b"data:")
                yield chunk
        _count(tail, usage)
    finally:
        await response.aclose()


def _count(tail: bytes, usage: Usage) -> None:
    """The server's own figures, from the last place where they stand in the answer."""
    at = tail.rfind(b'"usage"')
    while at >= 0:
        text = tail[at + len(b'"usage"') :].decode("utf-8", "replace").lstrip().removeprefix(":").lstrip()
        try:
            said, _ = json.JSONDecoder().raw_decode(text)
            usage.prompt, usage.completion = int(said["prompt_tokens"]), int(said["completion_tokens"])
        except (ValueError, KeyError, TypeError):
            at = tail.rfind(b'"usage"', 0, at)
        else:
            return
