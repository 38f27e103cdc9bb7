"""The inner door's paths: the agent's work, its word about runs, and its memory. Models have a module of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from paictl.runtime.gateway.answers import ApiError, answer, error_answer, parse, unless_gone
from paictl.runtime.gateway.door import Door
from paictl.runtime.gateway.ledger import Run
from paictl.runtime.gateway.modelproxy import ModelProxy
from paictl.runtime.gateway.remembering import Remembering
from paictl.runtime.gateway.work import Hello
from paictl.runtime.headers import REPLY

__all__ = ["inner"]

_BODY = 1024 * 1024
_LINE = 1024 * 1024
_POLL_SECONDS, _STANDBY_SECONDS = 60.0, 10.0


class _Hello(BaseModel):
    schedules: dict[str, str | None] = Field(default_factory=dict)
    workflows: list[str] | None = None


class _RunReport(BaseModel):
    workflow: Annotated[str, Field(max_length=64)]
    run: Annotated[str, Field(max_length=256)]
    state: Literal["begun", "ended", "failed"]
    detail: Annotated[str, Field(max_length=4096)] | None = None


def inner(door: Door) -> Starlette:
    """The application behind the inner guard."""
    paths = _Inner(door)
    remembering = Remembering(door)
    return Starlette(
        routes=[
            Route("/agent/hello", paths.hello, methods=["POST"]),
            Route("/agent/standby", paths.standby, methods=["GET"]),
            Route("/agent/work", paths.work, methods=["GET"]),
            Route("/agent/work/{id}/reply", paths.reply, methods=["POST"]),
            Route("/agent/runs", paths.runs, methods=["POST"]),
            Route("/v1/chat/completions", ModelProxy(door).completions, methods=["POST"]),
            Route("/memory/remember", remembering.remember, methods=["POST"]),
            Route("/memory/recall", remembering.recall, methods=["POST"]),
            Route("/memory/forget", remembering.forget, methods=["POST"]),
        ],
        exception_handlers={ApiError: error_answer, Exception: error_answer},
    )


class _Inner:
    def __init__(self, door: Door) -> None:
        self._door = door

    async def hello(self, request: Request) -> Response:
        said = await parse(request, _Hello, _BODY)
        workflows = frozenset(said.workflows) if said.workflows is not None else None
        self._door.work.sign_of_life()
        await self._door.work.welcome(Hello(said.schedules, workflows))
        return answer({"agent": self._door.config.agent})

    async def standby(self, request: Request) -> Response:
        """For an agent whose turn it is not yet: its connection shows whoever looks that it is well."""
        await unless_gone(request, asyncio.sleep(min(_seconds(request), _STANDBY_SECONDS)))
        return Response(status_code=204)

    async def work(self, request: Request) -> Response:
        work = await unless_gone(request, self._door.work.take(_seconds(request)))
        return answer(work.payload) if work else Response(status_code=204)

    async def reply(self, request: Request) -> Response:
        queue = self._door.work
        await queue.reply(
            await queue.answering(request.path_params["id"], request.headers.get(REPLY, "")), _lines(request)
        )
        return Response(status_code=204)

    async def runs(self, request: Request) -> Response:
        said = await parse(request, _RunReport, _BODY)
        self._door.work.sign_of_life()
        # Naturally idempotent: the run's id is the key, the last word counts.
        await self._door.ledger.note(Run(said.workflow, said.run, said.state, said.detail or ""))
        return answer({"run": said.run, "state": said.state})


def _seconds(request: Request) -> float:
    try:
        return max(0.0, min(float(request.query_params.get("wait", "0")), _POLL_SECONDS))
    except ValueError as error:
        raise ApiError(400, "invalid_wait", "wait is a number of seconds") from error


async def _lines(request: Request) -> AsyncIterator[dict[str, Any]]:
    """The events of a streamed body, each as soon as its line is there."""
    rest = b""
    async for chunk in request.stream():
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LINE:
            raise ApiError(413, "line_too_long", f"a line of an answer is longer than {_LINE} bytes")
        for line in lines:
            if line.strip():
                yield _event(line)
    if rest.strip():
        yield _event(rest)


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "invalid_json", "a line of the answer is not JSON") from error
    if not isinstance(event, dict) or not event.keys() & {"delta", "done", "error"}:
        raise ApiError(400, "invalid_event", "a line of the answer is neither delta, done nor error")
    return event
