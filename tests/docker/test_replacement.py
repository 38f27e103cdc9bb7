"""A service that holds nothing is replaced while somebody asks it all the time, and no question fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from paictl.drivers.docker.execution import run
from paictl.errors import PartlyApplied
from tests.docker.conftest import Reached
from tests.docker.small import Small, made_small, service
from tests.ports import free_port
from tests.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.promise(11)]

# As model servers do: it listens at once and says that it is not ready while it loads; told to end, it ends what it has begun.
_SERVER = """
import http.server, json, os, signal, threading, time
say = json.load(open("/srv/paictl/config/model/model.json"))["say"]
ready = threading.Event()
busy = set()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        busy.add(self)
        try: self.answer()
        finally: busy.discard(self)
    def answer(self):
        content = say.encode()
        self.send_response(200 if ready.is_set() else 503)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        time.sleep(0.01)
        self.wfile.write(content)
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
server = Server(("0.0.0.0", 8080), Handler)
def end():
    server.shutdown()
    server.server_close()
    while busy: time.sleep(0.01)
    os._exit(0)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=end).start())
def load():
    time.sleep(1)
    if say == "broken":
        print("the weights are no model", flush=True)
        os._exit(7)
    ready.set()
    open("/tmp/ready", "w").close()
threading.Thread(target=load).start()
server.serve_forever()
signal.pause()
"""
# One that connects for each question, and one that keeps its connection. Both do as the gateway does: where a connection ended
# before a byte of an answer, they ask once more on a new one.
_CLIENT = """
import http.client, json, os, threading
said, failed = {}, []
def ask(connection):
    connection.request("GET", "/")
    answer = connection.getresponse()
    content = answer.read().decode()
    if answer.status != 200: raise OSError(f"{answer.status} from {content}")
    said[content] = said.get(content, 0) + 1
def connected(): return http.client.HTTPConnection("model", 8080, timeout=10)
def twice(connection):
    try: ask(connection)
    except (ConnectionResetError, BrokenPipeError):  # http.client.RemoteDisconnected is one of these
        connection = connected()
        ask(connection)
    return connection
def anew(): twice(connected()).close()
kept = [connected()]
def keeping(): kept[0] = twice(kept[0])
def go_on(one):
    while not os.path.exists("/tmp/enough"):
        try: one()
        except Exception as error: failed.append(f"{one.__name__}: {error!r}")
threads = [threading.Thread(target=go_on, args=[one]) for one in (anew, keeping)]
open("/tmp/begun", "w").close()
for one in threads: one.start()
for one in threads: one.join()
os.remove("/tmp/enough"); os.remove("/tmp/begun")
print(json.dumps({"said": said, "failed": failed}))
"""


@dataclass
class Asked:
    """What the questions came to, once nobody asks any more."""

    said: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def small(engine: Reached, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    with (
        pytest.MonkeyPatch.context() as patch,
        made_small(engine.api, tmp_path_factory.mktemp("replacement"), free_port()) as made,
    ):
        patch.setenv("DOCKER_HOST", engine.host)
        yield made


def _says(small: Small, say: str) -> None:
    small.services = {"model": service("model", ("python3", "-c", _SERVER), config={"say": say})}


@contextmanager
def _asking(small: Small) -> Iterator[Asked]:
    """Somebody on the model's network asks it by its name, as often as it answers."""
    asked, connection, door = Asked(), small.stack.driver().connection, small.container("door")

    def ask() -> None:
        done = run(connection, door, ["python3", "-c", _CLIENT])
        asked.__dict__.update(json.loads(done.stdout) if done.code == 0 else {"failed": [done.stderr.decode()]})

    asking = threading.Thread(target=ask)
    asking.start()
    other = small.stack.driver().connection
    until(lambda: run(other, door, ["test", "-e", "/tmp/begun"]).code == 0, "it asks")
    try:
        yield asked
    finally:
        run(other, door, ["touch", "/tmp/enough"])
        asking.join(30)


def test_nobody_who_asks_notices_that_a_service_is_replaced(small: Small) -> None:
    _says(small, "one")
    small.apply()
    _says(small, "two")
    assert [line.partition(" because ")[0] for line in small.plan()] == ["+ service/model", "- service/model"]
    assert "downtime" not in str(small.plan())
    with _asking(small) as asked:
        small.apply()
    assert asked.failed == []
    # Both were asked, the old one until the end: how often the new one, before the asking ends, is a matter of moments.
    assert asked.said.keys() == {"one", "two"}
    assert asked.said["one"] > 20
    assert small.plan() == []
    assert len(small.containers("model")) == 1


def test_a_successor_that_fails_is_told_and_the_old_one_goes_on_serving(small: Small) -> None:
    _says(small, "kept")
    small.apply()
    _says(small, "broken")
    with _asking(small) as asked:
        with pytest.raises(PartlyApplied, match="the weights are no model"):
            small.apply()
        # Tried again with the same, it fails the same way; nobody has ended the old one meanwhile.
        with pytest.raises(PartlyApplied):
            small.apply()
    assert asked.failed == []
    assert asked.said.keys() == {"kept"}
    _says(small, "mended")
    with _asking(small) as asked:
        small.apply()
    assert asked.failed == []
    assert {*asked.said} == {"kept", "mended"}
    assert small.plan() == []
    assert len(small.containers("model")) == 1


def test_going_back_after_a_failed_successor_leaves_the_old_one_alone(small: Small) -> None:
    _says(small, "kept")
    small.apply()
    [standing] = small.containers("model")
    _says(small, "broken")
    with pytest.raises(PartlyApplied):
        small.apply()
    _says(small, "kept")
    with _asking(small) as asked:
        small.apply()
    assert asked.failed == []
    assert asked.said.keys() == {"kept"}
    assert [one["Id"] for one in small.containers("model")] == [standing["Id"]]


def test_of_what_holds_data_or_has_a_port_the_plan_says_downtime_beforehand(small: Small) -> None:
    _says(small, "kept")
    small.apply()
    small.port = free_port()
    assert small.plan() == ["~ service/door because ports, url changed; downtime"]
