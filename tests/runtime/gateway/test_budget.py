from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from paictl.manifest.models import Budget
from paictl.runtime.gateway.ledger import Exhausted, Ledger, limits
from tests.runtime.gateway.conftest import StartGateway
from tests.runtime.gateway.gatewayprocess import GatewayProcess, local_model
from tests.runtime.gateway.upstream import Upstream, running

ASK = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}


def burst(gateway: GatewayProcess, count: int) -> list[httpx.Response]:
    with gateway.agent() as agent, ThreadPoolExecutor(16) as threads:
        return list(threads.map(lambda _: agent.post("/v1/chat/completions", json=ASK), range(count)))


@pytest.mark.promise(32)
def test_a_burst_of_200_gets_exactly_what_the_budget_holds_also_after_a_kill(
    start_gateway: StartGateway, model: Upstream
) -> None:
    gateway = start_gateway(models={"chat": local_model(model.endpoint)}, permissions={"budget": {"calls": "50/month"}})
    answers = burst(gateway, 200)
    assert sorted(answer.status_code for answer in answers) == [200] * 50 + [429] * 150
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["code"] == "budget_exhausted"
    assert "spec.permissions.budget.calls: 50/month" in refused.json()["error"]["message"]
    assert 0 < int(refused.headers["retry-after"]) <= 2_592_000
    gateway.kill()
    gateway.start()
    assert {answer.status_code for answer in burst(gateway, 20)} == {429}
    assert len(model.of("/v1/chat/completions")) == 50


def test_tokens_are_reserved_before_and_settled_after_a_call(start_gateway: StartGateway, model: Upstream) -> None:
    # Each call uses 15 tokens, and asks for about 22 before it: prompt bytes by four, and max_tokens.
    gateway = start_gateway(
        models={"chat": local_model(model.endpoint)}, permissions={"budget": {"tokens": "100/month"}}
    )
    answers = []
    with gateway.agent() as agent:
        for _ in range(12):
            answers.append(agent.post("/v1/chat/completions", json=ASK))
            with gateway.person() as person:  # the answer is read before it is settled; this is asked after
                person.get("/status")
    used = 15 * sum(answer.status_code == 200 for answer in answers)
    assert 60 <= used <= 100
    assert answers[-1].status_code == 429
    assert "spec.permissions.budget.tokens: 100/month" in answers[-1].json()["error"]["message"]


def test_money_that_cannot_be_counted_is_not_spent(start_gateway: StartGateway, model: Upstream) -> None:
    with running() as api:
        cloud = {"task": "chat", "endpoint": api.endpoint, "model": "m", "local": False, "classes": ["private"]}
        gateway = start_gateway(
            models={"cloud": cloud, "small": local_model(model.endpoint)},
            permissions={"budget": {"money": "2 USD/day"}},
        )
        with gateway.agent() as agent:
            refused = agent.post("/v1/chat/completions", json=ASK | {"model": "cloud"})
            assert agent.post("/v1/chat/completions", json=ASK | {"model": "small"}).status_code == 200
        assert refused.status_code == 403
        assert "spec.permissions.budget.money" in refused.json()["error"]["message"]
        assert api.asked == []


def ledger_of(path: Path, **budget: Any) -> Ledger:
    return Ledger(path, limits(Budget.model_validate(budget)))


def test_a_window_that_is_over_counts_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        ledger = ledger_of(tmp_path / "ledger.db", calls="2/hour")
        await ledger.open()
        monkeypatch.setattr("paictl.runtime.gateway.ledger.time.time", lambda: 7200.0 + 3599)
        for _ in range(2):
            late = await ledger.reserve(0)
        with pytest.raises(Exhausted) as refused:
            await ledger.reserve(0)
        assert refused.value.retry_after == 1
        monkeypatch.setattr("paictl.runtime.gateway.ledger.time.time", lambda: 10800.0)
        await ledger.reserve(0)
        # What began in the window before is settled late, and changes nothing in this one.
        await ledger.settle(late, 500)
        await ledger.reserve(0)
        with pytest.raises(Exhausted):
            await ledger.reserve(0)
        ledger.close()

    asyncio.run(scenario())
