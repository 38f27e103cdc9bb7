"""The agent's side of the inner door: every word it says to the gateway, and every answer it understands.

Called by the loop and the schedules; never keeps anything, never decides anything. The contract is ``docs/runtime.md``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx2
from pydantic import BaseModel, ConfigDict, Field, field_validator

from paictl.runtime.headers import KEY, REPLY, RUN, SESSION

__all__ = ["Call", "Door", "DoorError", "Message", "NobodyListens", "Reply", "Work"]

log = logging.getLogger(__name__)

# As much of a result as the gateway keeps.
_LONGEST_DETAIL = 4000
_ATTEMPTS, _AGAIN_SECONDS = 4, 0.5
# Answers after which the same request may well succeed: the gateway or a model behind it is starting, or busy.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class DoorError(Exception):
    """The gateway refused, failed or could not be reached; ``passing`` says whether trying again may help."""

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class NobodyListens(Exception):
    """Whoever asked is gone, so there is no use in going on with the answer."""


class _Incoming(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Message(_Incoming):
    """One message of a conversation, as text."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str = ""

    @field_validator("content", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        """OpenAI clients may send a list of parts; the agent reads the text ones."""
        if isinstance(value, list):
            return "\n".join(str(part.get("text", "")) for part in value if isinstance(part, dict)).strip()
        return "" if value is None else value


class Work(_Incoming):
    """Something to do, as the gateway hands it out."""

    id: str = Field(min_length=1)
    kind: Literal["chat", "workflow"]
    session: str = ""
    principal: str = ""
    messages: list[Message] = Field(default_factory=list)
    stream: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """On whose behalf something is asked of the gateway. ``key`` makes a writing call safe to repeat."""

    run: str
    session: str = ""
    key: str = ""

    @property
    def headers(self) -> dict[str, str]:
        named = {RUN: self.run, SESSION: self.session, KEY: self.key}
        return {name: value for name, value in named.items() if value}


class Door:
    """The one connection out of the room."""

    def __init__(self, endpoint: str, token: str) -> None:
        kind, _, where = endpoint.partition(":")
        transport = httpx2.AsyncHTTPTransport(uds=where) if kind == "unix" else None
        self.base_url = {"unix": "http://gateway", "tcp": f"http://{where}"}.get(kind, endpoint.removesuffix("/v1"))
        self.http = httpx2.AsyncClient(
            transport=transport,
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {token}"},
            # A small model on a small machine may think for minutes before the first word.
            timeout=httpx2.Timeout(600, connect=5),
            trust_env=False,
        )

    async def close(self) -> None:
        await self.http.aclose()

    async def hello(self, schedules: Mapping[str, str], workflows: Sequence[str]) -> None:
        """Say that the agent is up, what it will do by itself, and which workflows it can be told to run."""
        body = {"schedules": dict(schedules), "workflows": list(workflows)}
        await self._post("/agent/hello", body)

    async def work(self, wait: float) -> Work | None:
        """The next piece of work, or None after ``wait`` seconds without any."""
        answer = await self._send("GET", "/agent/work", params={"wait": str(wait)}, timeout=wait + 15)
        return None if answer.status_code == 204 else Work.model_validate_json(answer.content)

    async def stand_by(self, wait: float) -> None:
        """Nothing, for that many seconds: being connected is how it is seen that this agent is well."""
        await self._send("GET", "/agent/standby", params={"wait": str(wait)}, timeout=wait + 15)

    def reply(self, work: str) -> Reply:
        """The way back to whoever asked; nothing is sent before the first word."""
        return Reply(self.http, work)

    async def recall(self, query: str, call: Call, *, limit: int, budget: int) -> list[str]:
        """The texts remembered about ``query``, best first, within ``budget`` tokens."""
        answer = await self._post("/memory/recall", {"query": query, "limit": limit, "budget": budget}, call)
        return [str(one["text"]) for one in answer.get("memories", [])]

    async def remember(self, text: str, space: str, call: Call) -> str:
        """Keep a text; gives its id."""
        return str((await self._post("/memory/remember", {"text": text, "space": space}, call)).get("id", ""))

    async def forget(self, query: str, call: Call) -> list[str]:
        """Forget what answers to a query; gives the ids of what is gone."""
        return [str(one) for one in (await self._post("/memory/forget", {"query": query}, call)).get("forgotten", [])]

    async def report(self, workflow: str, state: Literal["begun", "ended", "failed"], detail: str, call: Call) -> None:
        """Tell what a run of a workflow did."""
        body = {"workflow": workflow, "run": call.run, "state": state, "detail": detail[:_LONGEST_DETAIL]}
        await self._post("/agent/runs", body, call)

    async def _post(self, path: str, body: Mapping[str, Any], call: Call | None = None) -> dict[str, Any]:
        answer = await self._send("POST", path, json=body, headers=call.headers if call else None)
        return dict(answer.json()) if answer.content.strip() else {}

    async def _send(self, method: str, path: str, **request: Any) -> httpx2.Response:
        try:
            answer = await self.http.request(method, path, **request)
        except httpx2.TransportError as problem:
            message = f"the gateway can't be reached ({type(problem).__name__})"
            raise DoorError(message, passing=True) from problem
        if answer.is_success:
            return answer
        raise DoorError(
            f"the gateway answered {answer.status_code} to {method} {path}", passing=answer.status_code in _PASSING
        )


class Reply:
    """One answer on its way, as lines of JSON in one streamed request."""

    def __init__(self, http: httpx2.AsyncClient, work: str) -> None:
        self._http = http
        self._path = f"/agent/work/{work}/reply"
        self._name = uuid.uuid4().hex
        self._lines: list[bytes | None] = []
        self._more = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self.spoken = False
        self.gone = False

    async def delta(self, text: str) -> None:
        """Say some more; raises ``NobodyListens`` once the other side has hung up."""
        if self.gone:
            raise NobodyListens
        self.spoken = True
        self._put({"delta": text})
        await asyncio.sleep(0)

    async def done(self, usage: Mapping[str, int]) -> None:
        await self._end({"done": True, "usage": dict(usage)})

    async def error(self, text: str) -> None:
        await self._end({"error": text})

    async def _end(self, line: Mapping[str, Any]) -> None:
        self._put(line)
        self._lines.append(None)
        self._more.set()
        if self._sending is not None:
            await self._sending

    def _put(self, line: Mapping[str, Any]) -> None:
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        self._lines.append(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self._more.set()

    async def _send(self) -> None:
        """Send it; when the gateway on the way is gone, the whole of it again: another one may take it on."""
        headers = {"Content-Type": "application/x-ndjson", REPLY: self._name}
        for attempt in range(_ATTEMPTS):
            await asyncio.sleep(_AGAIN_SECONDS if attempt else 0)
            try:
                answer = await self._http.post(self._path, content=self._stream(), headers=headers)
            except httpx2.TransportError as problem:
                log.info("the answer could not be delivered: %s", type(problem).__name__)
                continue
            if not answer.is_success:
                log.info("the answer was not wanted any more: %s", answer.status_code)
                break
            return
        self.gone = True

    async def _stream(self) -> AsyncIterator[bytes]:
        sent = 0
        while True:
            while sent < len(self._lines):
                line = self._lines[sent]
                if line is None:
                    return
                yield line
                sent += 1
            self._more.clear()
            await self._more.wait()
