from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from paictl.drivers.docker import execution
from paictl.drivers.docker.connection import Connection, connect
from paictl.drivers.docker.troubles import EngineError
from paictl.errors import PaictlError
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


@pytest.fixture
def container(connection: Connection) -> Iterator[str]:
    with running(connection, ["sleep", "infinity"]) as made:
        yield made


def _commands(connection: Connection, container: str) -> list[str]:
    return [line[-1] for line in connection.api.top(container)["Processes"]]


def test_output_errors_and_exit_code_come_back_apart(connection: Connection, container: str) -> None:
    result = execution.run(connection, container, ["sh", "-c", "cat; echo wrong >&2; exit 7"], b"in\n")
    assert (result.code, result.stdout, result.stderr) == (7, b"in\n", b"wrong\n")


def test_large_input_and_output_pass_at_once(connection: Connection, container: str) -> None:
    content = os.urandom(1_000_000)
    result = execution.run(connection, container, ["sh", "-c", "cat; head -c 10000000 /dev/zero"], content)
    assert result.stdout[:1_000_000] == content
    assert len(result.stdout) == 11_000_000


def test_a_command_that_reads_nothing_is_no_error(connection: Connection, container: str) -> None:
    result = execution.run(connection, container, ["sh", "-c", "exec <&-; echo done; exit 4"], b"x" * 1_000_000)
    assert (result.code, result.stdout) == (4, b"done\n")


@pytest.mark.promise(23)
def test_what_is_given_as_input_stands_in_no_argument_and_no_environment(
    connection: Connection, container: str
) -> None:
    script = "read secret; tr '\\0' '\\n' </proc/$$/environ; tr '\\0' ' ' </proc/$$/cmdline"
    result = execution.run(
        connection, container, ["sh", "-c", script], b"hunter2-canary\n", environment={"PLACE": "room"}
    )
    assert b"PLACE=room" in result.stdout
    assert b"read secret" in result.stdout
    assert b"canary" not in result.stdout


def test_a_command_that_never_ends_is_told_and_ended(connection: Connection, container: str) -> None:
    begun = time.monotonic()
    with pytest.raises(PaictlError, match="sh did not end within 1 s"):
        execution.run(connection, container, ["sh", "-c", "sleep 4711 & sleep 4712"], timeout=1)
    assert time.monotonic() - begun < 10
    until(lambda: not any("sleep 471" in one for one in _commands(connection, container)), "an end of what it started")
    assert any("sleep infinity" in one for one in _commands(connection, container))


def test_a_program_that_is_not_there_is_told(connection: Connection, container: str) -> None:
    with pytest.raises(EngineError, match=r"while starting no-such-program in a container: .*not found"):
        execution.run(connection, container, ["no-such-program"])


def test_a_container_that_does_not_run_is_told(connection: Connection, container: str) -> None:
    connection.api.stop(container, timeout=0)
    with pytest.raises(EngineError, match=r"is not running") as told:
        execution.run(connection, container, ["true"])
    assert told.value.status == 409


def test_many_commands_at_once_keep_their_output_apart(connection: Connection, container: str) -> None:
    def echoed(number: int) -> bytes:
        return execution.run(connection, container, ["cat"], str(number).encode()).stdout

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(echoed, range(24))) == [str(number).encode() for number in range(24)]


@pytest.mark.promise(24)
def test_a_command_is_as_confined_as_its_container(connection: Connection) -> None:
    confined = {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges"], "read_only": True, "network_mode": "none"}
    script = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/$0/status; readlink /proc/$0/ns/* | sort"
    with running(connection, ["sleep", "infinity"], **confined) as container:
        first, ours = (
            execution.run(connection, container, ["sh", "-c", script, which]).stdout.decode() for which in ("1", "self")
        )
        assert first == ours
        assert "CapBnd:\t0000000000000000\n" in ours
        assert "CapEff:\t0000000000000000\n" in ours
        assert "NoNewPrivs:\t1\n" in ours
        assert "Seccomp:\t2\n" in ours
        written = execution.run(connection, container, ["sh", "-c", "echo x >/x"])
        assert written.code != 0
        assert b"Read-only file system" in written.stderr
