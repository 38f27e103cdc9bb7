"""What a container wrote: the last lines, and those to come. Reads them from the engine, whatever its log driver keeps."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing

from paictl.clock import Clock, SystemClock
from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.execution import Frames
from paictl.drivers.docker.troubles import EngineError

__all__ = ["last_lines", "tail"]

_CHUNK = 64 * 1024
_POLL_SECONDS = 0.5


def last_lines(connection: Connection, container_id: str, count: int) -> list[str]:
    """The last lines, for messages."""
    return list(tail(connection, container_id, count, follow=False))


def tail(
    connection: Connection, container_id: str, tail: int, *, follow: bool, clock: Clock | None = None
) -> Iterator[str]:
    """The last ``tail`` lines, and those to come when following: through restarts, until the container is gone."""
    last = ""
    for stamp, line in _lines(connection, container_id, follow=follow, tail=max(0, tail)):
        last = stamp
        yield line
    while follow and _stands(connection, container_id):
        # It ended. What it writes after it started again comes with later stamps than the last one seen.
        (clock or SystemClock()).sleep(_POLL_SECONDS)
        for stamp, line in _lines(connection, container_id, follow=True, tail="all", since=last.partition(".")[0]):
            if stamp > last:
                last = stamp
                yield line


def _stands(connection: Connection, container_id: str) -> bool:
    try:
        with connection.told("looking whether it still runs"):
            connection.api.inspect_container(container_id)
    except EngineError as error:
        if error.status != 404:
            raise
        return False
    return True


def _lines(
    connection: Connection, container_id: str, *, follow: bool, tail: int | str, since: str = ""
) -> Generator[tuple[str, str]]:
    """Each line with its stamp (RFC 3339 with nanoseconds, which sorts as text), the two streams kept apart."""
    query: dict[str, str | int] = {"stdout": 1, "stderr": 1, "timestamps": 1, "tail": tail, "follow": int(follow)}
    if since:
        query["since"] = f"{since}Z"
    with (
        connection.told("reading a container's log"),
        closing(connection.follow(f"/containers/{container_id}/logs", **query)) as answer,
    ):
        frames = Frames()
        partial: dict[int, tuple[str, bytes]] = {}
        while content := answer.raw.read1(_CHUNK):
            for kind, frame in frames.feed(content):
                stamp, _, text = frame.partition(b" ")
                begun, before = partial.pop(kind, (stamp.decode("ascii", "replace"), b""))
                if text.endswith(b"\n"):
                    yield begun, (before + text).decode("utf-8", "replace").rstrip("\r\n")
                else:
                    partial[kind] = (begun, before + text)
        for begun, text in partial.values():
            yield begun, text.decode("utf-8", "replace")
