"""The connection to one Docker engine: found lazily, counted, and its failures told in sentences. Used by the whole driver."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paictl.drivers.docker import troubles
from paictl.drivers.docker.asking import ANSWER_SECONDS, Asker, sentence
from paictl.drivers.docker.dialling import Dialler
from paictl.drivers.docker.endpoint import Endpoint, find
from paictl.errors import Unavailable

if TYPE_CHECKING:
    from requests import Response

    from paictl.drivers.docker.transport import Client

__all__ = ["Connection", "Engine", "connect"]

_OLDEST = (1, 41)  # Docker Engine 20.10
_NEWEST = (
    1,
    44,
)  # the last version of the API whose changes were read; engines to come still speak it, or say that they don't
_HEAD_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Engine:
    """What an engine says of itself. ``local``: what it publishes on loopback is reached from this machine.

    ``os`` and ``arch`` are Docker's words (linux; amd64, arm64); ``cgroup`` is 1 or 2; ``security`` its options by name.
    """

    id: str
    name: str
    version: str
    os: str
    arch: str
    cgroup: int
    security: tuple[str, ...]
    local: bool


class Connection:
    """One engine. Nothing is connected before the first call; every thread may use it.

    ``guard`` is asked before each call and may raise: whoever lost the lock writes no more.
    """

    def __init__(self, context: str | None = None) -> None:
        self.calls = 0
        self.guard: Callable[[], None] | None = None
        self._context = context
        self._lock = threading.RLock()
        self._dialler: Dialler | None = None
        self._asker: Asker | None = None
        self._client: Client | None = None
        self._version: Mapping[str, object] = {}
        self._engine: Engine | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Where it is; raises ``Unreachable`` when that can't be told."""
        return self._dial.endpoint

    @property
    def address(self) -> str:
        """The engine's address, for people."""
        return self.endpoint.address

    @property
    def arch(self) -> str:
        """The engine's processor in Docker's words, known from the first call on."""
        return str(self._version["Arch"]) if self._prefix else ""

    @property
    def api(self) -> Client:
        """The SDK's client, with the version of the API agreed on; raises ``Unreachable``, or ``Unavailable`` when too old."""
        with self._lock:
            version = self._prefix.removeprefix("/v")
            if self._client is None:
                from paictl.drivers.docker.transport import Client

                self._client = Client(self._dial, self._before, version)
            return self._client

    def ask(self, path: str, /, **query: object) -> Any:
        """What the engine says there, without the SDK, of which a program that only looks has no need. Raises what ``told`` tells."""
        return json.loads(self._questions.ask("GET", self._prefix + path, query).content)

    def head(self, path: str, /, **query: object) -> Mapping[str, str]:
        """The head of what it would say there; raises as ``ask`` does."""
        return self._questions.ask("HEAD", self._prefix + path, query).headers

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        """What it answers to this JSON; raises as ``ask`` does."""
        return json.loads(self._questions.ask("POST", self._prefix + path, {}, body).content)

    def engine(self) -> Engine:
        """What the engine says of itself; asked once."""
        if self._engine is None:
            with self.told("asking the engine about itself"):
                self._engine = _engine(self.ask("/info"), self._version, self.endpoint)
        return self._engine

    @contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Turn what the SDK or the network raises into a ``PaictlError``; ``what`` completes "while …"."""
        try:
            yield
        except Exception as error:
            # What an engine answered came over a connection that stands.
            broken = isinstance(error, OSError) and getattr(error, "response", None) is None
            complaint = self._dialler.complaint(broken=broken) if self._dialler else ""
            told = troubles.told_as(error, what, self._dialler.endpoint.address if self._dialler else "", complaint)
            if told is None or told is error:
                raise
            raise told from error

    def hijack(self, path: str, body: Mapping[str, object]) -> tuple[socket.socket, bytes]:
        """Post and take over the connection: the socket, and what already came in on it.

        Not by the SDK: it loses what came with the response's head, and can't close the sending half over TLS.
        """
        prefix = self._prefix
        self._before()
        content = json.dumps(body).encode()
        head = (
            f"POST {prefix}{path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        )
        stream = self._dial.stream()
        try:
            stream.settimeout(ANSWER_SECONDS)
            stream.sendall(head.encode("ascii") + content)
            return stream, _taken_over(stream)
        except BaseException:
            stream.close()
            raise

    def follow(self, path: str, **query: str | int) -> Response:
        """A GET whose answer is read as it comes, for as long as it comes."""
        api = self.api
        response = api.get(f"{api.base_url}/v{api.api_version}{path}", params=query, stream=True, timeout=(60, None))
        if not response.ok:
            with response:
                raise troubles.refused(response.status_code, sentence(response.content), "reading what it says")
        return response

    def close(self) -> None:
        """Close every connection; the next call opens a new one."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            if self._asker is not None:
                self._asker.close()
            if self._dialler is not None:
                self._dialler.close()
            self._client = self._asker = None
            self._version = {}

    @property
    def _questions(self) -> Asker:
        with self._lock:
            if self._asker is None:
                self._asker = Asker(self._dial, self._before)
            return self._asker

    @property
    def _prefix(self) -> str:
        """What each path begins with: the version of the API that both speak."""
        with self._lock:
            if not self._version:
                with self.told("saying hello"):
                    self._version = json.loads(self._questions.ask("GET", "/version", {}).content)
            return f"/v{_agreed(self._version)}"

    @property
    def _dial(self) -> Dialler:
        with self._lock:
            if self._dialler is None:
                self._dialler = Dialler(find(self._context))
            return self._dialler

    def _before(self) -> None:
        if self.guard is not None:
            self.guard()
        with self._lock:
            self.calls += 1


