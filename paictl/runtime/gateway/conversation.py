"""``/v1/chat/completions`` of the outer door: OpenAI's protocol on this side, the agent's work queue on the other."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from paictl.manifest.models import ClassName
from paictl.runtime.gateway.answers import ApiError, ClosingStream, answer, parse, unless_gone
from paictl.runtime.gateway.audit import Call, Entry
from paictl.runtime.gateway.door import Door
from paictl.runtime.gateway.work import Work
from paictl.runtime.headers import CLASS, SESSION

__all__ = ["Conversing"]

_BODY = 4 * 1024 * 1024
_CLASSES: tuple[ClassName, ...] = get_args(ClassName)


class _Part(BaseModel):
    type: Literal["text"]
    text: str


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]

    def plain(self) -> dict[str, str]:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class _StreamOptions(BaseModel):
    include_usage: bool = False


class _ChatRequest(BaseModel):
    # What else OpenAI's clients send (temperature, seed, …) is the manifest's to say.
    model_config = ConfigDict(extra="ignore")

    messages: Annotated[list[_Message], Field(min_length=1)]
    model: str | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


@dataclass(slots=True)
class _Talk:
    """One request being answered."""

    work: Work
    entry: Entry
    session: str
    once: bool
    events: AsyncIterator[dict[str, Any]]
    tell_usage: bool
    outcome: str = "cancelled"
    usage: dict[str, int] = field(default_factory=dict)

    def note(self, event: dict[str, Any]) -> None:
        """The end of an answer, if this is it."""
        if "done" in event:
            self.outcome, self.usage = "ok", _usage(event)


class Conversing:
    """Hands messages to the agent and its words to the client, as they come."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def completions(self, request: Request) -> Response:
        asked = await parse(request, _ChatRequest, _BODY)
        agent = self._door.config.agent
        if asked.model is not None and asked.model != agent:
            raise ApiError(404, "model_not_found", f"this gateway has one model: {agent}")
        talk = await self._begin(request, asked)
        try:
            if asked.stream:
                # An agent that fails at once is told by the status, not in a stream that has begun well.
                first = await unless_gone(request, anext(talk.events))
                return ClosingStream(self._stream(talk, first), lambda: self._end(talk))
            return answer(await unless_gone(request, self._whole(talk)))
        except BaseException as error:
            talk.outcome = "failed" if isinstance(error, ApiError) and error.status != 499 else "cancelled"
            await self._end(talk)
            raise

    async def _begin(self, request: Request, asked: _ChatRequest) -> _Talk:
        door, principal = self._door, request.scope["principal"]
        session = request.headers.get(SESSION, "")
        _check_session(session)
        once = not session
        session = session or f"once-{uuid.uuid4().hex}"
        messages = [message.plain() for message in asked.messages]
        call = Call(principal, "chat", door.config.agent, {"messages": messages}, session=session)
        entry = await door.audit.admit(call, door.policy.decide(principal, "chat", door.config.agent))
        await door.conversations.enter(session, principal, _label(request))
        try:
            if not once:
                await door.memory.prolong(session)
            work = await door.work.offer(
                {
                    "kind": "chat",
                    "session": session,
                    "principal": principal,
                    "messages": messages,
                    "stream": bool(asked.stream),
                }
            )
        except ApiError as error:
            entry.done("failed", code=error.code)
            raise
        usage = bool(asked.stream_options and asked.stream_options.include_usage)
        return _Talk(work, entry, session, once, door.work.events(work), usage)

    async def _whole(self, talk: _Talk) -> dict[str, Any]:
        text: list[str] = []
        async for event in talk.events:
            text.append(str(event.get("delta", "")))
            talk.note(event)
        await self._end(talk)
        message = {"role": "assistant", "content": "".join(text), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return self._frame(talk, "chat.completion") | {"choices": [choice], "usage": talk.usage}

    async def _stream(self, talk: _Talk, first: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        frame = self._frame(talk, "chat.completion.chunk")
        try:
            yield _chunk(frame, {"role": "assistant", "content": ""})
            async for event in _chain(first, talk.events):
                if event.get("delta"):
                    yield _chunk(frame, {"content": str(event["delta"])})
                talk.note(event)
            # Before the last words: a client that has read them may at once ask what is left of the conversation.
            await self._end(talk)
            yield _chunk(frame, {}, "stop")
            if talk.tell_usage:
                yield _sse(frame | {"choices": [], "usage": talk.usage})
            yield b"data: [DONE]\n\n"
        except ApiError as error:
            talk.outcome = "failed"
            yield _sse(error.body())

    async def _end(self, talk: _Talk) -> None:
        self._door.work.abandon(talk.work)
        talk.entry.done(talk.outcome, **talk.usage)
        if talk.once:
            talk.once = False
            # Shielded: the client that went away must not keep its conversation's memories alive.
            await asyncio.shield(self._door.end_session(talk.session))

    def _frame(self, talk: _Talk, kind: str) -> dict[str, Any]:
        identifier = "chatcmpl-" + talk.work.id.removeprefix("work-")
        return {"id": identifier, "object": kind, "created": int(time.time()), "model": self._door.config.agent}


def _check_session(session: str) -> None:
    if len(session) > 128 or not session.isascii() or not session.isprintable() or session.startswith("once-"):
        raise ApiError(
            400,
            "invalid_session",
            f"{SESSION} is at most 128 printable ASCII characters, not beginning with once-",
        )


def _label(request: Request) -> ClassName | None:
    said = request.headers.get(CLASS)
    if said is None:
        return None
    for known in _CLASSES:
        if said == known:
            return known
    raise ApiError(400, "invalid_class", f"{CLASS} is one of {', '.join(_CLASSES)}")


async def _chain(first: dict[str, Any], rest: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    yield first
    async for event in rest:
        yield event


def _usage(event: dict[str, Any]) -> dict[str, int]:
    said = event.get("usage")
    figures = said if isinstance(said, dict) else {}
    prompt, completion = (
        value if isinstance(value, int) else 0
        for value in (
            figures.get("prompt_tokens", figures.get("input_tokens")),
            figures.get("completion_tokens", figures.get("output_tokens")),
        )
    )
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _chunk(frame: dict[str, Any], delta: dict[str, str], finish: str | None = None) -> bytes:
    return _sse(frame | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]})


def _sse(payload: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"
