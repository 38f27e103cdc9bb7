"""The SDK's client over our own sockets. Imported by ``connection`` when something is to change, since the SDK costs 50 ms.

One client serves all threads: requests keeps nothing between calls but its pool of connections, which has a lock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import docker
import requests
import urllib3
from docker.transport.basehttpadapter import BaseHTTPAdapter

from paictl.drivers.docker.asking import ANSWER_SECONDS
from paictl.drivers.docker.dialling import Dialler

__all__ = ["Client"]

_KEPT_CONNECTIONS = 8


class Client(docker.APIClient):
    """``docker.APIClient`` which asks ``before`` ahead of every call, and looks at nothing in the environment."""

    def __init__(self, dialler: Dialler, before: Callable[[], None], version: str) -> None:
        # A version spares the constructor its own call; the address stands for "not TCP", and is replaced by the adapter.
        super().__init__("http+unix:///engine", version=version, timeout=ANSWER_SECONDS)
        self._before = before
        # What stands in the environment is for the web; a password from ~/.netrc would go along to the engine.
        self.trust_env = False
        self.mount("http+docker://", _Adapter(dialler))

    def send(self, request: requests.PreparedRequest, **settings: Any) -> requests.Response:
        self._before()
        return super().send(request, **settings)


class _Connection(urllib3.connection.HTTPConnection):
    def __init__(self, dialler: Dialler, timeout: Any) -> None:
        super().__init__("localhost", timeout=timeout)
        self._dialler = dialler

    def connect(self) -> None:
        self.sock = self._dialler.call()
        self.sock.settimeout(self.timeout)


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    def __init__(self, dialler: Dialler) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS, maxsize=_KEPT_CONNECTIONS)
        self._dialler = dialler

    def _new_conn(self) -> Any:
        return _Connection(self._dialler, self.timeout.connect_timeout)


class _Adapter(BaseHTTPAdapter):
    def __init__(self, dialler: Dialler) -> None:
        super().__init__()
        self._pool = _Pool(dialler)

    def get_connection(self, _url: str | bytes, _proxies: Mapping[str, str] | None = None) -> Any:
        return self._pool

    def request_url(self, request: requests.PreparedRequest, _proxies: Mapping[str, str] | None) -> str:
        return request.path_url

    def close(self) -> None:
        super().close()
        self._pool.close()
