from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from paictl.engine import room_probe, verify


@pytest.mark.promise(23)
@pytest.mark.parametrize(
    "value", [b"p4-gGNv_7nQ0sXoYbq1kzF9d", b"hunter2!hunter2!", b"four words of prose", b"\x00\xff\n\x80 not text"]
)
def test_a_secret_is_found_wherever_it_stands_and_in_nothing_else(value: bytes) -> None:
    needle = verify._needle("it", value)
    around = os.urandom(4096)
    for content in (value, around + value, value + around, b"x" * 100 + value + b"x" * 100, b"a\n" + value + b"\n"):
        assert room_probe.contains(content, needle)
    for content in (b"", value[:-1], value[1:], value[:-1] + b"?", around, value.swapcase() + b"0"):
        assert not room_probe.contains(content, needle)


@pytest.mark.promise(23)
def test_what_the_room_is_told_of_a_secret_is_not_the_secret() -> None:
    told = json.dumps(verify._needle("it", b"correct-horse-battery"))
    assert "correct" not in told
    assert "horse" not in told
    assert json.dumps(verify._needle("it", b"correct-horse-battery")) != told


class _Closed(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _Closed) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made.server_port
        made.shutdown()
        thread.join()


def test_a_door_answers_by_path_and_by_address_and_a_strangers_tells_its_status(server: int, tmp_path: Path) -> None:
    path = str(tmp_path / "door")
    with socket.socket(socket.AF_UNIX) as listening, socket.socket() as bound:
        listening.bind(path)
        listening.listen()
        bound.bind(("127.0.0.1", 0))  # and listens not
        nobody = f"tcp:127.0.0.1:{bound.getsockname()[1]}"
        doors = [path, f"{path}er", f"tcp:127.0.0.1:{server}", nobody]
        assert [room_probe.opens(door) for door in doors] == [True, False, True, False]
        assert room_probe.greets(nobody) == "Connection refused"
    assert room_probe.greets(f"tcp:127.0.0.1:{server}") == "HTTP 401"


def test_an_address_tells_who_was_reached(server: int) -> None:
    assert room_probe.connect("127.0.0.1", server) == "connected"
    assert room_probe.connect("127.0.0.1", 1) == "Connection refused"
    assert room_probe.lookup("localhost") in {"127.0.0.1", "::1"}
    assert room_probe.lookup("nobody.invalid") == ""
