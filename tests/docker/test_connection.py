from __future__ import annotations

import hashlib
import http.server
import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from paictl.drivers.docker import execution
from paictl.drivers.docker.connection import connect
from paictl.drivers.docker.endpoint import Endpoint, find
from paictl.drivers.docker.troubles import EngineError, told_as
from paictl.errors import Unavailable, Unreachable
from tests.docker.conftest import Reached
from tests.docker.trial import ROOT, running
from tests.docker.ways import (
    SMALL_IMAGE,
    certificates,
    lacking_ssh,
    lacking_tls,
    ssh_server,
    tls_engine,
    with_ssh_config,
)

_SECRET = "hunter2-canary"


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person without any settings of Docker; their settings' directory."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_TLS", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    settings = tmp_path / "docker"
    settings.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(settings))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return settings


def _context(settings: Path, name: str, host: str, **more: Any) -> Path:
    """What `docker context create` leaves; tells where its TLS files would be."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    folder = settings / "contexts" / "meta" / digest
    folder.mkdir(parents=True)
    docker = {"Host": host, "SkipTLSVerify": False, **more}
    (folder / "meta.json").write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": docker}}))
    return settings / "contexts" / "tls" / digest / "docker"


def test_the_context_that_the_manifest_names_wins_over_the_environment(
    person: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _context(person, "pi", "ssh://me@pi:2222")
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2375")
    assert find("pi") == Endpoint("ssh://me@pi:2222", "the Docker context pi")
    assert find().address == "tcp://10.0.0.1:2375"


def test_docker_host_wins_over_contexts_and_docker_context_over_the_current_one(
    person: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        _context(person, name, f"ssh://{name}")
    (person / "config.json").write_text(json.dumps({"currentContext": "one"}))
    assert find().address == "ssh://one"
    monkeypatch.setenv("DOCKER_CONTEXT", "two")
    assert find().address == "ssh://two"
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/three.sock")
    assert find().address == "unix:///run/three.sock"
    assert find("default").address == "unix:///run/three.sock"


def test_tls_files_come_from_the_context_or_from_the_environment(person: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = _context(person, "vps", "tcp://vps:2376")
    files.mkdir(parents=True)
    (files / "ca.pem").touch()
    found = find("vps").tls
    assert found is not None
    assert (found.ca, found.certificate, found.verify) == (files / "ca.pem", None, True)
    monkeypatch.setenv("DOCKER_HOST", "tcp://vps:2376")
    assert find().tls is None
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(files))
    assert find().tls == found


def test_a_context_that_is_not_there_is_told_with_those_that_are(person: Path) -> None:
    _context(person, "pi", "ssh://pi")
    with pytest.raises(Unreachable, match="no Docker context named laptop, which the manifest asks for") as told:
        find("laptop")
    assert told.value.help.startswith("These exist: default, pi.")


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("carrier-pigeon://loft", "it begins with none of unix://, tcp://, ssh://"),
        ("tcp://host", "it names no port"),
        ("tcp://:2376", "it names no host"),
        ("unix://docker.sock", "the absolute path of a socket"),
        ("tcp://host:many", "Port could not be cast"),
        (f"ssh://me:{_SECRET}@host", "it holds a password"),
    ],
)
@pytest.mark.usefixtures("person")
def test_what_is_no_address_is_told_in_a_sentence(host: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(Unreachable) as told:
        find()
    assert told.value.summary.startswith("DOCKER_HOST holds no address of a Docker engine: ")
    assert reason in told.value.summary
    assert _SECRET not in told.value.summary + told.value.help


@pytest.mark.promise(4)
@pytest.mark.usefixtures("person")
def test_an_engine_that_is_not_there_is_told_with_its_address_and_how_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for host, reason in ((f"unix://{tmp_path}/none.sock", "there is no such socket"), ("tcp://127.0.0.1:9", "refused")):
        monkeypatch.setenv("DOCKER_HOST", host)
        with pytest.raises(Unreachable) as told:
            connect().engine()
        assert told.value.summary.startswith(f"the Docker engine at {host} can't be reached: ")
        assert reason in told.value.summary
        assert "`systemctl start docker`" in told.value.help
        assert "docker context ls" in told.value.help


def test_a_socket_that_one_may_not_use_is_told_as_that() -> None:
    told = told_as(PermissionError(13, "Permission denied"), "listing", "unix:///run/docker.sock")
    assert isinstance(told, Unreachable)
    assert told.summary == "the Docker engine at unix:///run/docker.sock can't be reached: Permission denied"
    assert "`sudo usermod -aG docker $USER`" in told.help


def test_an_error_that_is_not_the_engines_is_left_alone() -> None:
    with pytest.raises(ZeroDivisionError), connect().told("dividing"):
        _ = 1 // 0


@contextmanager
def _engine_of_version(folder: Path, **version: str) -> Iterator[list[str]]:
    """An engine of which only its version is known; tells the paths that it was asked for, with the headers' names."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {sorted(self.headers)}")
            body = json.dumps(version if self.path.endswith("/version") else []).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

        def address_string(self) -> str:
            return ""

    with socketserver.ThreadingUnixStreamServer(str(folder / "s"), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield asked
        server.shutdown()


def test_an_engine_before_20_10_is_refused(person: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{person}/s")
    with _engine_of_version(person, Version="19.03.5", ApiVersion="1.40", MinAPIVersion="1.12"):
        with pytest.raises(Unavailable, match=r"19\.03\.5 \(API 1\.40\), which is too old") as told:
            connect().engine()
        assert "20.10" in told.value.help


@pytest.mark.parametrize(
    ("theirs", "least", "agreed"), [("1.41", "1.12", "1.41"), ("1.52", "1.44", "1.44"), ("1.60", "1.50", "1.50")]
)
def test_old_and_new_engines_are_spoken_to_in_a_version_that_they_know(
    person: Path, monkeypatch: pytest.MonkeyPatch, theirs: str, least: str, agreed: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{person}/s")
    with _engine_of_version(person, Version="?", ApiVersion=theirs, MinAPIVersion=least) as asked:
        connection = connect()
        connection.api.containers()
        connection.close()
    assert asked[0].startswith("/version ")
    assert asked[1].startswith(f"/v{agreed}/containers/json")


@pytest.mark.docker
def test_the_engine_tells_what_it_is(engine: Reached, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    connection = connect()
    told = connection.engine()
    assert (told.os, told.arch) in {("linux", "amd64"), ("linux", "arm64")}
    assert told.version == engine.api.version()["Version"]
    assert "seccomp" in told.security
    assert told.local
    connection.close()


@pytest.mark.docker
def test_one_connection_serves_many_threads_and_counts_every_call(
    engine: Reached, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    connection = connect()
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: connection.api.version()["Version"], range(200)))
    assert set(found) == {engine.api.version()["Version"]}
    assert connection.calls == 201  # the first is for the version to speak
    connection.close()


@pytest.mark.docker
def test_what_the_engine_refuses_is_its_own_sentence(engine: Reached, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    connection = connect()
    with (
        pytest.raises(EngineError, match="while looking: No such container: nobody") as told,
        connection.told("looking"),
    ):
        connection.api.inspect_container("nobody")
    assert told.value.status == 404
    connection.close()


@pytest.mark.promise(23)
def test_passwords_and_proxies_for_the_web_are_not_for_the_engine(
    person: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (person / "netrc").write_text(f"default login me password {_SECRET}\n")
    (person / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(person / "netrc"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{person}/s")
    with _engine_of_version(person, Version="?", ApiVersion="1.41") as asked:
        connection = connect()
        connection.api.containers()
        connection.close()
    assert len(asked) == 2
    assert not any("Authorization" in one for one in asked)


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.skipif(bool(lacking_ssh()), reason=lacking_ssh())
def test_an_engine_behind_ssh_is_reached_by_the_persons_own_ssh(
    engine: Reached, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ssh_server(tmp_path, engine.host) as address:
        with_ssh_config(tmp_path, monkeypatch)
        monkeypatch.setenv("DOCKER_HOST", address)
        connection = connect()
        assert not connection.engine().local
        with running(connection, ["sleep", "infinity"]) as container:
            content = os.urandom(1_000_000)
            result = execution.run(connection, container, ["cat"], content)
            assert (result.code, result.stdout == content) == (0, True)
        connection.close()
        (tmp_path / ".ssh" / "authorized_keys").unlink()
        with pytest.raises(Unreachable, match="Permission denied") as told:
            connection.api.ping()
        assert "`ssh engine-elsewhere docker version`" in told.value.help
        connection.close()


_BEHIND_TLS = """
import os, sys
from paictl.drivers.docker import execution
from paictl.drivers.docker.connection import connect
from paictl.errors import PaictlError
connection = connect()
try:
    api = connection.api
except PaictlError as error:
    sys.exit(f"{type(error).__name__}: {error}")
made = api.create_container(sys.argv[1], ["/bin/sleep", "infinity"], network_disabled=True)["Id"]
api.start(made)
content = os.urandom(5_000_000)
result = execution.run(connection, made, ["/bin/cat"], content)
print(result.code, result.stdout == content)
try:
    execution.run(connection, made, ["/bin/sleep", "60"], timeout=1)
except PaictlError as error:
    print(error)
api.remove_container(made, force=True)
connection.close()
"""


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.skipif(bool(lacking_tls()), reason=lacking_tls())
def test_an_engine_behind_tls_is_believed_by_its_certificate_and_closes_one_half(tmp_path: Path) -> None:
    certificates(tmp_path / "others")
    with tls_engine(tmp_path) as before:

        def tell(files: str) -> str:
            told = {"DOCKER_HOST": "tcp://127.0.0.1:2376", "DOCKER_TLS_VERIFY": "1"}
            environment = {**os.environ, **told, "DOCKER_CERT_PATH": str(tmp_path / files)}
            command = [*before, sys.executable, "-c", _BEHIND_TLS, SMALL_IMAGE]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
            return done.stdout + done.stderr

        assert tell("tls") == "0 True\n/bin/sleep did not end within 1 s\n"
        assert tell("others").startswith(
            "Unreachable: the Docker engine at tcp://127.0.0.1:2376 can't be reached: its certificate"
        )
