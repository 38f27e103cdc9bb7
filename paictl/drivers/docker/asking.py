"""Short questions to an engine and its whole answers, over kept connections of our own. Called by ``connection``; carries no stream.

The SDK with requests costs 50 ms to import and half a millisecond a call: who only looks needs neither.
"""

from __future__ import annotations

import http.client
import json
import select
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from paictl.drivers.docker.dialling import Dialler

__all__ = ["ANSWER_SECONDS", "Answer", "Asker", "Declined", "sentence"]

ANSWER_SECONDS = 60
_KEPT_CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, in the names that ``requests`` gives it."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes


class Declined(Exception):
    """The engine's own no; in the SDK's shape, so that ``troubles`` tells one as it tells the other."""

    def __init__(self, response: Answer) -> None:
        super().__init__(sentence(response.content))
        self.response = response

    @property
    def explanation(self) -> str:
        """Its sentence."""
        return str(self)


class Asker:
    """Asks one engine; every thread may. ``before`` is called ahead of every question and may raise."""

    def __init__(self, dialler: Dialler, before: Callable[[], None]) -> None:
        self._dialler, self._before = dialler, before
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()

    def ask(self, method: str, path: str, query: Mapping[str, object], body: object = None) -> Answer:
        """One question, with a body of JSON if there is one; raises ``Declined``, or ``OSError`` when no whole answer comes."""
        self._before()
        content = None if body is None else json.dumps(body).encode()
        headers = {} if content is None else {"Content-Type": "application/json"}
        connection = self._free()
        try:
            connection.request(method, f"{path}?{urlencode(query)}" if query else path, content, headers)
            told = connection.getresponse()
            answer = Answer(told.status, dict(told.headers.items()), told.read())
        except http.client.HTTPException as error:
            connection.close()
            raise ConnectionError(f"what came was no whole answer ({type(error).__name__})") from error
        except BaseException:
            connection.close()
            raise
        self._keep(connection)
        if answer.status_code >= http.HTTPStatus.BAD_REQUEST:
            raise Declined(answer)
        return answer

    def close(self) -> None:
        """Close what is kept."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def _free(self) -> _Connection:
        with self._lock:
            while self._idle:
                found = self._idle.pop()
                if not found.dropped:
                    return found
                found.close()
        return _Connection(self._dialler)

    def _keep(self, connection: _Connection) -> None:
        with self._lock:
            if connection.sock is not None and len(self._idle) < _KEPT_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, dialler: Dialler) -> None:
        super().__init__("docker", timeout=ANSWER_SECONDS)
        self._dialler = dialler

    def connect(self) -> None:
        self.sock = self._dialler.call()
        self.sock.settimeout(self.timeout)

    @property
    def dropped(self) -> bool:
        """Whether the engine has closed it, or says what nobody asked for."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))


def sentence(body: bytes) -> str:
    """The words of an engine that declines."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace").strip()
