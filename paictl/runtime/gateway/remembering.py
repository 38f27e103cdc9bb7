"""``/memory/*`` of the inner door: who may see which space, written down, then done. What memory is stands in ``memory/``."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, Field, StringConstraints, model_validator
from starlette.requests import Request
from starlette.responses import Response

from paictl.runtime.gateway.answers import ApiError, answer, parse
from paictl.runtime.gateway.audit import Call, Entry
from paictl.runtime.gateway.door import AGENT, Door
from paictl.runtime.gateway.policy import Verdict
from paictl.runtime.headers import KEY, RUN, SESSION

__all__ = ["Remembering"]

_BODY = 1024 * 1024
_TEXT = 32_768
_T = TypeVar("_T")
_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=_TEXT)]


class _Remember(BaseModel):
    text: _Text
    space: str


class _Recall(BaseModel):
    query: _Text
    spaces: list[str] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] | None = None
    budget: Annotated[int, Field(ge=0)] | None = None


class _Forget(BaseModel):
    id: str | None = None
    query: _Text | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.id is None) == (self.query is None):
            raise ValueError("give either id or query")
        return self


class Remembering:
    """The agent's three verbs of memory."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def remember(self, request: Request) -> Response:
        asked = await parse(request, _Remember, _BODY)
        session, run, key = _headers(request)
        verdict = await self._door.may_use(session, "memory.write", asked.space)
        entry = await self._decide(request, "memory.write", asked.space, {"text": asked.text}, verdict)
        result = await self._done(entry, self._door.memory.remember(asked.text, asked.space, session, run, key))
        return answer(result)

    async def recall(self, request: Request) -> Response:
        asked = await parse(request, _Recall, _BODY)
        session, _, _ = _headers(request)
        names = asked.spaces if asked.spaces is not None else await self._door.spaces_of(session, "memory.read")
        verdicts = [await self._door.may_use(session, "memory.read", name) for name in names]
        refused = next((verdict for verdict in verdicts if not verdict.allowed), None)
        verdict = refused or Verdict(
            True, "; ".join(sorted({verdict.rule for verdict in verdicts})) or "spec.memory.spaces"
        )
        entry = await self._decide(request, "memory.read", ",".join(names), {"query": asked.query}, verdict)
        found = await self._done(
            entry, self._door.memory.recall(asked.query, names, session, asked.limit or 10, asked.budget)
        )
        for one in found:
            await self._door.conversations.saw(session, self._door.memory.space(one.record.space).class_)
        memories = [
            {
                "id": one.record.id,
                "text": one.record.text,
                "space": one.record.space,
                "score": round(one.score, 6),
                "created": one.record.created,
            }
            for one in found
        ]
        return answer({"memories": memories})

    async def forget(self, request: Request) -> Response:
        asked = await parse(request, _Forget, _BODY)
        session, _, key = _headers(request)
        names = await self._door.spaces_of(session, "memory.write")
        verdict = Verdict(bool(names), "spec.memory.spaces" if names else "no space of memory may be written to")
        arguments: dict[str, object] = {"id": asked.id, "query": asked.query}
        entry = await self._decide(request, "memory.forget", ",".join(names), arguments, verdict)
        erased = await self._done(entry, self._door.memory.forget(asked.id, asked.query, names, session, key))
        return answer({"forgotten": erased})

    async def _decide(
        self, request: Request, action: str, resource: str, arguments: dict[str, object], verdict: Verdict
    ) -> Entry:
        session, run, _ = _headers(request)
        self._door.work.sign_of_life()
        return await self._door.audit.admit(Call(AGENT, action, resource, arguments, run, session), verdict)

    @staticmethod
    async def _done(entry: Entry, doing: Awaitable[_T]) -> _T:
        try:
            result = await doing
        except ApiError as error:
            entry.done("failed", code=error.code)
            raise
        except BaseException:
            entry.done("failed")
            raise
        entry.done("ok")
        return result


def _headers(request: Request) -> tuple[str, str, str]:
    """Session, run and idempotency key; a key counts for its path only."""
    key = request.headers.get(KEY, "")
    return (
        request.headers.get(SESSION, ""),
        request.headers.get(RUN, ""),
        f"{request.url.path} {key}" if key else "",
    )
