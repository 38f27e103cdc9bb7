"""The connection to one cluster's API server: plain JSON over kept connections, counted, failures told in sentences.

Used by the whole driver. The published client for Python is not: see docs/decisions/kubernetes.md.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from paictl.drivers.kubernetes import troubles
from paictl.drivers.kubernetes.credentials import Credentials
from paictl.drivers.kubernetes.dialling import Dialler
from paictl.drivers.kubernetes.kubeconfig import Cluster, find
from paictl.drivers.kubernetes.troubles import ApiError
from paictl.errors import PaictlError, Unreachable

__all__ = ["Connection", "Json"]

Json = Mapping[str, Any]
_Headers = tuple[tuple[str, str], ...]

_ANSWER_SECONDS = 60.0
_KEPT_CONNECTIONS = 8
# An API server that restarts is away for seconds; one that was never there is told at once. What took a connection and cut
# it may be a server that has much to do, or a tunnel that leads nowhere.
_PATIENCE_SECONDS = 30.0
_PATIENCE_WITH_STRANGERS_SECONDS = 3.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 3.0
_CUT = (ConnectionResetError, BrokenPipeError, http.client.HTTPException)
_PASSING = frozenset({429, 502, 503, 504})
# Not passing although it is a 500: what server-side apply says of a field that its kind does not have.
_OF_THE_DOCUMENT = ("failed to create typed patch object", "field not declared in schema")


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    content: bytes | None
    headers: Mapping[str, str]


class Connection:
    """One cluster. Nothing is connected before the first call; every thread may use it.

    ``guard`` is asked before each call and may raise: whoever lost the lock writes no more.
    """

    def __init__(self, context: str | None = None) -> None:
        self.calls = 0
        self.guard: Callable[[], None] | None = None
        self._context = context
        self._lock = threading.RLock()
        self._parts: tuple[Cluster, Credentials, Dialler] | None = None
        self._idle: list[_Kept] = []
        self._met = False

    @property
    def cluster(self) -> Cluster:
        """Which one it is; raises ``Unreachable`` when that can't be told."""
        return self._made[0]

    def ask(self, path: str, what: str, /, *, accept: str = "application/json", **query: object) -> Any:
        """What stands there. Raises ``ApiError`` for a no, ``Unreachable`` when no answer comes."""
        return self._json("GET", path, what, query, accept=accept)

    def find(self, path: str, what: str, /, **query: object) -> Any | None:
        """The same; None when there is no such thing."""
        try:
            return self._json("GET", path, what, query)
        except ApiError as no:
            if no.status != HTTPStatus.NOT_FOUND:
                raise
            return None

    def send(
        self, method: str, path: str, what: str, /, body: object, *, kind: str = "application/json", **query: object
    ) -> Any:
        """Send a document, and what comes back. ``kind`` is its media type."""
        return self._json(method, path, what, query, body=body, kind=kind)

    def follow(self, path: str, what: str, /, **query: object) -> Iterator[bytes]:
        """What comes as it comes, for as long as it comes."""
        kept = self._new()
        try:
            headers, _ = self._made[1].headers()
            answer = self._exchange(kept, self._request("GET", path, query, None, "", "*/*"), headers)
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise troubles.declined(answer.status, answer.read(), what, dict(answer.headers))
            kept.sock.settimeout(None)
            while piece := answer.read1(64 * 1024):
                yield piece
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error) from error
        finally:
            kept.close()

    def dial(self) -> tuple[socket.socket, str, _Headers]:
        """A connection for another protocol than requests: its socket, what addresses begin with there, and who asks, as headers."""
        self._before()
        cluster, credentials, dialler = self._made
        headers, _ = credentials.headers()
        try:
            return dialler.open(_ANSWER_SECONDS), f"{dialler.host}{dialler.prefix}", headers
        except OSError as error:
            raise troubles.unreachable(error, cluster.server, cluster.context) from error

    def renew(self, generation: int | None = None) -> bool:
        """Have whoever hands out credentials asked again, since they were not accepted; whether that may help.

        ``generation`` says which ones were not: others may have asked since.
        """
        credentials = self._made[1]
        if not credentials.forget(credentials.generation if generation is None else generation):
            return False
        self.close()
        return True

    def close(self) -> None:
        """Close every connection; the next call opens a new one."""
        with self._lock:
            idle, self._idle = self._idle, []
        for one in idle:
            one.close()

    @property
    def _made(self) -> tuple[Cluster, Credentials, Dialler]:
        with self._lock:
            if self._parts is None:
                cluster = find(self._context)
                credentials = Credentials(cluster)
                self._parts = cluster, credentials, Dialler(cluster, credentials)
            return self._parts

    def _json(  # noqa: PLR0913 - what a request consists of
        self,
        method: str,
        path: str,
        what: str,
        query: Mapping[str, object],
        *,
        body: object = None,
        kind: str = "",
        accept: str = "application/json",
    ) -> Any:
        content = None if body is None else json.dumps(body).encode()
        answer = self._patiently(self._request(method, path, query, content, kind, accept), what)
        return json.loads(answer) if answer else {}

    def _request(
        self, method: str, path: str, query: Mapping[str, object], content: bytes | None, kind: str, accept: str
    ) -> _Request:
        headers = {"Accept": accept, "User-Agent": "paictl"}
        if content is not None:
            headers["Content-Type"] = kind
        asked = f"{path}?{urlencode(query, doseq=True)}" if query else path
        return _Request(method, self._made[2].prefix + asked, content, headers)

    def _patiently(self, request: _Request, what: str) -> bytes:
        """Its answer, however often it takes: what is asked may be repeated, since it names what it makes."""
        begun, pause, asked = time.monotonic(), _FIRST_PAUSE, 0
        renewed = False
        while True:
            self._before()
            headers, generation = self._made[1].headers()
            asked += 1
            try:
                return self._once(request, headers, what)
            except ApiError as no:
                wait = max(pause, no.after)
                if not _passes(no):
                    raise
                if time.monotonic() - begun + wait > _PATIENCE_SECONDS:
                    raise _after(no, asked, time.monotonic() - begun) from no
                time.sleep(wait)
            except _Away as away:
                patience = _PATIENCE_SECONDS if self._met else _PATIENCE_WITH_STRANGERS_SECONDS
                if not (self._met or away.cut) or time.monotonic() - begun + pause > patience:
                    raise away.told from away
                time.sleep(pause)
            except Unreachable:
                if renewed or not self.renew(generation):
                    raise
                renewed = True
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _once(self, request: _Request, headers: _Headers, what: str) -> bytes:
        try:
            with self._free() as kept:
                answer = self._exchange(kept, request, headers)
                content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise _Away(self._lost(error), cut=isinstance(error, _CUT)) from error
        self._met = True
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise troubles.declined(answer.status, content, what, dict(answer.headers))
        return content

    def _exchange(self, kept: _Kept, request: _Request, headers: _Headers) -> http.client.HTTPResponse:
        kept.putrequest(request.method, request.path, skip_accept_encoding=True)
        if request.content is not None:
            kept.putheader("Content-Length", str(len(request.content)))
        for name, value in (*request.headers.items(), *headers):
            kept.putheader(name, value.encode())
        kept.endheaders(request.content)
        return kept.getresponse()

    def _lost(self, error: BaseException) -> Unreachable:
        cluster = self._made[0]
        return troubles.unreachable(error, cluster.server, cluster.context)

    @contextmanager
    def _free(self) -> Iterator[_Kept]:
        """A connection for one exchange; kept for the next one when it went well."""
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        if kept is not None and kept.stale:
            kept.close()
            kept = None
        kept = kept or self._new()
        try:
            yield kept
        except BaseException:
            kept.close()
            raise
        with self._lock:
            if len(self._idle) < _KEPT_CONNECTIONS and kept.sock is not None:
                self._idle.append(kept)
                return
        kept.close()

    def _new(self) -> _Kept:
        return _Kept(self._made[2])

    def _before(self) -> None:
        if self.guard is not None:
            self.guard()
        with self._lock:
            self.calls += 1


