from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from paictl.drivers.docker import logs
from paictl.drivers.docker.connection import Connection, connect
from paictl.drivers.docker.empty_image import tar_of
from paictl.drivers.docker.troubles import EngineError
from tests.docker.conftest import Reached
from tests.docker.trial import running
from tests.waiting import until

pytestmark = pytest.mark.docker


@pytest.fixture
def connection(engine: Reached, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    made = connect()
    yield made
    made.close()


def _ended(connection: Connection, container: str) -> None:
    until(lambda: not connection.api.inspect_container(container)["State"]["Running"], "the container's end")


def test_the_last_lines_are_whole_in_order_and_text_whatever_was_written(connection: Connection) -> None:
    script = r"printf 'one\n\n  two\r\n'; printf '\377\303\244\n'; head -c 40000 /dev/zero | tr '\0' x; printf '\nlast'"
    with running(connection, ["sh", "-c", script]) as container:
        _ended(connection, container)
        assert logs.last_lines(connection, container, 50) == ["one", "", "  two", "\ufffdä", "x" * 40000, "last"]
        assert logs.last_lines(connection, container, 1) == ["last"]
        assert logs.last_lines(connection, container, 0) == []


def test_what_goes_to_both_streams_stays_apart_line_by_line(connection: Connection) -> None:
    script = "for i in 1 2 3; do printf out; printf 'error\\n' >&2; printf 'put\\n'; done"
    with running(connection, ["sh", "-c", script]) as container:
        _ended(connection, container)
        assert sorted(logs.last_lines(connection, container, 50)) == ["error"] * 3 + ["output"] * 3


def test_following_gives_each_line_once_through_restarts_until_the_container_is_gone(connection: Connection) -> None:
    script = "for one in 1 2; do cat /proc/sys/kernel/random/uuid; sleep 0.2; done"
    with running(connection, ["sh", "-c", script], restart_policy={"Name": "always"}) as container:
        until(lambda: len(logs.last_lines(connection, container, 9)) >= 2, "two lines")
        lines = logs.tail(connection, container, 1, follow=True)
        seen = list(itertools.islice(lines, 4))  # it restarts by itself meanwhile
        connection.api.stop(container, timeout=0)
        connection.api.start(container)
        seen += itertools.islice(lines, 4)
        written = logs.last_lines(connection, container, 1000)
        begin = written.index(seen[0])
        assert seen == written[begin : begin + 8]
        connection.api.remove_container(container, force=True)
        assert not set(lines) & set(seen)


def test_following_without_the_past_begins_with_what_comes_next(connection: Connection) -> None:
    script = "echo old; echo older; while ! test -e /go; do sleep 0.05; done; echo new; exec sleep infinity"
    with running(connection, ["sh", "-c", script]) as container:
        until(lambda: len(logs.last_lines(connection, container, 9)) == 2, "two lines")
        lines = logs.tail(connection, container, 0, follow=True)
        connection.api.put_archive(container, "/", tar_of({"go": b""}))
        assert next(lines) == "new"


def test_a_container_that_is_not_there_is_told(connection: Connection) -> None:
    with pytest.raises(EngineError, match="No such container") as told:
        logs.last_lines(connection, "nobody", 5)
    assert told.value.status == 404
