from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from paictl.drivers.kubernetes.connection import Connection
from paictl.drivers.kubernetes.driver import KubernetesDriver
from paictl.drivers.kubernetes.troubles import ApiError
from paictl.engine.model import Address, Observed, Step
from paictl.errors import Unreachable
from paictl.events import Event
from tests.drivers.kubernetes.apiserver import CUT, Answer, Asked, Server, serving, tunnel
from tests.engine.graphs import no_secrets
from tests.kubernetes.certificates import Authority

_BUSY = Answer(429, {"kind": "Status", "message": "too many requests"}, {"Retry-After": "0"})
_UNKNOWN = Answer(401, {"kind": "Status", "message": "Unauthorized"})

# What gives a plugin's answer, and counts how often it was asked.
_PLUGIN = """
import json, os, sys
asked = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
with open("asked", "a") as log:
    log.write(json.dumps([asked, os.environ.get("FLAVOUR"), sys.argv[1:]]) + "\\n")
with open("asked") as log:
    number = len(log.readlines())
status = json.load(open("status"))
if "token" in status:
    status["token"] += str(number)
print(json.dumps({"apiVersion": asked["apiVersion"], "kind": "ExecCredential", "status": status}))
"""


def _fine(_: Asked) -> Answer:
    return Answer(body={"fine": True})


