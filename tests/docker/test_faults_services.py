"""Services that don't do what they are for: each is told with its last words, at once where waiting can't help."""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paictl.assets import asset
from paictl.errors import PartlyApplied
from tests.docker.conftest import Reached
from tests.docker.desk import Desk, made_desk
from tests.ports import free_port
from tests.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.slow]

# Well below what is waited for a service that may still come.
_SOON_SECONDS = 40.0
_NEVER_ASKED = {"test": ["NONE"]}


@pytest.fixture
def desk(engine: Reached, tmp_path: Path) -> Iterator[Desk]:
    with made_desk(engine, tmp_path) as made:
        yield made


def _script(text: str) -> list[str]:
    return ["sh", "-c", text]


@pytest.mark.promise(8)
def test_one_that_crashes_at_once_is_told_with_its_last_words_long_before_the_time_is_up(desk: Desk) -> None:
    begun = time.monotonic()
    crashing = _script("echo the table is missing; echo giving up; exit 7")
    resources = [*desk.alone(timeout=300.0, command=crashing), desk.stack.service("outer", "service/inner")]
    error, told = desk.refused(resources, PartlyApplied)
    assert time.monotonic() - begun < _SOON_SECONDS
    assert "it can't become healthy: it ended again and again right after its start, with exit status 7" in told
    assert told.splitlines()[1:] == ["  the table is missing", "  giving up"]
    assert "create service/inner failed" in error.summary
    assert "giving up" in error.summary
    assert "paictl status" in error.help
    assert not desk.api.containers(all=True, filters={"name": [desk.container("outer")]})
    desk.apply([*desk.alone(), desk.stack.service("outer", "service/inner")])
    assert desk.reconciler().status().ready


@pytest.mark.promise(8)
def test_one_that_needs_more_memory_than_it_has_is_told_its_limit(desk: Desk) -> None:
    greedy = ["python3", "-c", "print('reading the model', flush=True); bytearray(300 << 20)"]
    _, told = desk.refused(desk.alone(timeout=300.0, command=greedy), PartlyApplied)
    assert "for want of memory (its limit is 64 MiB)" in told
    assert "reading the model" in told


@pytest.mark.promise(8)
def test_one_that_stays_up_a_moment_and_ends_is_never_taken_for_stable(desk: Desk) -> None:
    # Without a check of its own it looks well as long as it runs, and between two looks it may have been restarted.
    flapping = _script("echo $(date +%N) started; sleep 0.6; echo lost the connection; exit 0")
    _, told = desk.refused(desk.alone(timeout=12.0, command=flapping, healthcheck=_NEVER_ASKED), PartlyApplied)
    assert "ended" in told
    assert "lost the connection" in told
    assert not desk.reconciler().status().ready


@pytest.mark.promise(8)
def test_one_that_never_gets_ready_is_told_with_what_its_check_and_its_log_say(desk: Desk) -> None:
    check = {"test": ["CMD", "sh", "-c", "echo no index yet; exit 1"], "interval": "1s", "start_period": "60s"}
    slow = _script("echo building the index; exec sleep infinity")
    _, told = desk.refused(desk.alone(timeout=3.0, command=slow, healthcheck=check), PartlyApplied)
    assert "it was not healthy and stable after 3 s (starting): no index yet" in told
    assert told.splitlines()[-1] == "  building the index"
    status = desk.status("service/inner")
    assert (status.state, status.health.state) == ("starting", "starting")


def test_one_that_gets_ill_later_is_seen_with_its_log_and_mended_by_an_apply_once_it_is_well(desk: Desk) -> None:
    check = {"test": ["CMD", "test", "!", "-e", "/tmp/ill"], "interval": "1s", "timeout": "5s", "retries": 1}
    ailing = _script("trap exit TERM; touch /tmp/ready; echo all well; while sleep 0.1; do :; done")
    resources = desk.alone(timeout=3.0, command=ailing, healthcheck=check)
    desk.apply(resources)
    _run(desk, "touch /tmp/ill")
    until(lambda: desk.inspect()["State"]["Health"]["Status"] == "unhealthy", "the engine sees it")
    health = desk.status("service/inner").health
    assert (health.state, health.terminal) == ("unhealthy", False)
    assert health.detail == "its health check fails: exit 1\n  all well"
    _, told = desk.refused(resources, PartlyApplied)
    assert "its health check fails" in told
    _run(desk, "rm /tmp/ill")
    desk.apply(resources)
    assert desk.reconciler().status().ready


