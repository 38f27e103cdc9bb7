"""The first thing each request meets: Host, Origin and token; what passes carries ``principal`` in its scope.

Wraps both doors' applications. It also counts and times every request, because it sees them all.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from paictl.runtime.gateway.answers import ApiError
from paictl.runtime.gateway.endpoints import TcpAddress
from paictl.runtime.gateway.metrics import Metrics
from paictl.runtime.gateway.policy import Tokens

__all__ = ["Guard", "Names"]

_OPEN = frozenset({"/healthz", "/healthz/agent", "/readyz"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Guard:
    """An ASGI application around another; ``names`` says whether a Host header is one of ours (None: not asked)."""

    def __init__(self, app: ASGIApp, door: str, tokens: Tokens, metrics: Metrics, names: Names | None) -> None:
        self._app = app
        self._door = door
        self._tokens = tokens
        self._metrics = metrics
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            scope["principal"] = self._admit(Request(scope))
            await self._app(scope, receive, noted)
        except ApiError as error:
            self._metrics.refused(error.code)
            await JSONResponse(error.body(), error.status, dict(error.headers))(scope, receive, noted)
        except asyncio.CancelledError:
            # Only the end of the gateway cancels a request from outside, and it has said why.
            return
        finally:
            self._metrics.request(self._door, _route(scope), status, time.perf_counter() - began)

    def _admit(self, request: Request) -> str:
        if self._names is not None:
            hosts = request.headers.getlist("host")
            if len(hosts) != 1 or not self._names.answers_to(hosts[0]):
                raise ApiError(403, "host_not_allowed", "this gateway does not answer to that Host")
            for origin in request.headers.getlist("origin"):
                parts = urlsplit(origin)
                if parts.scheme not in {"http", "https"} or not self._names.hears(parts.netloc, hosts[0]):
                    raise ApiError(403, "origin_not_allowed", "pages of that Origin may not call this gateway")
            if request.url.path in _OPEN:
                return ""
        principal = self._tokens.principal(request.headers.get("authorization", ""))
        if principal is None:
            headers = {"WWW-Authenticate": "Bearer"}
            raise ApiError(401, "invalid_token", "a valid token is needed: Authorization: Bearer TOKEN", headers)
        return principal


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a listener: loopback's, the address that it is bound to, and ``declared`` ones that lead to it.

    Bound to every interface, it can't know its addresses, so it takes any literal one. Rebinding attacks need a name.
    """

    address: TcpAddress
    declared: Collection[str] = ()

    def answers_to(self, host: str) -> bool:
        """Whether a Host header is one of ours. Loopback's names are on any port: a forwarded or published one differs."""
        name, port = _parts(host)
        if name in self.declared or name in _LOOPBACK:
            return True
        return _is_address(name) if self._everywhere else (name, port) == (self.address.host, self.address.port)

    def hears(self, origin: str, host: str) -> bool:
        """Whether a page of that origin may call: one of the very host that it calls, or of ours on our port.

        What else listens on this machine is not us, and its pages may not.
        """
        name, port = _parts(origin)
        if not self.answers_to(origin):
            return False
        return origin.lower() == host.lower() or name in self.declared or self._everywhere or port == self.address.port

    @property
    def _everywhere(self) -> bool:
        return self.address.host in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound


def _parts(value: str) -> tuple[str, int]:
    """Name and port of ``NAME[:PORT]``; an empty name for what is anything else."""
    try:
        parts = urlsplit(f"//{value}")
        name, port = parts.hostname or "", parts.port or 80
    except ValueError:
        return "", 0
    return ("", 0) if parts.username is not None or parts.path or parts.query or parts.fragment else (name, port)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _route(scope: Scope) -> str:
    # The declared path, never the asked one: an endless number of series would be an attack.
    route = scope.get("route")
    return str(getattr(route, "path", "other"))
