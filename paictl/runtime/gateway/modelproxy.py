"""``/v1/chat/completions`` of the inner door: which model by class, whether the budget has room, then bytes as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from paictl.runtime.config import ModelRoute
from paictl.runtime.gateway.answers import ApiError, ClosingStream, read_json
from paictl.runtime.gateway.audit import Call, Entry
from paictl.runtime.gateway.door import AGENT, Door
from paictl.runtime.gateway.ledger import Exhausted, Reservation
from paictl.runtime.gateway.policy import Verdict
from paictl.runtime.gateway.routing import Choice, choose
from paictl.runtime.gateway.upstream import Answer, estimate

__all__ = ["ModelProxy"]

_BODY = 16 * 1024 * 1024


@dataclass(slots=True)
class _Spending:
    """A call that was let in: what is written and counted when it ends."""

    name: str
    entry: Entry
    reservation: Reservation
    ended: bool = False


class ModelProxy:
    """The agent's way to the models."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def completions(self, request: Request) -> Response:
        body = await read_json(request, _BODY)
        self._door.work.sign_of_life()
        size = int(request.headers.get("content-length", "0"))
        choice = self._choose(request, body)
        spending = await self._admit(request, body, choice, estimate(body, size))
        try:
            upstream = await self._door.upstreams.chat(spending.name, body)
        except BaseException as error:
            await self._settle(
                spending, "failed", 0, 0, code=error.code if isinstance(error, ApiError) else "cancelled"
            )
            raise
        if not self._door.config.models[spending.name].local:
            self._door.metrics.egress(spending.name, size)
        response = ClosingStream(self._bytes(spending, upstream), upstream.status, upstream.media_type)
        response.headers.update(upstream.headers)
        return response

    def _choose(self, request: Request, body: Mapping[str, Any]) -> Choice:
        config = self._door.config
        wanted = body.get("model", "chat")
        label = self._door.conversations.of(request.headers.get("x-paictl-session", "")).label
        choice = choose(config.models, config.routing, wanted, label) if isinstance(wanted, str) else None
        if choice is None:
            raise ApiError(404, "model_not_found", "spec.models declares no chat model of that name")
        if choice.name is not None and self._unpriced(config.models[choice.name]):
            return Choice(
                None, f"spec.permissions.budget.money: what {choice.name} costs is not known, so it can't be kept"
            )
        return choice

    def _unpriced(self, route: ModelRoute) -> bool:
        config = self._door.config
        return not route.local and (config.budget.money or config.permissions.budget.money) is not None

    async def _admit(self, request: Request, body: Mapping[str, Any], choice: Choice, tokens: int) -> _Spending:
        arguments = {"messages": body.get("messages"), "tools": body.get("tools")}
        headers = request.headers
        call = Call(
            AGENT,
            "model.use",
            choice.name or str(body.get("model", "chat")),
            arguments,
            headers.get("x-paictl-run", ""),
            headers.get("x-paictl-session", ""),
        )
        if choice.name is None:
            self._door.audit.decide(call, Verdict(False, choice.rule))
            raise AssertionError  # decide has raised
        try:
            reservation = await self._door.ledger.reserve(tokens)
        except Exhausted as error:
            self._refuse(call, error)
            raise AssertionError from error  # _refuse has raised
        try:
            return _Spending(choice.name, self._door.audit.decide(call, Verdict(True, choice.rule)), reservation)
        except ApiError:
            await self._door.ledger.settle(reservation, 0)
            raise

    def _refuse(self, call: Call, error: Exhausted) -> None:
        try:
            self._door.audit.decide(call, Verdict(False, error.rule))
        except ApiError as refused:
            if refused.status != 403:
                raise
            message = f"the budget is used up: {error.rule}"
            raise ApiError(429, "budget_exhausted", message, {"Retry-After": str(error.retry_after)}) from error

    async def _bytes(self, spending: _Spending, upstream: Answer) -> AsyncGenerator[bytes, None]:
        outcome = "cancelled"
        try:
            async for chunk in upstream.chunks:
                yield chunk
            outcome = "ok" if upstream.status < 400 else "failed"
        finally:
            await upstream.chunks.aclose()
            await self._settle(
                spending, outcome, upstream.usage.prompt, upstream.usage.completion, status=upstream.status
            )

    async def _settle(self, spending: _Spending, outcome: str, prompt: int, completion: int, **facts: object) -> None:
        if spending.ended:
            return
        spending.ended = True
        spending.entry.done(outcome, prompt_tokens=prompt, completion_tokens=completion, **facts)
        self._door.metrics.tokens(spending.name, prompt, completion)
        await asyncio.shield(self._door.ledger.settle(spending.reservation, prompt + completion))