def test_one_whose_program_the_image_lacks_is_told_by_its_name_and_made_anew_by_the_next_apply(desk: Desk) -> None:
    error, told = desk.refused(desk.alone(command=["nosuchprogram"], init=False), PartlyApplied)
    assert "nosuchprogram" in told
    assert "nosuchprogram" in error.summary
    assert "never started" in desk.status("service/inner").health.detail or desk.inspect()["State"]["Error"]
    desk.apply(desk.alone())
    assert desk.reconciler().status().ready


@pytest.mark.promise(8)
def test_one_that_once_crashed_a_few_times_may_crash_again_without_being_given_up(desk: Desk) -> None:
    # The engine counts restarts over a container's whole life.
    patient = _script("trap exit TERM; touch /tmp/ready; while sleep 0.1; do :; done")
    resources = desk.alone(command=patient)
    desk.apply(resources)
    for count in (1, 2, 3):
        began = desk.inspect()["State"]["StartedAt"]
        _run(desk, "kill -9 -1")
        until(lambda: desk.inspect()["RestartCount"] >= count, f"restart {count}")  # noqa: B023 - called at once
        until(lambda: desk.inspect()["State"]["StartedAt"] != began, "its start")  # noqa: B023 - called at once
    here = desk.driver.connection.engine()
    for engine in (here, replace(here, local=False)):  # one elsewhere is asked for its own time
        desk.driver.connection._engine = engine
        health = desk.driver.probe(resources[-1])
        assert (health.state, health.terminal) == ("unhealthy", False), "an apply waits for it"
        assert "it ended by itself and was started again (3 times)" in health.detail


def test_a_port_that_is_taken_in_the_last_moment_is_told_and_free_it_is_published(desk: Desk) -> None:
    port = free_port()
    image, network, service = desk.alone(ports=[f"127.0.0.1:{port}:80"])
    open_ = replace(network, spec={**network.spec, "internal": False, "options": {}})
    with socket.create_server(("127.0.0.1", port)):
        error, told = desk.refused([image, open_, service], PartlyApplied)
    assert f"127.0.0.1:{port}" in error.summary
    assert "address already in use" in told
    assert "Free that port" in told
    desk.apply([image, open_, service])
    assert desk.plan([image, open_, service]) == ""
    assert desk.inspect()["NetworkSettings"]["Ports"]["80/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": str(port)}]


def test_one_whose_gateway_can_t_say_yet_how_it_is_counts_as_well_by_being_alive(desk: Desk) -> None:
    check = {"test": ["CMD", "sh", "-c", "test ! -e /tmp/said || { cat /tmp/said >&2; exit 1; }"], "interval": "1s"}
    waiting: dict[str, Any] = {
        "command": _script("trap exit TERM; while sleep 0.1; do :; done"),
        "healthcheck": {**check, "retries": 1},
    }
    *others, agent = desk.alone(environment={"PAICTL_HEALTH": "http://gateway:8701/healthz/agent"}, **waiting)
    door = desk.stack.service("outer", environment={"PAICTL_HEALTH": "http://127.0.0.1:8700/healthz"}, **waiting)
    desk.apply([*others, agent, door])
    seen = {}
    for code in (404, 401, 503):
        said = _said_of(code)
        for service in ("inner", "outer"):
            _run(desk, f"echo '{said}' >/tmp/said", service)
            until(lambda: desk.inspect(service)["State"]["Health"]["Status"] == "unhealthy", "the engine's look")  # noqa: B023 - called at once
        seen[code] = [desk.driver.probe(one).state for one in (agent, door)]
    assert seen == {
        404: ["healthy", "unhealthy"],
        401: ["healthy", "unhealthy"],
        503: ["unhealthy", "unhealthy"],
    }


def _said_of(code: int) -> str:
    """What the image's own health check says of a gateway that answers so."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(code)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/healthz/agent"
        command = [sys.executable, "-I", str(asset("templates", "docker", "health.py"))]
        environment = {"PAICTL_HEALTH": url}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stderr.strip()


def _run(desk: Desk, script: str, service: str = "inner") -> None:
    desk.api.exec_start(desk.api.exec_create(desk.container(service), ["sh", "-c", script])["Id"])
