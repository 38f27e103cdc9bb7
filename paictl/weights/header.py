"""A GGUF header from wherever the file is: the cache, this machine, or the first bytes of a remote one; called by ``fit``."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote, urlsplit

from paictl.clock import Clock, SystemClock
from paictl.weights import gguf
from paictl.weights.cache import Cache
from paictl.weights.failures import BadFile, SourceUnreachable
from paictl.weights.gguf import Gguf
from paictl.weights.resolve import Resolved, hub_headers
from paictl.weights.transfer import NoRanges, Web, patiently
from paictl.weights.wheel import inflated

__all__ = ["gguf_header"]

_CHUNK = 64 * 1024
_PREFIX = 64 * 1024 * 1024  # asked for at most; the connection is closed as soon as the header is complete


def gguf_header(resolved: Resolved, cache: Cache, clock: Clock | None = None) -> Gguf:
    """The file's header; of a remote file only its beginning travels. Raises ``BadFile`` or ``SourceUnreachable``."""
    local = _local_path(resolved, cache)
    try:
        if local is not None:
            with local.open("rb") as handle:
                return gguf.read(handle, resolved.size)
        if resolved.url.startswith("file:"):
            return _in_local_wheel(resolved)
        return patiently(lambda: _from_afar(resolved), clock or SystemClock(), resolved.source.text)
    except BadFile as error:
        raise BadFile(f"{resolved.source}: {error.summary}", help=error.help) from error


def _local_path(resolved: Resolved, cache: Cache) -> Path | None:
    if resolved.sha256 is not None and cache.has(resolved.sha256):
        return cache.path(resolved.sha256)
    return Path(resolved.source.path) if resolved.source.scheme == "file" else None


def _in_local_wheel(resolved: Resolved) -> Gguf:
    member = resolved.member
    with Path(unquote(urlsplit(resolved.url).path)).open("rb") as handle:
        handle.seek(member.offset if member else 0)
        chunks = iter(lambda: handle.read(_CHUNK), b"")
        return gguf.read(_Stream(chunks, inflate=member is not None and member.deflated), resolved.size)


def _from_afar(resolved: Resolved) -> Gguf:
    member = resolved.member
    start = member.offset if member else 0
    stop = start + min(member.stored if member else resolved.size, _PREFIX)
    headers = hub_headers() if resolved.source.scheme == "hf" else {}
    with ExitStack() as stack:
        reply = stack.enter_context(stack.enter_context(Web(resolved.url, headers)).open(start, stop))
        if reply.start != start or (start and not reply.partial):
            raise SourceUnreachable(
                f"{resolved.source}: the server no longer gives parts of the file", help="try again later"
            ) from NoRanges()
        return gguf.read(_Stream(reply.chunks, inflate=member is not None and member.deflated), resolved.size)


class _Stream:
    """Chunks as something to read from, inflated on the way where they are compressed."""

    def __init__(self, chunks: Iterator[bytes], *, inflate: bool) -> None:
        self._chunks = inflated(chunks, _CHUNK) if inflate else chunks

    def read(self, _: int, /) -> bytes:
        try:
            return next(self._chunks, b"")
        except zlib.error as error:
            raise BadFile(f"its compressed bytes are damaged ({error})", help="run the same command again") from error