class _Away(Exception):
    """No answer came; ``told`` is what a person is told of it when it stays so. ``cut``: something was there at first."""

    def __init__(self, told: PaictlError, *, cut: bool) -> None:
        super().__init__(str(told))
        self.told = told
        self.cut = cut


class _Kept(http.client.HTTPConnection):
    def __init__(self, dialler: Dialler) -> None:
        super().__init__(dialler.host)
        self._dialler = dialler

    def connect(self) -> None:
        self.sock = self._dialler.open(_ANSWER_SECONDS)

    @property
    def stale(self) -> bool:
        """Whether the other end has closed it, or said something that nobody asked for."""
        with suppress(OSError, ValueError):
            return self.sock is None or bool(select.select([self.sock], [], [], 0)[0])
        return True


def _after(no: ApiError, asked: int, seconds: float) -> ApiError:
    """The same, with how long it has been so."""
    waits = f", which asks to wait for another {no.after:.0f} s" if no.after > _LONGEST_PAUSE else ""
    return replace(no, summary=f"{no.summary} (asked {asked} times in {seconds:.0f} s{waits})")


def _passes(no: ApiError) -> bool:
    if no.status in _PASSING:
        return True
    return no.status == HTTPStatus.INTERNAL_SERVER_ERROR and not any(one in no.summary for one in _OF_THE_DOCUMENT)
