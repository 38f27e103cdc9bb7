"""``/v1/chat/completions`` of the inner door: which model by class, whether the budget has room, then bytes as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from paictl.runtime.config import ModelRoute
from paictl.runtime.gateway.answers import ApiError, ClosingStream, read_json, unless_gone
from paictl.runtime.gateway.audit import Call, Entry
from paictl.runtime.gateway.door import AGENT, Door
from paictl.runtime.gateway.ledger import Exhausted, Reservation
from paictl.runtime.gateway.policy import Verdict
from paictl.runtime.gateway.routing import Choice, choose
from paictl.runtime.gateway.upstream import Answer, Usage, estimate
from paictl.runtime.headers import RUN, SESSION

__all__ = ["ModelProxy"]

_BODY = 16 * 1024 * 1024


@dataclass(slots=True)
class _Spending:
    """A call that was let in: what is written and counted when it ends."""

    name: str
    entry: Entry
    reservation: Reservation
    outcome: str = "cancelled"


class ModelProxy:
    """The agent's way to the models."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def completions(self, request: Request) -> Response:
        body = await read_json(request, _BODY)
        self._door.work.sign_of_life()
        size = len(json.dumps(body))
        spending = await self._admit(request, body, await self._choose(request, body), estimate(body, size))
        if not self._door.config.models[spending.name].local:
            self._door.metrics.egress(spending.name, size)
        try:
            upstream = await unless_gone(request, self._door.upstreams.chat(spending.name, body))
        except BaseException as error:
            spending.outcome = "cancelled" if not isinstance(error, ApiError) or error.status == 499 else "failed"
            await self._settle(spending, Usage())
            raise
        return ClosingStream(
            self._bytes(spending, upstream),
            lambda: self._settle(spending, upstream.usage),
            upstream.status,
            upstream.headers,
            upstream.media_type,
        )

    async def _choose(self, request: Request, body: Mapping[str, Any]) -> Choice:
        config = self._door.config
        wanted = body.get("model", "chat")
        label = (await self._door.conversations.of(request.headers.get(SESSION, ""))).label
        choice = choose(config.models, config.routing, wanted, label) if isinstance(wanted, str) else None
        if choice is None:
            raise ApiError(404, "model_not_found", "spec.models declares no chat model of that name")
        if self._unpriced(config.models[choice.name]):
            rule = f"spec.permissions.budget.money: what {choice.name} costs is not known, so it can't be kept"
            return Choice(choice.name, False, rule)
        return choice

    def _unpriced(self, route: ModelRoute) -> bool:
        config = self._door.config
        return not route.local and config.permissions.budget.money is not None

    async def _admit(self, request: Request, body: Mapping[str, Any], choice: Choice, tokens: int) -> _Spending:
        audit, headers = self._door.audit, request.headers
        arguments = {"messages": body.get("messages"), "tools": body.get("tools")}
        run, session = headers.get(RUN, ""), headers.get(SESSION, "")
        call = Call(AGENT, "model.use", choice.name, arguments, run, session)
        verdict, refusal = Verdict(choice.allowed, choice.rule), None
        reservation = Reservation(0, 0.0)
        if choice.allowed:
            try:
                reservation = await self._door.ledger.reserve(tokens)
            except Exhausted as error:
                headers_out = {"Retry-After": str(error.retry_after)}
                refusal = ApiError(429, "budget_exhausted", f"the budget is used up: {error.rule}", headers_out)
                verdict = Verdict(False, error.rule)
        try:
            entry = await audit.admit(call, verdict, refusal)
        except ApiError:
            if verdict.allowed:
                await self._door.ledger.settle(reservation, 0)
            raise
        return _Spending(choice.name, entry, reservation)

    @staticmethod
    async def _bytes(spending: _Spending, upstream: Answer) -> AsyncGenerator[bytes, None]:
        async with aclosing(upstream.chunks) as chunks:
            async for chunk in chunks:
                yield chunk
        spending.outcome = "ok" if upstream.status < 400 else "failed"

    async def _settle(self, spending: _Spending, usage: Usage) -> None:
        spending.entry.done(spending.outcome, prompt_tokens=usage.prompt, completion_tokens=usage.completion)
        self._door.metrics.tokens(spending.name, usage.prompt, usage.completion)
        await asyncio.shield(self._door.ledger.settle(spending.reservation, usage.prompt + usage.completion))
