"""A gateway of a few lines that obeys docs/runtime.md, counts what the agent does to it, and can stop it in the middle."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

__all__ = ["Answer", "Gateway"]

TOKEN = "agent-token-for-tests"


@dataclass
class Answer:
    """What came back for one piece of work."""

    deltas: list[str] = field(default_factory=list)
    usage: dict[str, int] | None = None
    error: str | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def text(self) -> str:
        return "".join(self.deltas)


@dataclass
class Gateway:
    """Everything is kept in plain lists, read by the tests; ``before`` may block or fail a call by its path."""

    socket: Path
    say: Callable[[dict[str, Any]], list[Any]] = lambda body: ["Hello ", "there."]
    hellos: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    effects: list[tuple[str, str]] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    memories: dict[str, dict[str, str]] = field(default_factory=dict)
    before: Callable[[str], float] = lambda path: 0.0
    _work: list[dict[str, Any]] = field(default_factory=list)
    _given: dict[str, dict[str, Any]] = field(default_factory=dict)
    _by_key: dict[str, dict[str, Any]] = field(default_factory=dict)
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None

    def start(self) -> Gateway:
        routes = [
            Route("/agent/hello", self._hello, methods=["POST"]),
            Route("/agent/work", self._next),
            Route("/agent/work/{id}/reply", self._reply, methods=["POST"]),
            Route("/agent/runs", self._runs, methods=["POST"]),
            Route("/v1/chat/completions", self._model, methods=["POST"]),
            Route("/memory/{verb}", self._memory, methods=["POST"]),
        ]
        config = uvicorn.Config(Starlette(routes=routes), uds=str(self.socket), log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        until(lambda: self._server is not None and self._server.started, "the test gateway starts")
        return self

    def stop(self) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)

    def offer(self, **work: Any) -> Answer:
        self.answers[work["id"]] = Answer()
        self._work.append(work)
        return self.answers[work["id"]]

    def chat(self, text: str, *, name: str = "w1", session: str = "s1", **more: Any) -> Answer:
        messages = [*more.pop("before", []), {"role": "user", "content": text}]
        return self.offer(
            id=name, kind="chat", session=session, principal="alice", messages=messages, stream=True, **more
        )

    def count(self, path: str) -> int:
        return sum(1 for called, _, _ in self.calls if called == path)

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [body for called, _, body in self.calls if called == path]

    async def _called(self, request: Request) -> dict[str, Any]:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        body = dict(await request.json())
        self.calls.append((request.url.path, dict(request.headers), body))
        await asyncio.sleep(self.before(request.url.path))
        return body

    async def _hello(self, request: Request) -> Response:
        self.hellos.append(await self._called(request))
        # What a predecessor took and did not answer is offered again, as the real gateway does.
        self._work[:0] = [work for name, work in self._given.items() if not self.answers[name].deltas]
        self._given.clear()
        return JSONResponse({})

    async def _next(self, request: Request) -> Response:
        deadline = time.monotonic() + float(request.query_params["wait"])
        while not self._work:
            if time.monotonic() > deadline or await request.is_disconnected():
                return Response(status_code=204)
            await asyncio.sleep(0.01)
        work = self._work.pop(0)
        self._given[work["id"]] = work
        return JSONResponse(work)

    async def _reply(self, request: Request) -> Response:
        answer = self.answers.get(request.path_params["id"])
        self.calls.append(("reply", dict(request.headers), {}))
        if answer is None or answer.ended.is_set():
            return Response(status_code=410, headers={"Connection": "close"})
        answer.deltas.clear()
        rest = b""
        async for chunk in request.stream():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                event = json.loads(line)
                if "delta" in event:
                    answer.deltas.append(event["delta"])
                else:
                    answer.usage, answer.error = event.get("usage"), event.get("error")
                    answer.ended.set()
        return JSONResponse({})

    async def _runs(self, request: Request) -> Response:
        body = await self._called(request)
        self._once(request, "run", f"{body['run']} {body['state']}", {})
        return JSONResponse({})

    async def _memory(self, request: Request) -> Response:
        body = await self._called(request)
        verb = request.path_params["verb"]
        if verb == "recall":
            session = request.headers.get("x-paictl-session", "")
            seen = [m for m in self.memories.values() if m["space"] != "session" or m["session"] == session]
            return JSONResponse(
                {"memories": [{"id": "m", "text": m["text"], "space": m["space"], "score": 1.0} for m in seen]}
            )
        if verb == "remember":
            answer = self._once(
                request, "remember", body["text"], {"id": f"m{len(self.memories)}", "space": body["space"]}
            )
            self.memories.setdefault(
                answer["id"],
                {"text": body["text"], "space": body["space"], "session": request.headers.get("x-paictl-session", "")},
            )
            return JSONResponse(answer)
        gone = [
            key
            for key, memory in self.memories.items()
            if set(body["query"].lower().split()) & set(memory["text"].lower().split())
        ]
        for key in gone:
            del self.memories[key]
        return JSONResponse(self._once(request, "forget", body["query"], {"forgotten": gone}))

    def _once(self, request: Request, kind: str, what: str, answer: dict[str, Any]) -> dict[str, Any]:
        key = request.headers["idempotency-key"]
        if key not in self._by_key:
            self._by_key[key] = answer
            self.effects.append((kind, what))
        return self._by_key[key]

    async def _model(self, request: Request) -> Response:
        body = await self._called(request)
        said = self.say(body)
        stamp = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}

        async def lines() -> AsyncIterator[bytes]:
            calls = [piece for piece in said if isinstance(piece, dict)]
            for piece in said:
                delta = {"tool_calls": [piece]} if isinstance(piece, dict) else {"content": piece}
                yield _event(stamp | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
                await asyncio.sleep(self.before("token"))
            reason = "tool_calls" if calls else "stop"
            yield _event(stamp | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
            yield _event(
                stamp | {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}}
            )
            yield b"data: [DONE]\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Poll until it holds; fails with the sentence that did not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.02)
