"""The gateway as a client sees it: asked for its state, or asked a question. Used after an apply, by continuity and the verbs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from paictl.clock import Clock, SystemClock
from paictl.engine.driver import Reach
from paictl.errors import PaictlError

__all__ = ["DoorError", "Inspection", "Message", "ask", "end_session", "inspect", "stream", "wait_ready"]

Message = Mapping[str, str]
"""One thing said: ``{"role": "user" or "assistant", "content": TEXT}``, as OpenAI's API has it."""

_POLL_SECONDS = 0.2
_ANSWER_SECONDS = 300.0
_FORGET_SECONDS = 5.0


class DoorError(PaictlError):
    """The gateway did not answer, or answered with an error."""

    code = "gateway"
    retry_helps = True


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the gateway says of the agent: who it is, what it knows, what it will do, what it may."""

    identity: str
    permissions: str
    agent_ready: bool
    records: dict[str, int] = field(default_factory=dict)
    schedules: dict[str, str] = field(default_factory=dict)


def inspect(reach: Reach) -> Inspection:
    """The agent's state as ``GET /status`` tells it; raises ``DoorError``."""
    try:
        with _client(reach) as client:
            body = _json(client.get("/status"))
    except httpx.HTTPError as error:
        raise DoorError(
            f"the gateway at {reach.url} does not answer: {error}", help="`paictl status` says why."
        ) from error
    return Inspection(
        identity=body["identity"],
        permissions=body["permissions"],
        agent_ready=body["agent_ready"],
        records=body["memory"]["records"],
        schedules=body["schedules"],
    )


def wait_ready(reach: Reach, *, timeout: float, clock: Clock | None = None) -> None:
    """Wait until the gateway says that the agent and every model answer; raises ``DoorError`` with what is missing."""
    clock = clock or SystemClock()
    deadline = clock.monotonic() + timeout
    missing = "it does not answer"
    while True:
        try:
            with _client(reach) as client:
                answer = client.get("/readyz")
            if answer.status_code == 200:
                return
            missing = answer.text[:300]
        except httpx.HTTPError as error:
            missing = str(error) or type(error).__name__
        if clock.monotonic() >= deadline:
            raise DoorError(
                f"the agent was not ready within {timeout:.0f} s: {missing}",
                help="`paictl logs` shows what its services say.",
            )
        clock.sleep(_POLL_SECONDS)


def ask(reach: Reach, text: str, *, session: str = "") -> str:
    """The agent's whole answer to one message."""
    return "".join(stream(reach, text, session=session))


def stream(reach: Reach, text: str, *, session: str = "", before: Sequence[Message] = ()) -> Iterator[str]:
    """The agent's answer, piece by piece as it comes (server-sent events of OpenAI's chat completions).

    ``before`` is what was said in this conversation until now, oldest first.
    """
    body = {"stream": True, "messages": [*before, {"role": "user", "content": text}]}
    headers = {"X-Paictl-Session": session} if session else {}
    try:
        with (
            _client(reach) as client,
            client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer,
        ):
            if answer.status_code != 200:
                answer.read()
                _json(answer)
            for line in answer.iter_lines():
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                event = json.loads(line.removeprefix("data: "))
                if "error" in event:
                    raise DoorError(
                        f"the agent could not answer: {event['error']['message']}", help="`paictl logs agent`"
                    )
                for choice in event["choices"]:
                    if choice["delta"].get("content"):
                        yield choice["delta"]["content"]
    except httpx.ConnectError as error:
        raise DoorError(
            f"nothing answers at {reach.url}: the gateway does not run",
            help="`paictl status` says why; `paictl apply` starts it.",
        ) from error
    except httpx.HTTPError as error:
        raise DoorError(f"the gateway at {reach.url} broke off: {error}", help="`paictl status` says why.") from error


def end_session(reach: Reach, name: str) -> None:
    """Have the gateway forget what was said for this conversation alone."""
    try:
        with _client(reach) as client:
            client.delete(f"/v1/sessions/{name}", timeout=_FORGET_SECONDS)
    except httpx.HTTPError as error:
        raise DoorError(
            f"the gateway at {reach.url} does not answer: {error}", help="`paictl status` says why."
        ) from error


def _client(reach: Reach) -> httpx.Client:
    # Loopback traffic must not go through a proxy that the environment names.
    return httpx.Client(
        base_url=reach.url,
        headers={"Authorization": f"Bearer {reach.token}"},
        timeout=httpx.Timeout(_ANSWER_SECONDS, connect=5.0),
        trust_env=False,
    )


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        body: dict[str, Any] = answer.json()
    except ValueError:
        body = {}
    if answer.status_code != 200:
        message = body.get("error", {}).get("message", answer.text[:300])
        raise DoorError(f"the gateway refused: {message} (HTTP {answer.status_code})", help="`paictl status` says why.")
    return body
