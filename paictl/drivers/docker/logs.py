"""What a container wrote: the last lines, and those to come. Reads them from the engine, whatever its log driver keeps."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import datetime

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
    if not follow:
        return (line for _, line in _lines(connection, container_id, follow=False, tail=max(0, tail)))
    # Read now, not at the first line that is asked for: what is written in between belongs to what is to come.
    past = list(_lines(connection, container_id, follow=False, tail=max(1, tail)))
    return _following(connection, container_id, past, max(0, tail), clock or SystemClock())


def _following(
    connection: Connection, container_id: str, past: list[tuple[str, str]], shown: int, clock: Clock
) -> Generator[str]:
    yield from (line for _, line in past[len(past) - min(shown, len(past)) :])
    last = max((stamp for stamp, _ in past), default="")
    while _stands(connection, container_id):
        for stamp, line in _lines(connection, container_id, follow=True, tail="all", since=last):
            if stamp > last:
                last = stamp
                yield line
        # It ended. What it writes after it started again comes with later stamps than the last one seen.
        clock.sleep(_POLL_SECONDS)


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
        # It takes seconds since 1970; those of the last line come once more, and are known by their stamps.
        query["since"] = int(datetime.fromisoformat(f"{since.partition('.')[0]}+00:00").timestamp())
    with (
        connection.told("reading a container's log"),
        closing(connection.follow(f"/containers/{container_id}/logs", **query)) as answer,
    ):
        frames = Frames()
        partial: dict[int, tuple[str, bytes]] = {}
        for content in answer.raw.stream(_CHUNK):
            for kind, frame in frames.feed(content):
                stamp, _, text = frame.partition(b" ")
                begun, before = partial.pop(kind, (stamp.decode("ascii", "replace"), b""))
                if text.endswith(b"\n"):
                    yield begun, (before + text).decode("utf-8", "replace").rstrip("\r\n")
                else:
                    partial[kind] = (begun, before + text)
        for begun, text in partial.values():
            yield begun, text.decode("utf-8", "replace")