def connect(context: str | None = None) -> Connection:
    """The engine of a target: of the context that it names, else the one that the docker command line would use."""
    return Connection(context)


def _agreed(version: Mapping[str, object]) -> str:
    """The newest version of the API that both speak; raises ``Unavailable`` when the engine is too old."""
    theirs, least = _numbers(version.get("ApiVersion")), _numbers(version.get("MinAPIVersion"))
    if theirs < _OLDEST:
        raise Unavailable(
            f"this Docker engine is {version.get('Version')} (API {version.get('ApiVersion')}), which is too old",
            help="paictl needs Docker Engine 20.10 (API 1.41) or newer.",
        )
    agreed = max(min(theirs, _NEWEST), least)
    return ".".join(str(number) for number in agreed)


def _numbers(text: object) -> tuple[int, int]:
    major, _, minor = str(text or "0.0").partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)


def _engine(info: Mapping[str, object], version: Mapping[str, object], endpoint: Endpoint) -> Engine:
    options = info.get("SecurityOptions")
    names = (
        [str(option).partition(",")[0].removeprefix("name=") for option in options] if isinstance(options, list) else []
    )
    return Engine(
        id=str(info.get("ID", "")),
        name=str(info.get("Name", "")),
        version=str(version.get("Version", "")),
        os=str(version.get("Os", "")),
        arch=str(version.get("Arch", "")),
        cgroup=2 if str(info.get("CgroupVersion")) == "2" else 1,
        security=tuple(names),
        local=_local(info, endpoint),
    )


def _local(info: Mapping[str, object], endpoint: Endpoint) -> bool:
    """Whether its loopback is ours. A socket may be forwarded from elsewhere or handed into a container: the name tells.

    Docker Desktop and its like run in a machine of their own under another name, but publish on this one.
    """
    if endpoint.scheme == "ssh":
        return False
    if endpoint.scheme == "unix" and (sys.platform == "darwin" or info.get("OperatingSystem") == "Docker Desktop"):
        return True
    return info.get("Name") == socket.gethostname()


def _taken_over(stream: socket.socket) -> bytes:
    """What came in behind the head of the answer; raises what the engine said instead of handing the connection over."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = stream.recv(4096)
        if not piece or len(received) > _HEAD_LIMIT:
            raise ConnectionError("it closed the connection instead of an answer")
        received += piece
    head, _, rest = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    status = int(first.split()[1])
    if status not in {101, 200}:
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        raise troubles.refused(status, _message(stream, fields, rest), "taking over a connection")
    return rest


def _message(stream: socket.socket, fields: Mapping[str, str], rest: bytes) -> str:
    length = min(int(fields.get("content-length", "0")), _HEAD_LIMIT)
    while len(rest) < length and (piece := stream.recv(4096)):
        rest += piece
    return sentence(rest)
