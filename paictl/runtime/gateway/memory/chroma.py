"""The vector store in a Chroma server, by its HTTP interface: a collection for each index. Called by ``Indexing`` only.

What goes there: ids that are numbers, vectors, scopes. Never a text: Chroma keeps what it was told in its log.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from paictl.hosts import bracketed
from paictl.runtime.config import StoreRoute
from paictl.runtime.gateway import egress, endpoints
from paictl.runtime.gateway.answers import ApiError
from paictl.runtime.gateway.memory.port import Scope, StoreUnavailable, Vector

__all__ = ["ChromaStore", "ChromaVectors"]

_TIMEOUT = httpx.Timeout(connect=5.0, read=30.0, write=30.0, pool=30.0)
# How widely the graph is built and searched. The filter takes effect inside the search, so that it has to look at more than
# it gives: among 20,000 vectors in 20 scopes 200 missed 1 in 900 of the nearest 50, 500 none.
_BUILT, _SEARCHED = 100, 1000
_SAID = 300


class ChromaStore:
    """The store behind the port. ``?tenant=…&database=…`` in its URL names a place other than the server's default."""

    engine = "chroma"

    def __init__(self, route: StoreRoute) -> None:
        self._route = route
        base, tenant, database = _location(route)
        self._where = urlsplit(base).netloc
        self._collections = f"{base}/api/v2/tenants/{tenant}/databases/{database}/collections"
        secure = base.startswith("https://")
        self._client = httpx.AsyncClient(
            # Plain HTTP needs no certificates.
            verify=True if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            timeout=_TIMEOUT,
            trust_env=False,
            follow_redirects=False,
        )

    async def create(self, name: str, dimension: int) -> ChromaVectors:
        hnsw = {"space": "cosine", "ef_construction": _BUILT, "ef_search": _SEARCHED}
        # A name is used once: what answers to it already is what an interrupted call of ours left.
        wanted = {"name": name, "configuration": {"hnsw": hnsw}, "get_or_create": True}
        return ChromaVectors(self, name, str((await self.ask("POST", "", wanted))["id"]), dimension)

    async def find(self, name: str, dimension: int) -> ChromaVectors | None:
        try:
            found = await self.ask("GET", f"/{name}")
        except _NotThere:
            return None
        return ChromaVectors(self, name, str(found["id"]), dimension)

    async def close(self) -> None:
        await self._client.aclose()

    async def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """The answer to one call below the collections. Raises ``StoreUnavailable``."""
        try:
            response = await self._client.request(method, self._collections + path, json=body, headers=self._headers())
        except httpx.TimeoutException as error:
            raise StoreUnavailable(f"chroma at {self._where} does not answer") from error
        except httpx.HTTPError as error:
            raise StoreUnavailable(f"chroma at {self._where}: {error or type(error).__name__}") from error
        if response.status_code == httpx.codes.NOT_FOUND:
            raise _NotThere(f"chroma at {self._where} has lost the collection")
        if not response.is_success:
            said = " ".join(response.text[:_SAID].split())
            raise StoreUnavailable(f"chroma at {self._where} answered {response.status_code}: {said}")
        try:
            return response.json()
        except ValueError as error:
            raise StoreUnavailable(f"chroma at {self._where} does not speak its protocol: no JSON") from error

    def _headers(self) -> dict[str, str]:
        if self._route.secret is None:
            return {}
        try:
            key = egress.credential(self._route.secret, self._collections, self._route.hosts).decode("ascii")
        except ApiError as error:
            raise StoreUnavailable(f"chroma at {self._where}: {error}") from error
        # The first is what a proxy before a server of one's own asks for, the second what Chroma's own service does.
        return {"Authorization": f"Bearer {key}", "X-Chroma-Token": key}


class ChromaVectors:
    """One index, behind the port."""

    def __init__(self, store: ChromaStore, name: str, collection: str, dimension: int) -> None:
        self._store = store
        self._name = name
        self._path = f"/{collection}"
        self.dimension = dimension

    async def put(self, rows: Sequence[tuple[int, Scope, Vector]]) -> None:
        if not rows:
            return
        body = {
            "ids": [str(number) for number, _, _ in rows],
            "embeddings": [self._checked(vector) for _, _, vector in rows],
            "metadatas": [{"scope": scope.token} for _, scope, _ in rows],
        }
        await self._store.ask("POST", f"{self._path}/upsert", body)

    async def nearest(self, vector: Vector, scopes: Sequence[Scope], most: int) -> list[int]:
        body = {
            "query_embeddings": [self._checked(vector)],
            "n_results": most,
            "where": {"scope": {"$in": [scope.token for scope in scopes]}},
            "include": ["distances"],
        }
        found = await self._store.ask("POST", f"{self._path}/query", body)
        return [int(number) for number in found["ids"][0]]

    async def remove(self, numbers: Sequence[int]) -> None:
        await self._store.ask("POST", f"{self._path}/delete", {"ids": [str(number) for number in numbers]})

    async def count(self) -> int:
        return int(await self._store.ask("GET", f"{self._path}/count"))

    async def tidy(self) -> None:
        """Chroma offers nothing for it: it purges its log by itself, after some thousand changes."""

    async def drop(self) -> None:
        try:
            await self._store.ask("DELETE", f"/{self._name}")
        except _NotThere:
            return

    def _checked(self, vector: Vector) -> list[float]:
        if len(vector) != self.dimension:
            raise ApiError(502, "model_failed", f"the embedding has {len(vector)} numbers, the index {self.dimension}")
        return list(vector)


class _NotThere(StoreUnavailable):
    """There is no such collection."""


def _location(route: StoreRoute) -> tuple[str, str, str]:
    """The server's base URL, the tenant and the database."""
    if route.endpoint.startswith("tcp:"):
        address = endpoints.parse(route.endpoint)
        assert isinstance(address, endpoints.TcpAddress)  # noqa: S101 - it began with tcp:
        return f"http://{bracketed(address.host)}:{address.port}", "default_tenant", "default_database"
    parts = urlsplit(route.endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("memory.store.url is not the address of a Chroma server: http://HOST:PORT")
    if parts.username is not None:
        raise ValueError("memory.store.url holds a credential; name it as a secret instead: memory.store.secret")
    asked = parse_qs(parts.query)
    base = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
    return base, asked.get("tenant", ["default_tenant"])[0], asked.get("database", ["default_database"])[0]
