"""What a service wrote: the last lines, and those to come, through restarts and updates. Reads them from the cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress

from paictl.clock import Clock, SystemClock
from paictl.drivers.kubernetes.connection import Connection, Json
from paictl.drivers.kubernetes.kinds import POD
from paictl.drivers.kubernetes.troubles import ApiError

__all__ = ["tail"]

_POLL_SECONDS = 0.5

Pods = Callable[[], list[Json]]


def tail(
    connection: Connection, pods: Pods, container: str, tail: int, *, follow: bool, clock: Clock | None = None
) -> Iterator[str]:
    """The last ``tail`` lines of the youngest pod, and those to come when following, of whichever pod is the youngest then."""
    if not follow:
        return (line for _, line in _youngest(connection, pods, container, tail))
    past = list(_youngest(connection, pods, container, max(1, tail)))
    return _following(connection, pods, container, past, max(0, tail), clock or SystemClock())


def _youngest(connection: Connection, pods: Pods, container: str, tail: int) -> list[tuple[str, str]]:
    found = pods()
    if not found or tail <= 0:
        return []
    with suppress(ApiError):  # its container may not have begun
        return list(_lines(connection, found[-1], container, follow=False, tailLines=tail))
    return []


def _following(
    connection: Connection, pods: Pods, container: str, past: list[tuple[str, str]], shown: int, clock: Clock
) -> Generator[str]:
    yield from (line for _, line in past[len(past) - min(shown, len(past)) :])
    last = max((stamp for stamp, _ in past), default="")
    while found := pods():
        query = {"sinceTime": f"{last[:19]}Z"} if last else {}
        with suppress(ApiError):
            for stamp, line in _lines(connection, found[-1], container, follow=True, **query):
                if stamp > last:
                    last = stamp
                    yield line
        clock.sleep(_POLL_SECONDS)


def _lines(
    connection: Connection, pod: Json, container: str, *, follow: bool, **query: object
) -> Iterator[tuple[str, str]]:
    """Each line with its stamp, RFC 3339 in UTC, which sorts as text."""
    path = f"{POD.path(pod['metadata']['namespace'], pod['metadata']['name'])}/log"
    asked = {"container": container, "timestamps": "true", "follow": str(follow).lower(), **query}
    rest = b""
    for piece in connection.follow(path, "reading a log", **asked):
        *whole, rest = (rest + piece).split(b"\n")
        yield from map(_stamped, whole)
    if rest:
        yield _stamped(rest)


def _stamped(line: bytes) -> tuple[str, str]:
    stamp, _, text = line.partition(b" ")
    return stamp.decode("ascii", "replace"), text.decode("utf-8", "replace").rstrip("\r")
