"""Brings resolved model files here: resumable, checked, once; called by ``apply``, ``models pull`` and ``lock``.

Never decides which file: that is ``resolve``. A download lives in the cache's ``parts`` until its hash is right; then it is
renamed into its place, so that whoever looks sees a whole file or none.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from paictl.clock import Clock, SystemClock
from paictl.events import Emit, ignore
from paictl.weights.arrival import Arrival, Progress
from paictl.weights.cache import Cache, hash_file, place, room
from paictl.weights.failures import NotCached, WrongHash
from paictl.weights.resolve import Resolved, resolve
from paictl.weights.sources import Source

__all__ = ["fetch", "obtain"]


def obtain(
    source: Source,
    sha256: str | None,
    cache: Cache | None = None,
    *,
    emit: Emit = ignore,
    offline: bool = False,
    address: str = "",
) -> Path:
    """The source's file, from the cache where its hash is known and it is there, else resolved and fetched."""
    cache = cache or Cache()
    if sha256 is not None and cache.has(sha256):
        return cache.path(sha256)
    return fetch(
        resolve(source, sha256, cache=cache, offline=offline), cache, emit=emit, offline=offline, address=address
    )


def fetch(
    resolved: Resolved,
    cache: Cache | None = None,
    *,
    emit: Emit = ignore,
    offline: bool = False,
    address: str = "",
    clock: Clock | None = None,
) -> Path:
    """Bring the file into the cache and return its path there, whose name is its sha256.

    Goes on from what an earlier, killed run had got. Emits ``progress`` events with ``done`` and ``total`` in bytes. Raises ``NotCached``,
    ``NoSpace``, ``SourceUnreachable``, ``WrongHash`` or ``BadFile``; after any of them the cache holds what it held before.
    """
    cache, clock = cache or Cache(), clock or SystemClock()
    if resolved.sha256 is not None and cache.has(resolved.sha256):
        return cache.path(resolved.sha256)
    if resolved.source.scheme == "file":
        return _take(resolved, cache)
    local = resolved.url.startswith("file:")
    if offline and not local:
        raise NotCached(
            f"{resolved.source} is not in the cache, and --offline forbids to fetch it",
            help="run once without --offline",
        )
    key = resolved.sha256 or hashlib.sha256(resolved.source.text.encode()).hexdigest()
    progress = Progress(emit, address, resolved, clock)
    with cache.lock(key, progress.wait):
        if resolved.sha256 is not None and cache.has(resolved.sha256):
            return cache.path(resolved.sha256)
        arrival = Arrival(resolved, cache.part(key), progress, clock)
        found = arrival.run()
        if resolved.sha256 not in {None, found} and arrival.resumed:
            # What an earlier run left may be what is wrong (a power cut keeps a file's length before its content): once more, afresh.
            arrival.drop()
            found = arrival.run()
        if resolved.sha256 not in {None, found}:
            arrival.drop()
            raise _wrong(resolved, found)
        path = cache.keep(arrival.whole, found)
        arrival.drop()
        return path


def _take(resolved: Resolved, cache: Cache) -> Path:
    """A file of this machine into the cache; a hard link where that is possible, so that nothing is kept twice."""
    path = Path(resolved.source.path)
    found = hash_file(path)
    if resolved.sha256 not in {None, found}:
        raise _wrong(resolved, found)
    with room(path.parent, 0):
        return place(path, cache.path(found), found)


def _wrong(resolved: Resolved, found: str) -> WrongHash:
    return WrongHash(
        f"{resolved.source}: expected sha256 {resolved.sha256}, got {found}",
        help="the file there is not the one that was meant; check it, then correct `sha256:` or run `paictl lock`",
    )
