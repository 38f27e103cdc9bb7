"""The outer door's paths: people and chat clients. Each checks the right first, writes the decision, then does the thing."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from paictl.runtime.gateway.answers import ApiError, answer, error_answer
from paictl.runtime.gateway.audit import Call, Entry
from paictl.runtime.gateway.conversation import Conversing
from paictl.runtime.gateway.door import Door

__all__ = ["outer"]


def outer(door: Door) -> Starlette:
    """The application behind the outer guard."""
    paths = _Outer(door)
    conversing = Conversing(door)
    return Starlette(
        routes=[
            Route("/healthz", paths.healthz),
            Route("/healthz/agent", paths.agent_healthz),
            Route("/readyz", paths.readyz),
            Route("/metrics", paths.metrics),
            Route("/status", paths.status),
            Route("/v1/models", paths.models),
            Route("/v1/chat/completions", conversing.completions, methods=["POST"]),
            Route("/v1/sessions/{session}", paths.end_session, methods=["DELETE"]),
            Route("/workflows/{name}/runs", paths.start_workflow, methods=["POST"]),
            Route("/workflows/{name}/runs", paths.runs, methods=["GET"]),
        ],
        exception_handlers={ApiError: error_answer, Exception: error_answer, 404: _not_found, 405: _not_allowed},
    )


class _Outer:
    def __init__(self, door: Door) -> None:
        self._door = door

    async def healthz(self, request: Request) -> Response:
        del request
        config = self._door.config
        return answer({"status": "ok", "agent": config.agent, "release": config.release})

    async def agent_healthz(self, request: Request) -> Response:
        del request
        ready = await self._door.work.ready()
        return answer({"status": "ok" if ready else "the agent is not up"}, 200 if ready else 503)

    async def readyz(self, request: Request) -> Response:
        del request
        missing = await self._door.missing()
        return answer({"ready": not missing, "missing": missing}, 503 if missing else 200)

    async def metrics(self, request: Request) -> Response:
        self._look(request)
        ready = await self._door.work.ready()
        text = self._door.metrics.text(await self._door.memory.counts(), agent_ready=ready)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def status(self, request: Request) -> Response:
        self._look(request)
        door = self._door
        hello = await door.work.greeted()
        return answer(
            {
                "agent": door.config.agent,
                "identity": door.identity.id,
                "release": door.config.release,
                "memory": {"records": await door.memory.counts()},
                "schedules": hello.schedules if hello else {},
                "permissions": door.config.permissions.digest(),
                "agent_ready": await door.work.ready(),
            }
        )

    async def models(self, request: Request) -> Response:
        del request  # whoever holds a token may know the agent's name
        name = self._door.config.agent
        return answer({"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "paictl"}]})

    async def end_session(self, request: Request) -> Response:
        session = request.path_params["session"]
        entry = await self._permit(request, "chat", self._door.config.agent, session=session)
        count = await self._door.end_session(session)
        entry.done("ok", forgotten=count)
        return answer({"id": session, "deleted": True, "forgotten": count})

    async def start_workflow(self, request: Request) -> Response:
        name = request.path_params["name"]
        entry = await self._permit(request, "workflow.run", name)
        await self._declared(name, entry)
        try:
            work = await self._door.work.offer({"kind": "workflow", "name": name})
        except ApiError as error:
            entry.done("failed", code=error.code)
            raise
        entry.done("ok", work=work.id)
        return answer({"id": work.id, "workflow": name, "state": "queued"}, 202)

    async def runs(self, request: Request) -> Response:
        name = request.path_params["name"]
        entry = await self._permit(request, "workflow.run", name)
        runs = await self._door.ledger.runs(name)
        entry.done("ok")
        return answer({"workflow": name, "runs": runs})

    async def _declared(self, name: str, entry: Entry) -> None:
        hello = await self._door.work.greeted()
        if hello is not None and hello.workflows is not None and name not in hello.workflows:
            entry.done("failed", code="no_such_workflow")
            raise ApiError(404, "no_such_workflow", "spec.workflows does not declare that workflow")

    def _look(self, request: Request) -> None:
        # Looking changes nothing and is not written down; it still needs the right.
        verdict = self._door.policy.decide(request.scope["principal"], "status.read", self._door.config.agent)
        if not verdict.allowed:
            self._door.metrics.refused("not_permitted")
            raise ApiError(403, "not_permitted", f"not permitted: {verdict.rule}")

    async def _permit(self, request: Request, action: str, resource: str, session: str = "") -> Entry:
        principal = request.scope["principal"]
        verdict = self._door.policy.decide(principal, action, resource)
        return await self._door.audit.admit(Call(principal, action, resource, session=session), verdict)


async def _not_found(request: Request, error: Exception) -> Response:
    del error
    return await error_answer(
        request, ApiError(404, "no_such_path", "this gateway has no such path; docs/runtime.md lists them")
    )


async def _not_allowed(request: Request, error: Exception) -> Response:
    del error
    return await error_answer(request, ApiError(405, "method_not_allowed", "this path does not take that method"))
