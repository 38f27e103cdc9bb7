"""What a service wrote: the last lines of all its pods in their order, and those to come, through restarts and updates."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from datetime import UTC, datetime

from paictl.drivers.kubernetes.connection import Connection, Json
from paictl.drivers.kubernetes.kinds import POD
from paictl.drivers.kubernetes.troubles import ApiError
from paictl.errors import Unreachable

__all__ = ["tail"]

_POLL_SECONDS = 1.0
# Between a pod and its successor there may be none.
_WITHOUT_SECONDS = 15.0

Pods = Callable[[], list[Json]]
_Line = tuple[str, str]
"""When, and what."""


def tail(connection: Connection, pods: Pods, container: str, tail: int, *, follow: bool) -> Iterator[str]:
    """The last ``tail`` lines of a service, and those to come when following, of whichever pods it has then.

    Where it has several, each line begins with the last part of its pod's name. What a container wrote before it crashed counts.
    """
    source = _Source(connection, container)
    found = pods()
    past = sorted(
        ((stamp, _name(pod), line) for pod in found for stamp, line in source.past(pod, max(1, tail))),
        key=lambda one: one[0],
    )
    shown = [_shown(found, name, line) for _, name, line in past[len(past) - min(tail, len(past)) :]]
    if not follow:
        return iter(shown)
    last = {name: stamp for stamp, name, _ in past}
    return _following(source, pods, shown, last)


class _Source:
    """One container's lines of any pod."""

    def __init__(self, connection: Connection, container: str) -> None:
        self._connection = connection
        self._container = container

    def past(self, pod: Json, wanted: int) -> list[_Line]:
        """The last lines; of the container before, too, when this one crashed not long ago."""
        with suppress(ApiError):  # its container may not have begun
            now = list(self.lines(pod, tailLines=wanted))
            if len(now) < wanted and self._restarted(pod):
                with suppress(ApiError):  # the node has cleared it away
                    now[:0] = self.lines(pod, tailLines=wanted - len(now), previous="true")
            return now
        return []

    def lines(self, pod: Json, **query: object) -> Iterator[_Line]:
        """Each line with its stamp, RFC 3339 in UTC with nine digits of a second, which sorts as text."""
        path = f"{POD.path(pod['metadata']['namespace'], pod['metadata']['name'])}/log"
        asked = {"container": self._container, "timestamps": "true", **query}
        rest = b""
        for piece in self._connection.follow(path, "reading a log", **asked):
            *whole, rest = (rest + piece).split(b"\n")
            yield from map(_stamped, whole)
        if rest:
            yield _stamped(rest)

    def _restarted(self, pod: Json) -> bool:
        states = (pod.get("status") or {}).get("containerStatuses") or ()
        return any(one["name"] == self._container and one.get("restartCount") for one in states)


def _following(source: _Source, pods: Pods, shown: list[str], last: dict[str, str]) -> Generator[str]:
    """Every pod is read by a thread of its own, from where its past ended; over when there has been none for a while."""
    lines: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
    readers: dict[str, threading.Thread] = {}
    ended, seen = threading.Event(), time.monotonic()
    yield from shown
    try:
        while time.monotonic() - seen < _WITHOUT_SECONDS:
            found = pods()
            seen = time.monotonic() if found else seen
            for pod in found:
                name = _name(pod)
                if name not in readers or not readers[name].is_alive():
                    arguments = (source, pod, last, lines, ended)
                    readers[name] = threading.Thread(target=_read, args=arguments, daemon=True)
                    readers[name].start()
            for name, line in _coming(lines, time.monotonic() + _POLL_SECONDS):
                yield _shown(found, name, line)
    finally:
        ended.set()


def _read(
    source: _Source,
    pod: Json,
    last: dict[str, str],
    lines: queue.SimpleQueue[tuple[str, str]],
    ended: threading.Event,
) -> None:
    name = _name(pod)
    since = last.get(name, "")
    query = {"sinceTime": f"{since[:19]}Z"} if since else {}
    # A container that has not begun, a connection that broke off: whoever follows asks again.
    with suppress(ApiError, Unreachable):
        for stamp, line in source.lines(pod, follow="true", **query):
            if ended.is_set():
                return
            if stamp > since:
                last[name] = stamp
                lines.put((name, line))


def _coming(lines: queue.SimpleQueue[tuple[str, str]], deadline: float) -> Iterator[tuple[str, str]]:
    with suppress(queue.Empty):
        while (left := deadline - time.monotonic()) > 0:
            yield lines.get(timeout=left)


def _shown(pods: list[Json], name: str, line: str) -> str:
    living = [one for one in pods if not one["metadata"].get("deletionTimestamp")]
    return f"{name.rpartition('-')[2]}  {line}" if len(living) > 1 else line


def _name(pod: Json) -> str:
    return str(pod["metadata"]["name"])


def _stamped(line: bytes) -> _Line:
    stamp, _, text = line.partition(b" ")
    return _in_utc(stamp.decode("ascii", "replace")), text.decode("utf-8", "replace").rstrip("\r")


def _in_utc(stamp: str) -> str:
    """Nodes write their own zone's time."""
    if stamp.endswith("Z"):
        return stamp
    try:
        seconds, digits = datetime.fromisoformat(stamp).astimezone(UTC), stamp.partition(".")[2][:9]
    except ValueError:
        return stamp
    return f"{seconds:%Y-%m-%dT%H:%M:%S}.{digits}Z"