class World:
    """A kubeconfig in a folder of its own, and what is served there."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.answer: Callable[[Asked], Answer] = _fine
        self.made: list[Connection] = []
        monkeypatch.setenv("KUBECONFIG", str(folder / "config"))
        for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)

    def served(self, asked: Asked) -> Answer:
        return self.answer(asked)

    def connection(self, server: Server, user: dict[str, Any], /, **cluster: Any) -> Connection:
        about = {"server": server.url, "certificate-authority": "keys/ca.crt", **cluster}
        written = {
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [{"name": "it", "cluster": {key: value for key, value in about.items() if value != ""}}],
            "users": [{"name": "it", "user": user}],
        }
        (self.folder / "config").write_text(json.dumps(written), encoding="utf-8")
        self.made.append(Connection())
        return self.made[-1]

    def plugin(self, monkeypatch: pytest.MonkeyPatch, status: dict[str, Any], **more: Any) -> dict[str, Any]:
        """A user whose credentials a program hands out."""
        monkeypatch.chdir(self.folder)
        (self.folder / "status").write_text(json.dumps(status), encoding="utf-8")
        (self.folder / "plugin").write_text(f"#!{sys.executable}\n{_PLUGIN}", encoding="utf-8")
        (self.folder / "plugin").chmod(0o700)
        version = "client.authentication.k8s.io/v1"
        return {"exec": {"apiVersion": version, "command": "./plugin", "interactiveMode": "Never", **more}}

    def plugin_asked(self) -> list[Any]:
        return [json.loads(line) for line in (self.folder / "asked").read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path, monkeypatch)
    yield made
    for one in made.made:
        one.close()


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    with serving(world.folder / "keys", world.served) as made:
        yield made


def test_a_token_is_sent_and_a_token_of_a_file_is_read_whenever_it_is_needed(world: World, server: Server) -> None:
    (world.folder / "token").write_text("one\n", encoding="utf-8")
    connection = world.connection(server, {"token": "none", "tokenFile": "token"})
    assert connection.ask("/a", "asking") == {"fine": True}
    (world.folder / "token").write_text("two\n", encoding="utf-8")
    connection.ask("/b", "asking")
    assert [one.header("Authorization") for one in server.asked] == [["Bearer one"], ["Bearer two"]]
    assert len({one.connection for one in server.asked}) == 1


def test_a_name_with_a_password_is_sent_as_such(world: World, server: Server) -> None:
    world.connection(server, {"username": "me", "password": "pä"}).ask("/a", "asking")
    (sent,) = server.asked[0].header("Authorization")
    assert base64.b64decode(sent.removeprefix("Basic ")).decode() == "me:pä"


def test_whoever_acts_for_somebody_else_does_so_with_each_request(world: World, server: Server) -> None:
    user = {"token": "t", "as": "ines", "as-uid": "7", "as-groups": ["a", "b"], "as-user-extra": {"x/y": ["1", "2"]}}
    world.connection(server, user).send("PATCH", "/a", "asking", {"b": 1})
    asked = server.asked[0]
    assert asked.header("Impersonate-User") == ["ines"]
    assert asked.header("Impersonate-Uid") == ["7"]
    assert asked.header("Impersonate-Group") == ["a", "b"]
    assert asked.header("Impersonate-Extra-x%2Fy") == ["1", "2"]
    assert json.loads(asked.body) == {"b": 1}


def test_a_certificate_of_the_user_is_shown(world: World, server: Server) -> None:
    # The authority that the server trusts signs it: read before another one takes its place.
    keys = world.folder / "keys"
    trusted = (keys / "ca.crt").read_bytes()
    Authority(world.folder / "other").issue("ines")
    connection = world.connection(
        server,
        {
            "client-certificate": "keys/server.crt",
            "client-key-data": base64.encodebytes((keys / "server.key").read_bytes()).decode(),
        },
        **{"certificate-authority": "", "certificate-authority-data": base64.encodebytes(trusted).decode()},
    )
    connection.ask("/a", "asking")
    assert server.asked[0].subject == "server"
    strange = world.connection(
        server, {"client-certificate": "other/ines.crt", "client-key": "other/ines.key", "token": "t"}
    )
    with pytest.raises(Unreachable):
        strange.ask("/a", "asking")


def test_another_authority_is_not_trusted_unless_nothing_is_to_be_verified(world: World, server: Server) -> None:
    Authority(world.folder / "other")
    with pytest.raises(Unreachable, match="its certificate is not trusted"):
        world.connection(server, {}, **{"certificate-authority": "other/ca.crt"}).ask("/a", "asking")
    open_ = {"certificate-authority": "", "insecure-skip-tls-verify": True}
    assert world.connection(server, {}, **open_).ask("/a", "asking") == {"fine": True}
    with pytest.raises(Unreachable, match="wants its certificate not to be verified"):
        world.connection(server, {}, **{"insecure-skip-tls-verify": True}).ask("/a", "asking")


def test_that_nothing_is_verified_is_told_once_before_anything_is_sent(world: World, server: Server) -> None:
    open_ = {"certificate-authority": "", "insecure-skip-tls-verify": True}
    driver = KubernetesDriver(world.connection(server, {}, **open_))
    told: list[Event] = []
    observed = Observed(Address("here", "kubernetes", "configmap", "it"), "mine", {"agent": "one", "kind": "ConfigMap"})
    world.answer = lambda _: Answer(404)
    step = Step("1", observed.address, "delete", "nothing asks for it", observed=observed)
    for _ in range(2):
        driver.act(step, secrets=no_secrets, emit=told.append)
    (warning,) = told
    assert "insecure-skip-tls-verify" in str(warning.data["text"])


def test_a_server_is_known_by_the_name_that_the_kubeconfig_says(world: World) -> None:
    with serving(world.folder / "keys", world.served, name="inside.example") as server:
        named = {"tls-server-name": "inside.example"}
        assert world.connection(server, {}, **named).ask("/a", "asking") == {"fine": True}
        with pytest.raises(Unreachable, match="not trusted"):
            world.connection(server, {}, **{"tls-server-name": "other.example"}).ask("/a", "asking")


def test_a_server_may_have_an_address_of_ipv6_and_stand_below_a_path(world: World) -> None:
    with serving(world.folder / "keys", world.served, host="::1") as server:
        world.connection(server, {}, server=f"{server.url}/k8s/one").ask("/api", "asking", limit=1)
        assert server.asked[0].path == "/k8s/one/api?limit=1"
        assert server.asked[0].header("Host") == [server.place]


def test_a_proxy_of_the_kubeconfig_is_gone_through(world: World, server: Server) -> None:
    with tunnel(server) as (proxy, lines):
        world.connection(server, {"token": "t"}, **{"proxy-url": proxy}).ask("/a", "asking")
        world.made[-1].close()
    assert lines[0] == f"CONNECT {server.place} HTTP/1.1"
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'''me:it's''').decode()}" in lines


@pytest.mark.parametrize("kind", ["https", "socks5"])
def test_a_proxy_of_another_kind_is_refused_with_the_reason(world: World, server: Server, kind: str) -> None:
    connection = world.connection(server, {}, **{"proxy-url": f"{kind}://proxy.example:1"})
    with pytest.raises(Unreachable, match=f"{kind}://proxy.example, a kind of proxy that paictl does not speak"):
        connection.ask("/a", "asking")


def test_a_program_is_told_of_the_cluster_and_asked_once(
    world: World, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}
    environment = [{"name": "FLAVOUR", "value": "mild"}]
    user = world.plugin(monkeypatch, {"token": "t"}, args=["a"], env=environment, provideClusterInfo=True)
    connection = world.connection(server, user, extensions=[extension], **{"tls-server-name": "localhost"})
    connection.ask("/a", "asking")
    connection.ask("/b", "asking")
    assert [one.header("Authorization") for one in server.asked] == [["Bearer t1"]] * 2
    ((asked, flavour, arguments),) = world.plugin_asked()
    assert (flavour, arguments, asked["spec"]["interactive"]) == ("mild", ["a"], False)
    assert asked["spec"]["cluster"]["server"] == server.url
    assert asked["spec"]["cluster"]["tls-server-name"] == "localhost"
    assert asked["spec"]["cluster"]["config"] == {"audience": "x"}


def test_what_has_expired_is_asked_for_again(world: World, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=5)).isoformat().replace("+00:00", "Z")
    user = world.plugin(monkeypatch, {"token": "t", "expirationTimestamp": soon})
    connection = world.connection(server, user)
    connection.ask("/a", "asking")
    connection.ask("/b", "asking")
    assert [one.header("Authorization") for one in server.asked] == [["Bearer t1"], ["Bearer t2"]]


def test_a_certificate_that_a_program_hands_out_is_shown_and_shown_anew(
    world: World, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handed(name: str) -> dict[str, str]:
        files = {"clientCertificateData": f"{name}.crt", "clientKeyData": f"{name}.key"}
        return {key: (world.folder / "keys" / file).read_text(encoding="ascii") for key, file in files.items()}

    connection = world.connection(server, world.plugin(monkeypatch, handed("server")))
    connection.ask("/a", "asking")
    (world.folder / "status").write_text(json.dumps(handed("client")), encoding="utf-8")
    world.answer = lambda asked: Answer() if asked.subject == "client" else _UNKNOWN
    connection.ask("/b", "asking")
    assert [one.subject for one in server.asked] == ["server", "server", "client"]
    assert len(world.plugin_asked()) == 2


def test_credentials_that_are_refused_are_asked_for_once_more_however_many_threads_are_told(
    world: World, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.answer = lambda asked: Answer() if asked.header("Authorization") == ["Bearer t2"] else _UNKNOWN
    connection = world.connection(server, world.plugin(monkeypatch, {"token": "t"}))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: connection.ask(f"/{number}", "asking"), range(24)))
    assert len(world.plugin_asked()) == 2
    world.answer = lambda _: _UNKNOWN
    with pytest.raises(Unreachable, match="does not accept these credentials"):
        connection.ask("/a", "asking")
    assert len(world.plugin_asked()) == 3


def test_a_server_that_is_busy_is_asked_again_and_again_and_that_is_told(
    world: World, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.answer = lambda _: _BUSY if len(server.asked) < 3 else Answer(body={"fine": True})
    connection = world.connection(server, {})
    assert connection.ask("/a", "asking") == {"fine": True}
    assert len(server.asked) == 3
    monkeypatch.setattr("paictl.drivers.kubernetes.connection._PATIENCE_SECONDS", 0.5)
    world.answer = lambda _: _BUSY
    with pytest.raises(ApiError, match=r"too many requests \(asked 2 times in 0 s\)"):
        connection.ask("/a", "asking")
    world.answer = lambda _: Answer(503, headers={"Retry-After": "3600"})
    with pytest.raises(ApiError, match=r"asked 1 times in 0 s, which asks to wait for another 3600 s"):
        connection.ask("/a", "asking")


def test_retry_after_is_obeyed(world: World, server: Server) -> None:
    world.answer = lambda _: Answer(429, headers={"Retry-After": "1"}) if len(server.asked) == 1 else Answer()
    begun = time.monotonic()
    world.connection(server, {}).ask("/a", "asking")
    assert time.monotonic() - begun >= 1


@pytest.mark.parametrize("met", [True, False], ids=["met before", "at first"])
def test_an_answer_that_is_cut_off_is_asked_for_again(world: World, server: Server, *, met: bool) -> None:
    connection = world.connection(server, {})
    if met:
        connection.ask("/a", "asking")
        del server.asked[:]
    world.answer = lambda _: CUT if len(server.asked) == 1 else Answer(body={"fine": True})
    assert connection.ask("/b", "asking") == {"fine": True}
    assert [one.path for one in server.asked] == ["/b", "/b"]


def test_whoever_cuts_every_connection_and_was_never_met_is_soon_given_up(
    world: World, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paictl.drivers.kubernetes.connection._PATIENCE_WITH_STRANGERS_SECONDS", 0.5)
    world.answer = lambda _: CUT
    with pytest.raises(Unreachable):
        world.connection(server, {}).ask("/a", "asking")
    assert len(server.asked) == 2


def test_a_connection_that_the_server_has_closed_is_made_anew(world: World, server: Server) -> None:
    world.answer = lambda _: Answer(close=True)
    connection = world.connection(server, {})
    for _ in range(5):
        connection.ask("/a", "asking")
    assert len(server.asked) == 5
